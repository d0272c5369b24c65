"""Predictions as a table for a person: picture, labels, probabilities and bars."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from alexnet_tk.errors import printable

if TYPE_CHECKING:
    from rich.console import Console

    from alexnet_tk.inference import Record

WIDTH = 100  # of a table that goes to a file or a pipe, which have none of their own
BAR = 16
EIGHTHS = " ▏▎▍▌▋▊▉█"


def table_writer(console: "Console", topk: int) -> Callable[["Record"], None]:
    """Writes the header now and `topk` lines for each record it is called with.

    The columns' widths are fixed at the start, so that a row can be shown as soon as it is known; for the
    same reason these are lines and not a `rich.table.Table`, which is laid out when it is complete.
    """
    from rich.cells import set_cell_size
    from rich.text import Text

    label_width = max(12, min(32, (console.width - BAR - 14) // 2))
    path_width = max(12, console.width - BAR - label_width - 14)

    def line(path: str, label: str, probability: str, style: str, bar: str = "") -> Text:
        return Text.assemble(
            set_cell_size(_shortened(path, path_width), path_width),
            "  ",
            (f"{set_cell_size(label, label_width)}  {probability:>7}  ", style),
            (bar, "cyan"),
            "\n",
        )

    def write(record: "Record") -> None:
        if record.error:
            path = set_cell_size(_shortened(record.path, path_width), path_width)
            lines = [Text.assemble(path, "  ", (f"failed: {printable(record.error)}", "bold red"), "\n")]
        else:
            lines = [
                line(
                    record.path if rank == 0 else "",
                    printable(record.labels[rank]),
                    f"{record.probabilities[rank]:.2%}",
                    "bold" if rank == 0 else "dim",
                    _bar(record.probabilities[rank]),
                )
                for rank in range(topk)
            ]
        console.print(Text().join(lines), end="", soft_wrap=True)

    console.print(line("picture", "label", "", "bold", "probability"), end="", soft_wrap=True)
    return write


def _bar(fraction: float) -> str:
    """A bar of up to `BAR` cells, drawn in eighths of a cell."""
    whole, part = divmod(round(fraction * BAR * 8), 8)
    return "█" * whole + EIGHTHS[part].strip()


def _shortened(path: str, width: int) -> str:
    """The end of a path, which tells more than its beginning; `width` counts cells, of which 画 takes two."""
    from rich.cells import cell_len

    path = printable(path)
    if cell_len(path) <= width:
        return path
    path = path[1 - width :]
    while cell_len(path) > width - 1:
        path = path[1:]
    return "…" + path
