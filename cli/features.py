"""`alexnet-tk features`."""

from pathlib import Path
from typing import Annotated

import typer

from alexnet_tk.choices import FeatureType

from .options import (
    BatchSize,
    Debug,
    Engine,
    Inputs,
    Listed,
    Math,
    NulSeparated,
    Overwrite,
    PredictionDevice,
    Resume,
    Strict,
    Workers,
    lists,
    without_stdin,
)
from .screen import screen


def features(
    output: Annotated[
        Path,
        typer.Option(
            metavar="F.parquet|F.npy", help="A table of all pictures, or an array and F.npy.jsonl beside it."
        ),
    ],
    inputs: Inputs = None,
    model: Annotated[
        Path | None,
        typer.Option(help="What `alexnet-tk export --features` wrote. \\[default: model.onnx]"),
    ] = None,
    dtype: Annotated[
        FeatureType, typer.Option(help="Of the numbers; float16 takes half of the space.")
    ] = "float32",
    listed: Listed = None,
    nul: NulSeparated = False,
    strict: Strict = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    device: PredictionDevice = "auto",
    math: Math = "exact",
    batch_size: BatchSize = None,
    workers: Workers = None,
    engine: Engine = "local",
    debug: Debug = False,
) -> None:
    """Write the last hidden layer's activations for pictures, by which similar ones are found."""
    with screen() as show:
        from alexnet_tk.prediction.features import features as write_features

        outcome = write_features(
            without_stdin(inputs),
            output=output,
            dtype=dtype,
            model=model,
            lists=lists(inputs, listed),
            nul_separated=nul,
            resume=resume,
            overwrite=overwrite,
            strict=strict,
            device=device,
            math=math,
            batch_size=batch_size,
            workers=workers,
            engine=engine,
            progress=show,
        )
    if outcome.failed:
        raise typer.Exit(3)
