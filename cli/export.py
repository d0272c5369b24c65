"""`alexnet-tk export`."""

from pathlib import Path
from typing import Annotated

import typer

from alexnet_tk.choices import InputKind, LrnForm, Precision

from .options import Debug, Overwrite
from .screen import screen


def export(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="MODEL.PT", help="A checkpoint that `alexnet-tk train` wrote.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(help="The ONNX file to write. \\[default: the checkpoint's name with .onnx]"),
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="int8 is the smallest and the fastest on a CPU, fp16 is for GPUs.")
    ] = "fp32",
    calibrate: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="For int8: pictures like those that the network will classify."),
    ] = None,
    verify_on: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Pictures on which the answers are compared.")
    ] = None,
    lrn: Annotated[
        LrnForm, typer.Option(help="One LRN node per layer, or operators that every runtime has.")
    ] = "native",
    input: Annotated[
        InputKind, typer.Option(help="uint8 pictures, or normalised float32 (batch, 3, S, S).")
    ] = "uint8",
    features: Annotated[
        bool,
        typer.Option("--features", help="Give the last hidden layer, too, for `alexnet-tk features`."),
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Give what an answer rests on, too, for `predict --explain`.")
    ] = False,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Convert a checkpoint to an ONNX file, once its answers are verified."""
    with screen() as show:
        from alexnet_tk.exporting import export as export_checkpoint

        output = output or checkpoint.with_suffix(".onnx")
        verification = export_checkpoint(
            checkpoint,
            output,
            precision=precision,
            lrn=lrn,
            input=input,
            features=features,
            explain=explain,
            calibrate=calibrate,
            verify_on=verify_on,
            overwrite=overwrite,
            progress=show,
        )
    typer.echo(
        f"{output}: {output.stat().st_size / 1e6:.1f} MB. {verification}. "
        f"Next: alexnet-tk predict images/ --model {output}"
    )
