"""How much memory `alexnet-tk predict` takes for few pictures and for many.

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


def peak(folder: Path, *options: str) -> int:
    """The most memory of a run over this folder, bytes."""
    script = Path(sys.executable).with_name("alexnet-tk")
    process = subprocess.Popen(
        [script, "predict", folder, "--format", "csv", *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
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
        kinds = {"answers": [], "answers and a page": ["--report", f"{name}/page.html", "--overwrite"]}
        for device, (title, options) in product(devices, kinds.items()):
            few, more = (peak(Path(name) / str(count), "--device", device, *options) for count in (FEW, many))
            print(
                f"{device + ', ' + title:30} {FEW:,} pictures {few / 1e6:6.1f} MB   "
                f"{many:,} pictures {more / 1e6:6.1f} MB   {(more - few) / 1e6:+.1f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
