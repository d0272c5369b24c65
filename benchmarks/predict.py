"""`alexnet-tk predict` against the machine's limit and what people run today, on the full network.

    python benchmarks/predict.py FOLDER [--checkpoint MODEL.PT] [--rounds 3]

Whole processes are timed in turn, so that a machine whose speed drifts treats them alike; medians. The limit
is what the network alone, on every core, and decoding alone, on every core, would reach if they took turns;
`predict` is compared with it after its start-up, from the first batch on. Without a checkpoint the network
is untrained, which changes no speed. Each form runs on ONNX Runtime's CPU and, where it is installed, in
OpenVINO, in exact and in fast arithmetic.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from alexnet_tk import zoo
from alexnet_tk.benchmarking.measure import decoding_alone, limit, network_alone
from alexnet_tk.choices import LrnForm, Math, Precision
from alexnet_tk.exporting import export
from alexnet_tk.inference import find
from alexnet_tk.inference.model import open_model
from alexnet_tk.inference.pipeline import CPU_BATCH_SIZE
from alexnet_tk.machine import usable_cores

FORMS: dict[str, tuple[Precision, LrnForm]] = {
    "fp32": ("fp32", "native"),
    "fp32, decomposed": ("fp32", "decomposed"),
    "int8, decomposed": ("int8", "decomposed"),
}
WAYS: tuple[tuple[str, str, Math], ...] = (
    ("", "cpu", "exact"),
    (", OpenVINO", "openvino", "exact"),
    (", OpenVINO, fast", "openvino", "fast"),
)
SECONDS = 5.0  # of the network alone
OTHERS = Path(__file__).with_name("predict_others.py")


def untrained(path: Path) -> None:
    """A checkpoint of the full network for ImageNet's classes."""
    import torch

    from alexnet_tk.network.alexnet import AlexNet
    from alexnet_tk.training.checkpoint import Checkpoint
    from alexnet_tk.training.statistics import Statistics

    recipe = zoo.recipe("alexnet-2012").override("network.init=he")
    labels, ids = zoo.labels("alexnet-2012")
    network = AlexNet(recipe.network, len(labels))
    network.initialise(0)
    with torch.no_grad():
        # Noise has no best answers that int8 could agree with; these five are.
        network.f8.weight *= 0.01
        network.f8.bias[:5] = torch.tensor([18.0, 16.0, 14.0, 12.0, 10.0])
    axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    statistics = Statistics((123.0, 117.0, 104.0), (1.0, 1.0, 1.0), axes)
    Checkpoint(recipe, labels, statistics, dict(network.state_dict()), ids).save(path)


def ours(model: Path, folder: Path, output: Path, options: Sequence[str]) -> tuple[float, float]:
    """Seconds of the whole command, and of what follows the start-up."""
    command = [
        str(Path(sys.executable).with_name("alexnet-tk")),
        "predict",
        str(folder),
        "--model",
        str(model),
    ]
    begun = time.perf_counter()
    done = subprocess.run(
        [*command, *options, "--output", str(output), "--overwrite"],
        check=True,
        capture_output=True,
        text=True,
    )
    whole = time.perf_counter() - begun
    seconds = re.search(r"pictures in ([\d.]+) s", done.stderr)
    assert seconds is not None, done.stderr
    return whole, float(seconds[1])


def other(kind: str, model: Path, folder: Path, output: Path) -> float:
    """Seconds of the whole process."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, OTHERS, kind, model, folder, output], check=True)
    return time.perf_counter() - begun


def main() -> None:
    """Prepare, time, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="some hundred photographs or more")
    parser.add_argument("--checkpoint", type=Path, metavar="MODEL.PT", help="of the full network")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    paths = find([given.folder]).paths
    seconds: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        seconds.setdefault(name, []).append(value)

    with tempfile.TemporaryDirectory() as name:
        temporary = Path(name)
        checkpoint = given.checkpoint or temporary / "untrained.pt"
        if given.checkpoint is None:
            untrained(checkpoint)
        files = {form: temporary / f"{form}.onnx" for form in FORMS}
        for form, file in files.items():
            precision, lrn = FORMS[form]
            calibrate = given.folder if precision == "int8" else None
            export(
                checkpoint,
                file,
                precision=precision,
                lrn=lrn,
                calibrate=calibrate,
                verify_on=given.folder,
            )
        floats = temporary / "float.onnx"
        export(checkpoint, floats, input="float", verify_on=given.folder)
        answers = temporary / "answers.csv"
        ways = {
            f"{form}{name}": (file, device, math)
            for form, file in files.items()
            for name, device, math in WAYS
            if device == "cpu" or find_spec("openvino") is not None
        }
        models = {way: open_model(*opened) for way, opened in ways.items()}
        for number in range(given.rounds):
            for form, model in models.items() if number % 2 else reversed(models.items()):
                file, device, math = ways[form]
                network, _ = network_alone(model, CPU_BATCH_SIZE, SECONDS)
                decoding = decoding_alone(model, paths)
                options = ("--device", device, "--math", math)
                whole, after = ours(file, given.folder, answers, options)
                note(f"{form}, network", network)
                note(f"{form}, decoding", decoding)
                note(f"{form}, share", len(paths) / after / limit(network, decoding, "cpu"))
                note(form, whole)
            note("loop", other("loop", floats, given.folder, answers))
            note("loader", other("loader", checkpoint, given.folder, answers))

    middle = {name: median(values) for name, values in seconds.items()}
    print(
        f"{len(paths):,} pictures, {usable_cores()} usable cores of {os.cpu_count()}, {given.rounds} rounds\n"
    )
    for form in ways:
        alone = [middle[f"{form}, {what}"] for what in ("network", "decoding", "share")]
        print(f"predict, {form:34} {middle[form]:6.2f} s", end="")
        print("   network alone {:6.1f}/s, decoding alone {:6.1f}/s; {:.1%} of their limit".format(*alone))
    print(f"plain loop                                  {middle['loop']:6.2f} s")
    print(f"torch, DataLoader                           {middle['loader']:6.2f} s\n")
    for form in ways:
        print(f"predict, {form:34} against the plain loop       {middle['loop'] / middle[form]:5.2f}×")
        print(f"predict, {form:34} against torch's DataLoader   {middle['loader'] / middle[form]:5.2f}×")


if __name__ == "__main__":
    main()
