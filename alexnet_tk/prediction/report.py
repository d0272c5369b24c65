"""A page to look at: every picture with its answers, in one file that needs no server."""

import base64
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from alexnet_tk.files import replacing
from alexnet_tk.inference.record import Record, as_text
from alexnet_tk.prediction.account import Totals
from alexnet_tk.text import counted

LARGEST_PAGE = 20_000  # pictures; a browser holds their thumbnails, some 3 kB each


@contextmanager
def report(
    path: Path, model: str, ignored: Counter[str], figures: Sequence[str] = ()
) -> Iterator[Callable[[Record], None]]:
    """Draw a page; the value adds a record with its thumbnail. The page appears when the block ends well.

    Of more than `LARGEST_PAGE` pictures the first and those that failed or are wrong are shown, and the page
    says so. `figures` are lines above the pictures, as they are when the block ends.

    Raises
    ------
    OutputError
        the page can't be written

    """
    page = (resources.files("alexnet_tk") / "data" / "report.html").read_text(encoding="utf-8")
    head, rest = page.split("<!-- records -->\n")
    middle, tail = rest.split("<!-- run -->")
    totals, shown = Totals(), 0
    with replacing(path) as part, part.open("w", encoding="utf-8") as file:
        file.write(head)

        def add(record: Record) -> None:
            nonlocal shown
            totals.add(record.error)
            # People look for those that failed or are wrong: the last tenth of the page is theirs.
            sought = record.error or record.wrong
            if shown < (LARGEST_PAGE if sought else LARGEST_PAGE * 9 // 10):
                file.write((",\n" if shown else "") + embedded(_row(record)))
                shown += 1

        yield add
        total = totals.answered + totals.failed
        summary = f"{model}: {counted(total, 'picture')}, {totals.answered:,} answered, "
        summary += f"{totals.failed:,} failed, {counted(ignored.total(), 'other file')} ignored"
        if shown < total:
            summary += f"; this page shows {shown:,} of them"
        file.write(middle + embedded({"summary": summary, "figures": list(figures)}) + tail)


def _row(record: Record) -> list[Any]:
    thumbnail, heat_map = (
        base64.b64encode(each).decode() for each in (record.thumbnail, record.heat_thumbnail)
    )
    return [
        as_text(record.path),
        record.error,
        record.labels,
        [round(each, 6) for each in record.probabilities],
        thumbnail,
        record.truth,
        heat_map,
        bool(record.unknown),
    ]


def embedded(value: object) -> str:
    """JSON that can't end the <script> around it, whatever names pictures and labels have."""
    return json.dumps(value).replace("<", "\\u003c")
