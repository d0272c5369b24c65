"""`alexnet-tk benchmark`."""

import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alexnet_tk.text import counted, printable

from .options import Debug, Math, Overwrite, PredictionDevice
from .screen import new_console, screen

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from alexnet_tk.benchmarking import Benchmark

WIDTH = 80  # of a table that goes to a file or a pipe
UNLIMITED_WIDTH = 1_000  # more than any table needs
# The columns that a narrow terminal goes without, in this order, until the table fits.
OPTIONAL_COLUMNS = ("p90", "lowest–highest", "p99", "MB")


def benchmark(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A checkpoint or an ONNX file.")],
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="FOLDER", help="Pictures on which all of `predict` is measured, too."),
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(metavar="OTHER", help="Another model, measured in turn with the first.")
    ] = None,
    device: PredictionDevice = "auto",
    math: Math = "exact",
    output: Annotated[Path | None, typer.Option(metavar="F.json", help="Write everything.")] = None,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Measure how fast a model answers here, in several batch sizes, on the CPU and on a faster device."""
    from alexnet_tk.benchmarking import benchmark as measure

    with screen() as show:
        figures = measure(
            model,
            folder,
            compare=compare,
            device=device,
            math=math,
            output=output,
            overwrite=overwrite,
            progress=show,
        )
    console = new_console(sys.stdout, None if sys.stdout.isatty() else WIDTH)
    console.print(_fitting_table(figures, console))
    for line in _lines(figures):
        typer.echo(printable(line))
    if figures.unreadable:
        show.say(f"{counted(figures.unreadable, 'unreadable picture')} left out")
        raise typer.Exit(3)


def _fitting_table(figures: "Benchmark", console: "Console") -> "Table":
    """The table with as many columns as the console has room for; the JSON file has them all."""
    unlimited = console.options.update(width=UNLIMITED_WIDTH)
    table = _table(figures)
    for number in range(1, len(OPTIONAL_COLUMNS) + 1):
        if console.measure(table, options=unlimited).maximum <= console.width:
            break
        table = _table(figures, without=OPTIONAL_COLUMNS[:number])
    return table


def _table(figures: "Benchmark", without: Collection[str] = ()) -> "Table":
    """The settings, one in each row."""
    from rich import box
    from rich.table import Table

    rows = [{name: cell for name, cell in row.items() if name not in without} for row in _table_rows(figures)]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for name in rows[0]:
        table.add_column(name, justify="left" if name in ("", "model") else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row.values())
    return table


def _table_rows(figures: "Benchmark") -> Iterator[dict[str, str]]:
    from alexnet_tk.benchmarking import MedianRange

    for timing in sorted(figures.networks, key=lambda timing: (timing.device, timing.batch_size)):
        rate = MedianRange.of(timing.rates)
        letter = "AB"[figures.models.index(timing.model)]
        yield {
            "": timing.device,
            **({"model": letter} if len(figures.models) > 1 else {}),
            "batch": f"{timing.batch_size}",
            "median ms": f"{timing.milliseconds(50):,.2f}",
            "p90": f"{timing.milliseconds(90):,.2f}",
            "p99": f"{timing.milliseconds(99):,.2f}",
            "pictures/s": f"{rate.median:,.1f}",
            "lowest–highest": f"{rate.low:,.1f}–{rate.high:,.1f}",
            "MB": "–" if timing.memory is None else f"{timing.memory / 1e6:,.0f}",
        }


def _lines(figures: "Benchmark") -> Iterator[str]:
    """What the table means, and the figures that are not in it."""
    from alexnet_tk.benchmarking import MedianRange

    names = [f"{letter}, {model}" for letter, model in zip("AB", figures.models, strict=False)]
    on_gpu = any(each.device.startswith("cuda") for each in figures.networks)
    gpus = ", GPUs with two at a time" if on_gpu else ""
    yield f"{figures.cores} cores, each with batches of its own{gpus}; pictures/s: the median of the rounds"
    yield "MB: the growth of the process at its peak"
    for timing in figures.predictions:
        rate, network, decoding = (
            MedianRange.of(rates) for rates in (timing.rates, timing.network, timing.decoding)
        )
        name = f" {names[figures.models.index(timing.model)]}:" if len(names) > 1 else ""
        yield (
            f"predict,{name} {counted(timing.pictures, 'picture')} on {timing.device}: {rate.median:,.1f}/s "
            f"({rate.low:,.1f} to {rate.high:,.1f})"
        )
        share = timing.share
        yield (
            f"  {share.median:.0%} ({share.low:.0%} to {share.high:.0%}) of the machine's limit: "
            f"network alone {network.median:,.1f}/s, decoding alone {decoding.median:,.1f}/s"
        )
        yield f"  {timing.speed}"
    if ratios := figures.ratios():
        yield f"speed of {names[1]}, divided by that of {names[0]}:"
    for each in ratios:
        setting = f"batch {each.batch_size}" if each.batch_size else "predict"
        ratio = each.ratio
        yield f"  {each.device}, {setting}: {ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
