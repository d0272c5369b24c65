"""`alexnet-tk import`."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Debug, Overwrite


def import_weights(
    weights: Annotated[
        Path,
        typer.Argument(
            metavar="WEIGHTS",
            help="torchvision's alexnet-owt-*.pth; the ONNX model zoo's bvlcalexnet or caffenet.",
        ),
    ],
    output: Annotated[Path, typer.Option(help="The checkpoint to write.")] = Path("model.pt"),
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Of other classes than ImageNet's: one label on each line."),
    ] = None,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Turn public weights into a checkpoint with the right recipe and ImageNet's labels."""
    from alexnet_tk.importing import import_weights as convert

    checkpoint = convert(weights, output, labels=labels, overwrite=overwrite)
    parameters = sum(tensor.numel() for tensor in checkpoint.weights.values())
    typer.echo(
        f"{output}: {checkpoint.training['network']}, {parameters:,} parameters, "
        f"{len(checkpoint.labels):,} labels. Next: alexnet-tk export {output}"
    )
