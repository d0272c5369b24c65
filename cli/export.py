"""`alexnet-tk export`."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Debug, Overwrite


def export(
    checkpoint: Annotated[Path, typer.Argument(metavar="MODEL.PT", help="What `alexnet-tk train` wrote.")],
    output: Annotated[
        Path | None, typer.Option(help="The ONNX file to write. [default: the checkpoint's name with .onnx]")
    ] = None,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Convert a checkpoint to an ONNX file with true LRN nodes, once its answers are proven equal."""
    from alexnet_tk.export import export as export_checkpoint

    proof = export_checkpoint(checkpoint, output, overwrite=overwrite)
    written = output or checkpoint.with_suffix(".onnx")
    typer.echo(
        f"{written}: {written.stat().st_size / 1e6:.1f} MB. ONNX Runtime and torch agree on "
        f"{proof.pictures} pictures ({proof.source}) at batch sizes "
        f"{' and '.join(map(str, proof.batch_sizes))}: "
        f"largest difference of a probability {proof.largest_difference:.1e}, "
        f"top-1 agreement {proof.top1_agreement:.0%}. Next: alexnet-tk predict images/ --model {written}"
    )
