"""`alexnet-tk predict`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alexnet_tk.errors import UsageError
from alexnet_tk.prediction.formats import FORMATS, endings

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
from .screen import Screen, screen

if TYPE_CHECKING:
    from collections.abc import Callable

    from alexnet_tk.inference import Record


def predict(
    inputs: Inputs = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help="What `alexnet-tk export` wrote. \\[default: model.onnx, else the built-in fashion-mini]",
        ),
    ] = None,
    top5: Annotated[bool, typer.Option("--top5", help="The five most probable labels.")] = False,
    topk: Annotated[int | None, typer.Option(min=1, metavar="N", help="The N most probable labels.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(help=f"Write the answers to a file; its ending, {' '.join(endings())}, is the format."),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(FORMATS),
            help="\\[default: table on a terminal, csv elsewhere]",
            show_default=False,
        ),
    ] = None,
    listed: Listed = None,
    nul: NulSeparated = False,
    strict: Strict = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    report: Annotated[
        Path | None, typer.Option(metavar="F.html", help="Draw a page of the pictures and their answers.")
    ] = None,
    explain: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write what each answer rests on, as a heat map over its picture."),
    ] = None,
    unknown_below: Annotated[
        float | None,
        typer.Option(metavar="P", min=0, max=1, help="Mark answers that are less probable as unknown."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="For a model from elsewhere: its labels, one on each line."),
    ] = None,
    preprocess: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="For a model from elsewhere: imagenet, caffe or FILE.toml."),
    ] = None,
    outputs: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="For a model from elsewhere: which of several outputs to read."),
    ] = None,
    device: PredictionDevice = "auto",
    math: Math = "exact",
    batch_size: BatchSize = None,
    workers: Workers = None,
    engine: Engine = "local",
    debug: Debug = False,
) -> None:
    """Classify pictures and folders of them: one record for each picture, in order."""
    if top5 and topk is not None:
        raise UsageError("--top5 and --topk say the same thing twice; give one of them")
    with screen() as show:
        from alexnet_tk.prediction.run import predict as predict_pictures

        is_drawn = output is None and format in (None, "table") and sys.stdout.isatty()
        outcome = predict_pictures(
            without_stdin(inputs),
            topk=5 if top5 else topk or 1,
            output=None if is_drawn else output or sys.stdout,
            format=format,
            model=model,
            labels=labels,
            preprocess=preprocess,
            outputs=outputs,
            lists=lists(inputs, listed),
            nul_separated=nul,
            resume=resume,
            overwrite=overwrite,
            strict=strict,
            report=report,
            explain=explain,
            unknown_below=unknown_below,
            device=device,
            math=math,
            batch_size=batch_size,
            workers=workers,
            engine=engine,
            on_record=_table_rows(show) if is_drawn else None,
            progress=show,
        )
    if outcome.failed:
        raise typer.Exit(3)


def _table_rows(show: Screen) -> "Callable[[Record], None]":
    """Draws a record as lines of a table above the bar, the first one below the table's header."""
    table = None

    def draw(record: "Record") -> None:
        from alexnet_tk.prediction.table import TableLayout

        nonlocal table
        if table is None:
            table = TableLayout(show.console.width)
            show.draw(table.header())
        show.draw(table.row(record, topk=len(record.labels)))

    return draw
