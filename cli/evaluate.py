"""`alexnet-tk evaluate`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from alexnet_tk.errors import UsageError, counted

from .options import BatchSize, Debug, Device, Overwrite, Workers
from .screen import screen

MOST_FAILED = 10  # pictures that are listed on stderr


class CropsName(StrEnum):
    """How many views of a picture are answered."""

    ONE = "1"
    TEN = "10"


def evaluate(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL... DATA",
            help="Checkpoints or ONNX files, several are averaged; then class folders, or a packed set.",
        ),
    ],
    crops: Annotated[
        CropsName, typer.Option(help="The centre, or the paper's ten views averaged.")
    ] = CropsName.ONE,
    output: Annotated[
        Path | None, typer.Option(metavar="F.csv|F.json", help="Write the classes' figures, or everything.")
    ] = None,
    confusion: Annotated[
        list[Path] | None,
        typer.Option(metavar="F.png|F.csv", help="Write the confusion matrix; give it twice for both."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="F.html", help="Draw a page of the pictures and their answers.")
    ] = None,
    overwrite: Overwrite = False,
    device: Device = "auto",
    batch_size: BatchSize = None,
    workers: Workers = None,
    debug: Debug = False,
) -> None:
    """Tell how good a model is: top-1 and top-5 on pictures in class folders, with 95 % intervals."""
    if len(paths) < 2:
        raise UsageError("name a model and the pictures: alexnet-tk evaluate MODEL DATA")
    *models, data = paths
    with screen() as show:
        from alexnet_tk.evaluation import evaluate as judge
        from alexnet_tk.evaluation.output import text

        found = judge(
            models,
            data,
            crops=10 if crops is CropsName.TEN else 1,
            device=device,
            batch_size=batch_size,
            workers=workers,
            output=output,
            confusion=confusion or (),
            report=report,
            overwrite=overwrite,
            progress=show,
        )
    for line in text(found):
        typer.echo(line)
    count = found.pictures + len(found.failed)
    show.say(
        f"{counted(count, 'picture')} in {found.seconds:.2f} s ({count / found.seconds:,.0f}/s): "
        f"{found.pictures:,} answered, {len(found.failed):,} failed, "
        f"{found.ignored.total():,} other files ignored"
    )
    for model, speed in zip(models, found.speeds, strict=True):
        show.say(f"time{f', {model}' if len(models) > 1 else ''}: {speed}")
    for path, error in found.failed[:MOST_FAILED]:
        show.say(f"failed: {path}: {error}")
    if len(found.failed) > MOST_FAILED:
        show.say(f"failed: {len(found.failed) - MOST_FAILED:,} more; --output F.json lists all")
    if found.failed:
        raise typer.Exit(3)
