"""What a batch of answers costs the main thread of `predict`, which must not keep a GPU waiting.

    python benchmarks/main_thread.py [--batches 40] [--rounds 11] [--topk 5]

A session of no cost answers at once, as a GPU seems to that computes meanwhile. Batches of 128 answers for
1,000 classes go to a CSV file in two ways, in turn: the plain way ranks all classes with a stable sort, makes
the records and writes a row after the other, all of it in the main thread; `predict` leaves to it only what
worker threads can't do. The cost is the processor time of that thread alone, whatever the others do, so
it tells nothing of the pictures per second; medians of the rounds, and their ends.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet_tk.inference import Classifier, Record
from alexnet_tk.inference.model import Input, Model
from alexnet_tk.inference.session import Device
from alexnet_tk.prediction.formats import CSV
from alexnet_tk.prediction.local import LocalRun
from alexnet_tk.prediction.output import OutputFile
from alexnet_tk.prediction.plan import Plan
from alexnet_tk.preprocess import Preprocess

BATCH, CLASSES, SIDE = 128, 1_000, 8
LABELS = [f"label {number}" for number in range(CLASSES)]
ANSWERS = np.random.default_rng(0).dirichlet(np.full(CLASSES, 0.1), BATCH).astype(np.float32)


class NoCost:
    """A session that has the answers already."""

    def run(self, outputs: list[str], inputs: dict[str, NDArray[np.uint8]], /) -> Any:
        """An array of probabilities (128, 1000)."""
        return [ANSWERS]


def plain(names: list[str], topk: int, output: OutputFile, plan: Plan) -> float:
    """The seconds that the main thread computes where it does all that follows a run of the network."""
    begun = time.thread_time()
    with output.open(plan, resume=False) as (_, write):
        for start in range(0, len(names), BATCH):
            ranks = np.argsort(-ANSWERS, axis=1, kind="stable")[:, :topk]
            for name, row, best in zip(names[start : start + BATCH], ANSWERS, ranks, strict=True):
                record = Record(name, "", tuple(LABELS[each] for each in best), tuple(row[best].tolist()))
                write(CSV.row(record, topk))
    return time.thread_time() - begun


def ours(classifier: Classifier, names: list[str], topk: int, output: OutputFile, plan: Plan) -> float:
    """The seconds that the main thread computes in a run as `predict` makes it."""
    begun = time.thread_time()
    with output.open(plan, resume=False) as (_, write):
        run = LocalRun(classifier, names, topk, row=lambda record: CSV.row(record, topk), batch_size=BATCH)
        run.write_records(lambda records, rows: write(b"".join(rows)))
    return time.thread_time() - begun


def main() -> None:
    """Measure both ways in turn, check that they write the same and print milliseconds for each batch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batches", type=int, default=40, help="in a round")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--topk", type=int, default=5)
    arguments = parser.parse_args()
    preprocess = Preprocess(SIDE, SIDE, "bilinear", "RGB", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    takes = Input.ours("uint8", preprocess)
    device = Device("cuda:0", "a session of no cost")
    classifier = Classifier(Model(NoCost(), device, LABELS, preprocess, takes, None, {}))
    costs: dict[str, list[float]] = {"plain": [], "predict": []}
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.png"
        Image.new("RGB", (SIDE, SIDE)).save(picture)
        names = [str(picture)] * (BATCH * arguments.batches)
        plan = Plan.of("model", names, arguments.topk, "csv", BATCH, device="cuda")
        written = {way: Path(folder) / f"{way}.csv" for way in costs}
        for number in range(arguments.rounds + 1):
            for way in costs if number % 2 else reversed(costs):
                output = OutputFile(written[way], CSV)
                if way == "plain":
                    seconds = plain(names, arguments.topk, output, plan)
                else:
                    seconds = ours(classifier, names, arguments.topk, output, plan)
                if number:  # the first round warms up
                    costs[way].append(1_000 * seconds / arguments.batches)
        assert written["plain"].read_bytes() == written["predict"].read_bytes()
    print(f"main thread, ms for {BATCH} answers of {CLASSES:,} classes, top {arguments.topk}:")
    for way, each in costs.items():
        print(f"  {way:8} {median(each):6.2f} ({min(each):.2f} to {max(each):.2f})")


if __name__ == "__main__":
    main()
