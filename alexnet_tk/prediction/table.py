"""Answers as a table for a person: picture, labels, probabilities and bars.

The widths of the columns are fixed at the start, so that a row can be shown as soon as it is known; for the
same reason these are lines and not a `rich.table.Table`, which is laid out when it is complete.
"""

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from alexnet_tk.inference.record import Record
from alexnet_tk.text import as_utf8, printable

WIDTH = 100  # of a table in a file or a pipe, which have no width of their own
BAR = 16
EIGHTHS = " ▏▎▍▌▋▊▉█"


class TableLayout:
    """Lines of a table that is `width` cells wide."""

    def __init__(self, width: int = WIDTH) -> None:
        self.label_width = max(12, min(32, (width - BAR - 14) // 2))
        self.path_width = max(12, width - BAR - self.label_width - 14)

    def header(self) -> Text:
        """The names of the columns, with the end of the line."""
        return self._line("picture", "label", "", "bold", "probability")

    def row(self, record: Record, topk: int) -> Text:
        """The lines of a record, at most `topk`, or one with its error."""
        if record.error:
            path = set_cell_size(_shortened(record.path, self.path_width), self.path_width)
            return Text.assemble(path, "  ", (f"failed: {printable(record.error)}", "bold red"), "\n")
        ranks = zip(record.labels[:topk], record.probabilities, strict=False)
        return Text().join(
            self._line(
                record.path if rank == 0 else "",
                f"unknown, {printable(label)}?" if record.unknown and rank == 0 else printable(label),
                f"{probability:.2%}",
                "bold" if rank == 0 else "dim",
                _bar(probability),
            )
            for rank, (label, probability) in enumerate(ranks)
        )

    def _line(self, path: str, label: str, probability: str, style: str, bar: str = "") -> Text:
        return Text.assemble(
            set_cell_size(_shortened(path, self.path_width), self.path_width),
            "  ",
            (f"{set_cell_size(label, self.label_width)}  {probability:>7}  ", style),
            (bar, "cyan"),
            "\n",
        )


def _bar(fraction: float) -> str:
    """A bar of up to `BAR` cells, drawn in eighths of a cell."""
    whole, part = divmod(round(fraction * BAR * 8), 8)
    return "█" * whole + EIGHTHS[part].strip()


def _shortened(path: str, width: int) -> str:
    """The end of a path, which tells more than its beginning; `width` counts cells, of which 画 takes two."""
    path = printable(as_utf8(path))
    if cell_len(path) <= width:
        return path
    path = path[1 - width :]
    while cell_len(path) > width - 1:
        path = path[1:]
    return "…" + path
