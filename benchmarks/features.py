"""Whether features cost `predict` anything, and `features` more than `predict`, on the full network.

    python benchmarks/features.py FOLDER [--checkpoint MODEL.PT] [--pairs 10]

Whole commands take turns, in the reverse order every other time: `predict` with a file that gives features
and with one that does not, and `features` in both formats. Printed is the median of the ratios in a round,
with the smallest and the largest. Without a checkpoint the network is untrained, which changes no speed.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from alexnet_tk.exporting import export
from alexnet_tk.inference import find

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.predict import untrained

SCRIPT = Path(sys.executable).with_name("alexnet-tk")


def seconds(*words: str | Path) -> float:
    """Of a whole command."""
    begun = time.perf_counter()
    subprocess.run([SCRIPT, *words, "--overwrite"], check=True, capture_output=True)
    return time.perf_counter() - begun


def main() -> None:
    """Prepare, time, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="some hundred photographs or more")
    parser.add_argument("--checkpoint", type=Path, metavar="MODEL.PT", help="of the full network")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        temporary = Path(name)
        checkpoint = given.checkpoint or temporary / "untrained.pt"
        if given.checkpoint is None:
            untrained(checkpoint)
        plain, both = temporary / "plain.onnx", temporary / "both.onnx"
        export(checkpoint, plain, verify_on=given.folder)
        export(checkpoint, both, verify_on=given.folder, features=True)
        device = ("--device", given.device)
        predict = ("predict", given.folder, *device, "--output", temporary / "a.csv", "--model")
        features = ("features", given.folder, *device, "--model", both, "--output")
        commands: dict[str, tuple[str | Path, ...]] = {
            "predict": (*predict, plain),
            "predict, file with features": (*predict, both),
            "features, .npy": (*features, temporary / "f.npy"),
            "features, .parquet": (*features, temporary / "f.parquet"),
        }
        for command in commands.values():
            seconds(*command)  # warms up
        taken: dict[str, list[float]] = {each: [] for each in commands}
        for number in range(given.pairs):
            for each in commands if number % 2 else reversed(commands):
                taken[each].append(seconds(*commands[each]))
    print(f"{len(find([given.folder]).paths):,} pictures, {given.pairs} pairs")
    for each, times in taken.items():
        ratios = sorted(one / other for one, other in zip(times, taken["predict"], strict=True))
        print(f"{each:28} {median(times):7.2f} s", end="")
        print(f"   {median(ratios):.3f} of predict's, {ratios[0]:.3f} to {ratios[-1]:.3f}")


if __name__ == "__main__":
    main()
