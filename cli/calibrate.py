"""`alexnet-tk calibrate`."""

from pathlib import Path
from typing import Annotated

import typer

from .options import BatchSize, ClassesAreFolders, Debug, Device, Overwrite, Workers
from .screen import screen


def calibrate(
    checkpoint: Annotated[Path, typer.Argument(metavar="MODEL.PT", help="A checkpoint.")],
    data: Annotated[
        Path,
        typer.Argument(help="Pictures that it was not trained on: class folders, or a packed set."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(metavar="F.pt", help="Write another checkpoint.", show_default="MODEL.PT itself"),
    ] = None,
    diagram: Annotated[
        Path | None, typer.Option(metavar="F.png", help="Draw how sure answers are, and how often right.")
    ] = None,
    overwrite: Overwrite = False,
    device: Device = "auto",
    batch_size: BatchSize = None,
    workers: Workers = None,
    classes_are_folders: ClassesAreFolders = False,
    debug: Debug = False,
) -> None:
    """Fit one temperature, so that a probability of 70 % is right seven times out of ten."""
    with screen() as show:
        from alexnet_tk.evaluation.calibration import calibrate as calibrate_checkpoint

        found = calibrate_checkpoint(
            checkpoint,
            data,
            output=output,
            diagram=diagram,
            overwrite=overwrite,
            device=device,
            batch_size=batch_size,
            workers=workers,
            classes_are_folders=classes_are_folders,
            progress=show,
        )
    for line in found.summary():
        typer.echo(line)
