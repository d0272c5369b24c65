"""The time of one picture's answer, from the file to the record, where a program waits for it.

    python benchmarks/latency.py PICTURE [--model MODEL.onnx] [--rounds 200]

The ways take turns; medians, 99th percentiles, and the ratio to a classifier as it is opened by default,
whose picture is computed on one core. Without a model it is the full network, untrained.
"""

import argparse
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from alexnet_tk import Classifier
from alexnet_tk.exporting import export
from alexnet_tk.machine import usable_cores

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.predict import WAYS, untrained


def main() -> None:
    """Open, warm up, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("picture", type=Path, metavar="PICTURE")
    parser.add_argument("--model", type=Path, metavar="MODEL.ONNX")
    parser.add_argument("--rounds", type=int, default=200)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        model = given.model or Path(name) / "untrained.onnx"
        if given.model is None:
            untrained(Path(name) / "untrained.pt")
            export(Path(name) / "untrained.pt", model)
        ways: dict[tuple[str, bool], Classifier] = {}
        for label, device, math in WAYS:
            if device == "cpu" or find_spec("openvino") is not None:
                for latency in (False, True):
                    ways[label, latency] = Classifier(model, device, math=math, latency=latency)
        seconds: dict[tuple[str, bool], list[float]] = {way: [] for way in ways}
        for number in range(given.rounds + 1):
            for way, classifier in ways.items():
                begun = time.perf_counter()
                list(classifier.classify(given.picture))
                if number:  # the first compiles and gets memory
                    seconds[way].append(time.perf_counter() - begun)
    print(f"{model.name}, {usable_cores()} usable cores, {given.rounds} rounds\n")
    for (label, latency), taken in seconds.items():
        median, slowest = 1000 * np.percentile(taken, [50, 99])
        ratio = np.median(seconds[label, False]) / np.median(taken)
        opened = f"ONNX Runtime{label}" if not label else label.removeprefix(", ")
        print(
            f"{opened + (', latency=True' if latency else ''):32} "
            f"{median:7.2f} ms, p99 {slowest:7.2f} ms, {ratio:5.2f}×"
        )


if __name__ == "__main__":
    main()
