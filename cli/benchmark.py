"""`alexnet-tk benchmark`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alexnet_tk.errors import counted, printable

from .options import Debug, Overwrite
from .screen import new_console

if TYPE_CHECKING:
    from rich.table import Table

    from alexnet_tk.benchmarking import Benchmark

WIDTH = 80  # of a table that goes to a file or a pipe
LONG = 1_000  # more than any table is wide
SPARED = ("p90", "lowest–highest", "p99", "MB")  # columns that a narrow terminal does without, one by one


def benchmark(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A checkpoint or an ONNX file.")],
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="FOLDER", help="Pictures, to measure all of `predict` on them, too."),
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(metavar="OTHER", help="Another model, measured in turn with the first.")
    ] = None,
    output: Annotated[Path | None, typer.Option(metavar="F.json", help="Write everything.")] = None,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Tell how fast a model answers here: batch sizes on the CPU and, where it works, on CUDA."""
    from alexnet_tk.benchmarking import benchmark as measure

    def say(message: str) -> None:
        typer.echo(printable(message), err=True)

    found = measure(model, folder, compare=compare, output=output, overwrite=overwrite, say=say)
    console = new_console(sys.stdout, None if sys.stdout.isatty() else WIDTH)
    for spared in range(len(SPARED) + 1):
        table = _table(found, SPARED[:spared])
        if console.measure(table, options=console.options.update(width=LONG)).maximum <= console.width:
            break
    console.print(table)
    for line in _lines(found):
        typer.echo(printable(line))
    if found.unreadable:
        say(f"pictures that can't be read and were left out: {found.unreadable:,}")
        raise typer.Exit(3)


def _table(found: "Benchmark", without: tuple[str, ...]) -> "Table":
    """The settings, a row each; the JSON file tells of the columns that it is drawn without."""
    from rich import box
    from rich.table import Table

    from alexnet_tk.benchmarking import Estimate

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    rows = []
    for each in sorted(found.batches, key=lambda each: (each.device, each.batch_size)):
        rate = Estimate.of(each.rates)
        rows.append(
            {
                "": each.device,
                "model": "AB"[found.models.index(each.model)],
                "batch": f"{each.batch_size}",
                "median ms": f"{each.milliseconds(50):,.2f}",
                "p90": f"{each.milliseconds(90):,.2f}",
                "p99": f"{each.milliseconds(99):,.2f}",
                "pictures/s": f"{rate.median:,.1f}",
                "lowest–highest": f"{rate.low:,.1f}–{rate.high:,.1f}",
                "MB": "–" if each.memory is None else f"{each.memory / 1e6:,.0f}",
            }
        )
    if len(found.models) == 1:
        without = ("model", *without)
    names = [name for name in rows[0] if name not in without]
    for name in names:
        table.add_column(name, justify="left" if name in ("", "model") else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(row[name] for name in names))
    return table


def _lines(found: "Benchmark") -> list[str]:
    from alexnet_tk.benchmarking import Estimate

    names = [f"{letter}, {model}" for letter, model in zip("AB", found.models, strict=False)]
    lines = [
        f"{found.cores} cores, each with batches of its own. pictures/s: the median of the rounds",
        "MB: what the process grew by, at its peak",
    ]
    for each in found.folders:
        predict, network, decoding = (
            Estimate.of(values) for values in (each.rates, each.network, each.decoding)
        )
        of = f" {names[found.models.index(each.model)]}:" if len(names) > 1 else ""
        lines.append(
            f"predict,{of} {counted(each.pictures, 'picture')} on {each.device}: {predict.median:,.1f}/s "
            f"({predict.low:,.1f} to {predict.high:,.1f})"
        )
        share = f"{each.share.median:.0%} ({each.share.low:.0%} to {each.share.high:.0%})"
        lines.append(
            f"  {share} of the machine's limit: network alone {network.median:,.1f}/s, "
            f"decoding alone {decoding.median:,.1f}/s"
        )
        lines.append(f"  {each.speed}")
    if ratios := found.ratios():
        lines.append(f"{names[1]}, is as many times as fast as {names[0]}:")
        for device, size, ratio in ratios:
            what = f"batch {size}" if size else "predict"
            lines.append(f"  {device}, {what}: {ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})")
    return lines
