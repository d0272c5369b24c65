"""How much memory `alexnet-tk predict` and `features` take for few pictures and for many.

    python benchmarks/predict_memory.py [--many 50000]

The built-in pictures, and links to them, answered by the built-in model in ONNX Runtime on the CPU and,
where it is installed, in OpenVINO; the largest resident set is told by the system.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from itertools import product
from pathlib import Path

from alexnet_tk.inference import find
from alexnet_tk.sample import write_pictures

FEW = 1_000
# Makes the built-in model give features. In a process of its own, because one that is started here
# counts as having had the memory of this one.
WITH_FEATURES = """if True:
    import sys
    import onnx
    from alexnet_tk.exporting.graph import add_features
    from alexnet_tk.zoo import built_in_model

    model = onnx.load(built_in_model())
    add_features(model)
    onnx.save(model, sys.argv[1])
"""


def peak(*words: str) -> int:
    """The most memory of a command, bytes."""
    script = Path(sys.executable).with_name("alexnet-tk")
    process = subprocess.Popen([script, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_maxrss * 1024  # Linux counts in KiB


def main() -> None:
    """Link, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--many", type=int, default=50_000)
    many = parser.parse_args().many
    with tempfile.TemporaryDirectory() as name:
        write_pictures(Path(name) / "samples")
        pictures = find([Path(name) / "samples"]).paths
        for count in (FEW, many):
            folder = Path(name) / str(count)
            folder.mkdir()
            for number in range(count):
                (folder / f"{number:07}.png").symlink_to(pictures[number % len(pictures)])
        devices = ["cpu", *(["openvino"] if find_spec("openvino") else [])]
        subprocess.run([sys.executable, "-c", WITH_FEATURES, f"{name}/model.onnx"], check=True)
        csv = ["predict", "--format", "csv"]
        features = ["features", "--model", f"{name}/model.onnx", "--overwrite", "--output"]
        kinds = {
            "answers": csv,
            "answers and a page": [*csv, "--report", f"{name}/page.html", "--overwrite"],
            "features, .npy": [*features, f"{name}/f.npy"],
            "features, .parquet": [*features, f"{name}/f.parquet"],
        }
        for device, (title, words) in product(devices, kinds.items()):
            few, more = (
                peak(*words, "--device", device, str(Path(name) / str(count))) for count in (FEW, many)
            )
            print(
                f"{device + ', ' + title:30} {FEW:,} pictures {few / 1e6:6.1f} MB   "
                f"{many:,} pictures {more / 1e6:6.1f} MB   {(more - few) / 1e6:+.1f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
