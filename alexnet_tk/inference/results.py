"""The record of a prediction and the forms in which it is written."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TextIO

# A record holds more digits than float32 has meaning for; six are written.
DIGITS = 6


@dataclass(frozen=True)
class Record:
    """The answer for one picture: `labels` and their `probabilities` from the most probable down.

    A picture that could not be read has an error, and no labels.
    """

    path: str
    error: str = ""
    labels: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    thumbnail: bytes = field(default=b"", repr=False)  # JPEG, where it was asked for
    truth: str = ""  # its label by the name of its folder, in an evaluation

    @property
    def status(self) -> str:
        """Either "ok" or "failed"."""
        return "failed" if self.error else "ok"

    @property
    def wrong(self) -> bool:
        """Whether the truth is known, and another label the most probable one."""
        return bool(self.truth and self.labels) and self.labels[0] != self.truth

    def row(self, topk: int) -> dict[str, str | float | None]:
        """The record as named columns; the ranks of a failed record are None."""
        row: dict[str, str | float | None] = {"path": self.path, "status": self.status, "error": self.error}
        for rank in range(topk):
            row[f"label_{rank + 1}"] = None if self.error else self.labels[rank]
            row[f"probability_{rank + 1}"] = (
                None if self.error else float(f"{self.probabilities[rank]:.{DIGITS}g}")
            )
        return row


def as_text(path: str) -> str:
    """A path in Unicode, with a replacement character for what is no UTF-8."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


@dataclass
class Totals:
    """What became of the pictures."""

    answered: int = 0
    failed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)  # of failures, without what differs among pictures

    def add(self, error: str) -> None:
        """Count a record by its error, "" where it has none."""
        if error:
            self.failed += 1
            reason = error.partition(": ")[0]
            self.reasons[reason] = self.reasons.get(reason, 0) + 1
        else:
            self.answered += 1


def csv_writer(stream: TextIO, topk: int, begun: bool = False) -> Callable[[Record], None]:
    """Writes the header now, if it is not `begun`, and a line for each record (RFC 4180, lines end in LF)."""
    # Python before 3.13 quotes a carriage return only where lines end in one, so they do until they are put.
    line = io.StringIO()
    writer = csv.DictWriter(line, list(Record("", "none").row(topk)), lineterminator="\r\n")

    def put() -> None:
        stream.write(line.getvalue().removesuffix("\r\n") + "\n")
        line.seek(0)
        line.truncate()

    if not begun:
        writer.writeheader()
        put()

    def write(record: Record) -> None:
        writer.writerow(record.row(topk))
        put()
        stream.flush()

    return write


def jsonl_writer(stream: TextIO, topk: int, begun: bool = False) -> Callable[[Record], None]:
    """Writes a line with an object for each record it is called with; ASCII, with surrogate escapes."""

    def write(record: Record) -> None:
        stream.write(json.dumps(record.row(topk)) + "\n")
        stream.flush()

    return write


WRITERS = {"csv": csv_writer, "jsonl": jsonl_writer}
