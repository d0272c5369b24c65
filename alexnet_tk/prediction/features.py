"""The one call behind `features`: pictures in, the last hidden layer's activations written."""

from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import IO

from alexnet_tk.choices import Engine, FeatureType, Math
from alexnet_tk.prediction.account import Outcome
from alexnet_tk.prediction.feature_formats import choose_feature_format
from alexnet_tk.prediction.job import Job
from alexnet_tk.prediction.run import as_list, as_paths, run
from alexnet_tk.progress import SILENCE, Progress


def features(
    inputs: str | PathLike[str] | Iterable[str | PathLike[str]] = (),
    *,
    output: str | PathLike[str],
    dtype: FeatureType = "float32",
    model: str | PathLike[str] | None = None,
    lists: Sequence[str | PathLike[str] | IO[bytes]] = (),
    nul_separated: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    strict: bool = False,
    device: str = "auto",
    math: Math = "exact",
    batch_size: int | None = None,
    workers: int | None = None,
    engine: Engine = "local",
    progress: Progress = SILENCE,
) -> Outcome:
    """Write the activations of the last hidden layer, f7's after ReLU, for pictures and folders of them.

    Parameters
    ----------
    inputs, lists, nul_separated
        as `predict` takes them
    output
        F.parquet: a row for each picture, in order, with its path, its error and its features; or F.npy: an
        array (rows, units) of the pictures that were answered, in order, and beside it F.npy.jsonl with a
        line of JSON for each picture, also for those that failed
    dtype
        of the numbers: "float32", or "float16" for half of the space
    model
        what `export` wrote with `features`; None: model.onnx in the current folder
    resume, overwrite, strict, device, math, batch_size, workers, engine, progress
        as `predict` takes them

    Returns
    -------
    what became of the pictures

    Raises
    ------
    UsageError
        arguments that make no sense, or none together; an output that ends in neither .parquet nor .npy
    ModelError
        the model can't be used, or does not give features
    OutputError
        an output exists, can't be written or can't be resumed; a number is too large for float16
    InputError, DeviceError, ClusterError, KeyboardInterrupt, SystemExit
        as `predict`

    """
    job = Job(
        inputs=as_list(inputs),
        lists=as_paths(lists),
        nul_separated=nul_separated,
        model=None if model is None else Path(model),
        output=Path(output),
        format=choose_feature_format(Path(output), dtype),
        resume=resume,
        overwrite=overwrite,
        strict=strict,
        device=device,
        math=math,
        batch_size=batch_size,
        workers=workers,
        engine=engine,
    )
    return run(job, progress)
