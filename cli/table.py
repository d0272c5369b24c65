"""Predictions as a table for a person: picture, labels, probabilities and bars."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from alexnet_tk.inference import Record

WIDTH = 100  # of a table that goes to a file or a pipe, which have none of their own
BAR = 16


def table_writer(console: "Console", topk: int) -> Callable[["Record"], None]:
    """Writes the header now and `topk` lines for each record it is called with.

    The columns' widths are fixed at the start, so a row can be shown as soon as it is known.
    """
    from rich.bar import Bar
    from rich.table import Table
    from rich.text import Text

    label_width = max(16, min(32, (console.width - BAR - 12) // 2))
    path_width = max(12, console.width - BAR - label_width - 12)

    def rows(*cells: tuple[Text, Text, Text, Bar | Text]) -> Table:
        table = Table.grid(padding=(0, 2, 0, 0))
        for width, justify in ((path_width, "left"), (label_width, "left"), (7, "right"), (BAR, "left")):
            table.add_column(width=width, justify=justify, no_wrap=True, overflow="ellipsis")  # type: ignore[arg-type]
        for each in cells:
            table.add_row(*each)
        return table

    def write(record: "Record") -> None:
        path = Text(_shortened(record.path, path_width))
        if record.error:
            console.print(rows((path, Text(f"failed: {record.error}", "bold red"), Text(), Text())))
            return
        cells = []
        for rank in range(topk):
            probability = record.probabilities[rank]
            style = "bold" if rank == 0 else "dim"
            cells.append(
                (
                    path if rank == 0 else Text(),
                    Text(_printable(record.labels[rank]), style),
                    Text(f"{probability:7.2%}", style),
                    Bar(1, 0, probability, width=BAR, color="cyan" if rank == 0 else "bright_black"),
                )
            )
        console.print(rows(*cells))

    head = (Text(each, "bold underline") for each in ("picture", "label", "", ""))
    console.print(rows(tuple(head)))  # type: ignore[arg-type]
    return write


def _printable(text: str) -> str:
    """The text without what could steer a terminal."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def _shortened(path: str, width: int) -> str:
    """The end of a path, which tells more than its beginning."""
    path = _printable(path)
    return path if len(path) <= width else "…" + path[1 - width :]
