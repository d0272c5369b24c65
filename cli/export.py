"""`alexnet-tk export`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .options import Debug, Overwrite
from .screen import screen


class PrecisionName(StrEnum):
    """Of weights and arithmetic."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


class LrnName(StrEnum):
    """How local response normalisation is written."""

    NATIVE = "native"
    DECOMPOSED = "decomposed"


class InputName(StrEnum):
    """What the file takes."""

    UINT8 = "uint8"
    FLOAT = "float"


def export(
    checkpoint: Annotated[Path, typer.Argument(metavar="MODEL.PT", help="What `alexnet-tk train` wrote.")],
    output: Annotated[
        Path | None,
        typer.Option(help="The ONNX file to write. \\[default: the checkpoint's name with .onnx]"),
    ] = None,
    precision: Annotated[
        PrecisionName, typer.Option(help="int8 is the smallest and fastest on a CPU, fp16 is for GPUs.")
    ] = PrecisionName.FP32,
    calibrate: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Pictures like those that the network will meet, for int8."),
    ] = None,
    verify_on: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Pictures on which the answers are compared.")
    ] = None,
    lrn: Annotated[
        LrnName, typer.Option(help="One LRN node a layer, or operators that every runtime has.")
    ] = LrnName.NATIVE,
    input: Annotated[
        InputName, typer.Option(help="uint8 pictures, or normalised float32 (batch, 3, S, S).")
    ] = InputName.UINT8,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Convert a checkpoint to an ONNX file, once its answers are proven."""
    with screen() as show:
        from alexnet_tk.export import Form
        from alexnet_tk.export import export as export_checkpoint

        proof = export_checkpoint(
            checkpoint,
            output,
            Form(precision.value, lrn.value, input.value),
            calibrate=calibrate,
            verify_on=verify_on,
            overwrite=overwrite,
            progress=show,
        )
    written = output or checkpoint.with_suffix(".onnx")
    typer.echo(
        f"{written}: {written.stat().st_size / 1e6:.1f} MB. ONNX Runtime and torch agree on "
        f"{proof.pictures:,} {proof.source} at batch sizes {' and '.join(map(str, proof.batch_sizes))}: "
        f"largest difference of a probability {proof.largest_difference:.1e}, "
        f"agreement of top-1 {proof.top1_agreement:.1%}, of top-5 {proof.top5_agreement:.1%}. "
        f"Next: alexnet-tk predict images/ --model {written}"
    )
