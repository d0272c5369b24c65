"""`alexnet-tk similar`."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from alexnet_tk.choices import Metric
from alexnet_tk.errors import UsageError

from .options import (
    BatchSize,
    Debug,
    Listed,
    Math,
    NulSeparated,
    Overwrite,
    PredictionDevice,
    Workers,
    lists,
    without_stdin,
)
from .screen import Screen, screen


def similar(
    among: Annotated[
        Path, typer.Option(metavar="F.parquet|F.npy", help="What `alexnet-tk features` wrote, to search in.")
    ],
    queries: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="QUERY", help="Pictures, and all that `alexnet-tk predict` takes; - is a list on stdin."
        ),
    ] = None,
    topk: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Pictures for each QUERY. \\[default: 6]")
    ] = None,
    metric: Annotated[
        Metric | None, typer.Option(help="Distance of features. \\[default: euclidean, as in the paper]")
    ] = None,
    duplicates: Annotated[
        float | None,
        typer.Option(
            metavar="D",
            help="List the groups of pictures in F within this cosine distance, such as 0.05, in place of "
            "a search.",
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Compare all pairs of more than 100,000 pictures.")
    ] = False,
    model: Annotated[
        Path | None, typer.Option(help="The file that F was made with. \\[default: model.onnx]")
    ] = None,
    output: Annotated[Path | None, typer.Option(metavar="F.csv", help="Write the table to a file.")] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="F.html", help="Draw a page of pictures beside those like them.")
    ] = None,
    overwrite: Overwrite = False,
    listed: Listed = None,
    nul: NulSeparated = False,
    device: PredictionDevice = "auto",
    math: Math = "exact",
    batch_size: BatchSize = None,
    workers: Workers = None,
    debug: Debug = False,
) -> None:
    """Find the pictures most like others by their features, or near-equal ones among many."""
    if duplicates is not None and (queries or listed or topk or metric or model):
        raise UsageError(
            "--duplicates compares the pictures of F with one another; give it no QUERY, --from, --topk, "
            "--metric or --model"
        )
    if yes and duplicates is None:
        raise UsageError("--yes belongs to --duplicates")
    if duplicates is None:
        # A search computes in threads of its own, and is twice as fast if each of their products takes one.
        # It counts until numpy is loaded, below.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with screen() as show:
        from alexnet_tk.similarity import run

        if duplicates is not None:
            groups = run.duplicates(
                among, duplicates, output=output, report=report, overwrite=overwrite, yes=yes, progress=show
            )
            failed, rows = any(each.leak for each in groups), run.group_rows(groups)
        else:
            matches = run.similar(
                without_stdin(queries),
                among,
                topk=topk or 6,
                metric=metric or "euclidean",
                model=model,
                lists=lists(queries, listed),
                nul_separated=nul,
                output=output,
                report=report,
                overwrite=overwrite,
                device=device,
                math=math,
                batch_size=batch_size,
                workers=workers,
                progress=show,
            )
            failed, rows = any(each.error for each in matches), run.match_rows(matches)
        if output is None:
            _show(rows, show)
    if failed:
        raise typer.Exit(3)


def _show(rows: Iterable[list[object]], show: Screen) -> None:
    """Print a table for a person on a terminal, CSV elsewhere."""
    from alexnet_tk.prediction.formats import CSV
    from alexnet_tk.text import printable

    if not sys.stdout.isatty():
        for row in rows:
            typer.echo(CSV.line(row), nl=False)
        return
    header, *others = rows
    texts = [[printable(str(value)) for value in row] for row in (header, *others)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for text in texts:
        show.result("  ".join(f"{value:{width}}" for value, width in zip(text, widths, strict=True)).rstrip())
