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
            help="torchvision's alexnet-owt-*.pth; the ONNX zoo's bvlcalexnet or caffenet.",
        ),
    ],
    output: Annotated[Path, typer.Option(help="The checkpoint to write.")] = Path("model.pt"),
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Turn public weights into a checkpoint with the right recipe and ImageNet's labels."""
    from alexnet_tk.export.public_weights import import_weights as convert

    name, checkpoint = convert(weights, output, overwrite=overwrite)
    count = sum(each.numel() for each in checkpoint.weights.values())
    typer.echo(
        f"{output}: {name}, {count:,} parameters, {len(checkpoint.labels):,} labels. "
        f"Next: alexnet-tk export {output}"
    )
