"""What the findings of 2012 are worth on your pictures: a network without each of them, beside the whole one.

    python benchmarks/ablations.py DATA --output FOLDER [--study findings] [--seeds 3] [--set KEY=VALUE]

`--study findings` takes the recipe photo-mini apart, `--study siblings` a narrow krizhevsky-2012, as its
authors did with theirs. Trains every variant with every seed, a checkpoint and its run each in FOLDER;
started again, it goes on where it stopped. Prints a table of the last epochs' validation accuracy (no
epoch is chosen), and of the paired difference from the whole network with the same seed: its mean and its
95 % interval (Student's t). An interval that holds 0 resolves nothing. Ctrl-C keeps what is done.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from scipy.stats import ttest_rel

from alexnet_tk import train
from alexnet_tk.errors import AlexnetError
from alexnet_tk.training.run import Run
from alexnet_tk.training.run_folder import RunFolder

WHOLE = "whole"


@dataclass(frozen=True)
class Study:
    """A whole network, its settings, and what is changed in it, one thing at a time."""

    recipe: str
    settings: list[str]
    variants: dict[str, list[str]]


STUDIES = {
    "findings": Study(
        "photo-mini",
        [],
        {
            WHOLE: [],
            "without LRN": ["network.lrn.enabled=false"],
            "LRN across towers": ["network.lrn.across_towers=true"],
            "LRN with α divided by n": ["network.lrn.convention=divided"],
            "pools that don't overlap": ["network.pool_kernel=2"],
            "without colour noise": ["augment.color_sigma=0"],
            "without mirrors": ["augment.mirror=false"],
        },
    ),
    # Of initial weights with which so small a network learns from so few pictures. What it takes is divided
    # by 58, so α is multiplied by the square of that, or nothing would be normalised.
    "siblings": Study(
        "krizhevsky-2012",
        [
            "network.image_size=96",
            "network.channels=[32,64,96,96,64]",
            "network.hidden=[512,512]",
            "network.init=he",
            f"network.lrn.alpha={1e-4 * 58**2}",
            f"network.spatial.alpha={1e-3 / 25 * 58**2}",
            "preprocess.resize=110",
            "preprocess.std=[58.0,57.0,57.0]",
            "train.batch_size=64",
            "train.schedule=onecycle",
            "train.precision=half",
        ],
        {
            WHOLE: [],
            "pools that don't overlap": ["network.pool_kernel=2"],
            "without normalisation": ['network.c1.then=["pool","relu"]', 'network.c2.then=["relu","pool"]'],
            "without talk between the towers": [
                "network.talk=false",
                "network.channels=[32,80,96,96,64]",
                "network.hidden=[1024,512]",
            ],
            "without normalisation after c2": ['network.c2.then=["relu","pool"]'],
        },
    ),
}


def paired_difference(values: Sequence[float], whole: Sequence[float]) -> tuple[float, float]:
    """The mean of the differences, and half the width of its 95 % interval."""
    low, high = ttest_rel(values, whole).confidence_interval()
    return (low + high) / 2, (high - low) / 2


def train_one(data: Path, recipe: str, settings: list[str], output: Path) -> dict[str, float]:
    """The last epoch's figures of a run, which is begun, gone on with or found finished."""
    train(data, recipe=recipe, settings=settings, output=output, resume=True)
    run, _ = Run.load(RunFolder(output).last)
    return run.history[-1]


def table(figures: dict[str, list[dict[str, float]]]) -> list[str]:
    """Rows of Markdown, accuracy in per cent."""
    rows = [
        "| network | top-1 | difference in top-1 | top-5 | difference in top-5 |",
        "|---|---|---|---|---|",
    ]
    for name, runs in figures.items():
        cells = [name]
        for key in ("val_top1", "val_top5"):
            values, whole = ([100 * run[key] for run in each] for each in (runs, figures[WHOLE]))
            cells.append(f"{mean(values):.1f}")
            if name == WHOLE:
                cells.append("")
            else:
                difference, half = paired_difference(values, whole)
                resolved = "" if abs(difference) > half else ", not resolved"
                cells.append(f"{difference:+.1f} ± {half:.1f}{resolved}")
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def main() -> None:
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--study", default="findings", choices=STUDIES)
    parser.add_argument("--seeds", type=int, default=3, choices=range(2, 11))
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    study = STUDIES[arguments.study]
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in study.variants}
    for seed in range(arguments.seeds):
        for name, changes in study.variants.items():
            output = arguments.output / f"{name.replace(' ', '-')}-{seed}.pt"
            settings = [*study.settings, *arguments.settings, *changes, f"train.seed={seed}"]
            try:
                last = train_one(arguments.data, study.recipe, settings, output)
            except AlexnetError as error:
                raise SystemExit(f"{name}, seed {seed}: {error}") from None
            figures[name].append(last)
            print(
                f"{name}, seed {seed}: top-1 {last['val_top1']:.1%}, top-5 {last['val_top5']:.1%}", flush=True
            )
    print("\n".join(table(figures)))


if __name__ == "__main__":
    main()
