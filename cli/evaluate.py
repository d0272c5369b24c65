"""`alexnet-tk evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from alexnet_tk.choices import Crops
from alexnet_tk.errors import UsageError

from .options import BatchSize, ClassesAreFolders, Debug, Math, Overwrite, PredictionDevice, Workers
from .screen import screen


def evaluate(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL... DATA",
            help="Checkpoints or ONNX files, several are averaged; then class folders, an archive of them, "
            "or a packed set.",
        ),
    ],
    crops: Annotated[Crops, typer.Option(help="The centre, or the paper's ten views averaged.")] = 1,
    output: Annotated[
        Path | None,
        typer.Option(metavar="F.csv|F.json", help="Write the figures of each class, or everything."),
    ] = None,
    confusion: Annotated[
        list[Path] | None,
        typer.Option(metavar="F.png|F.csv", help="Write the confusion matrix; give it twice for both."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="F.html", help="Write a page of the pictures and their answers.")
    ] = None,
    unknown_below: Annotated[
        float | None,
        typer.Option(
            metavar="P", min=0, max=1, help="Tell coverage and error if less probable answers are unknown."
        ),
    ] = None,
    overwrite: Overwrite = False,
    device: PredictionDevice = "auto",
    math: Math = "exact",
    batch_size: BatchSize = None,
    workers: Workers = None,
    classes_are_folders: ClassesAreFolders = False,
    debug: Debug = False,
) -> None:
    """Measure top-1 and top-5 accuracy on pictures in class folders, with 95 % intervals."""
    if len(paths) < 2:
        raise UsageError("name a model and the pictures: alexnet-tk evaluate MODEL DATA")
    *models, data = paths
    with screen() as show:
        from alexnet_tk.evaluation import evaluate as evaluate_models

        evaluation = evaluate_models(
            models,
            data,
            crops=crops,
            device=device,
            math=math,
            batch_size=batch_size,
            workers=workers,
            output=output,
            confusion=confusion or (),
            report=report,
            unknown_below=unknown_below,
            overwrite=overwrite,
            classes_are_folders=classes_are_folders,
            progress=show,
        )
    for line in evaluation.summary():
        typer.echo(line)
    for line in evaluation.account():
        show.say(line)
    if evaluation.failed:
        raise typer.Exit(3)
