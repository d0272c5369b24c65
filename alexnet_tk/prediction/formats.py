"""The formats in which answers are written, an object each.

A `RowFormat` writes its header and a row for each record. An `AppendableFormat` also reads what it wrote, so
that a run can be resumed behind the last whole row. A `WholeFormat`, whose files can't be appended to, is
written when the last answer is known; until then the answers wait in a journal, in JSON Lines unless it says
another.
"""

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from alexnet_tk.files import replacing

if TYPE_CHECKING:
    from alexnet_tk.inference.record import Record


class Format(ABC):
    """What all formats have: the word of `--format`, and the ending of --output that stands for it."""

    name: str
    ending: str = ""  # with its dot; "": no ending stands for it

    def require(self) -> None:  # noqa: B027  most need nothing
        """Raise `ModuleNotFoundError` where a package is missing; called before the work."""

    def with_unknown(self) -> "Format":
        """The format of records that say whether they are unknown; the same if that changes nothing."""
        return self


class RowFormat(Format):
    """Rows that are written one after the other."""

    def header(self, topk: int) -> bytes:
        """What stands before the first row; `topk` is the number of labels of a record."""
        return b""

    @abstractmethod
    def row(self, record: "Record", topk: int) -> bytes:
        """A record; called in several threads at once, in any order."""


@dataclass(frozen=True)
class Written:
    """A record in a file, as far as resuming needs to know it."""

    path: str
    error: str
    end: int  # the offset behind it, bytes


class AppendableFormat(RowFormat):
    """Rows that can be read again, so that a file can be resumed."""

    @abstractmethod
    def read(self, file: IO[bytes], topk: int) -> Iterator[Written]:
        """The whole records of a file, without a last one that was cut off.

        Raises
        ------
        ValueError, LookupError, TypeError
            something else stands where the next record should

        """


class Journal(AppendableFormat):
    """Rows that hold all of a record, from which a file of another format is written."""

    @abstractmethod
    def records(self, file: IO[bytes], topk: int) -> Iterator["Record"]:
        """The records of a complete file."""


class WholeFormat(Format):
    """A file that is written when all answers are known."""

    @property
    def journal(self) -> Journal:
        """What keeps the answers until the last one is known."""
        return JSON_LINES

    def files(self, output: Path) -> tuple[Path, ...]:
        """What is written: the output, and what stands beside it."""
        return (output,)

    def complete(self, records: Iterable["Record"], output: Path, topk: int) -> None:
        """Write the output so that it appears whole or not at all; raises `OutputError`."""
        with replacing(output) as part:
            self.write(records, part, topk)

    @abstractmethod
    def write(self, records: Iterable["Record"], file: Path, topk: int) -> None:
        """Write the file; the same records give the same bytes."""

    @abstractmethod
    def errors(self, file: Path) -> Iterator[str]:
        """The error of each record of a file, "" where it has none.

        Raises
        ------
        ValueError, LookupError, TypeError, OSError
            the file is damaged

        """


def _require_status(status: object, error: str) -> None:
    """Raise `ValueError` for a row whose status does not go with its error."""
    if status != ("failed" if error else "ok"):
        raise ValueError("another status")


@dataclass(frozen=True)
class Csv(AppendableFormat):
    """RFC 4180 with lines that end in LF; paths keep their bytes."""

    name, ending = "csv", ".csv"
    unknown: bool = False  # whether records say that

    def with_unknown(self) -> "Csv":
        """With a column for it."""
        return Csv(unknown=True)

    def header(self, topk: int) -> bytes:
        """The names of the columns."""
        from alexnet_tk.inference.record import Record

        return self.line(Record("", "none", unknown=False if self.unknown else None).row(topk).keys())

    def row(self, record: "Record", topk: int) -> bytes:
        """One line, unless a name holds the end of one."""
        values = record.row(topk).values()
        return self.line(str(each).lower() if isinstance(each, bool) else each for each in values)

    def read(self, file: IO[bytes], topk: int) -> Iterator[Written]:
        """Whole rows: those that end in LF outside of quotes."""
        header, end, row = self.header(topk), 0, b""
        for line in file:
            row += line
            if not row.endswith(b"\n") or row.count(b'"') % 2:
                continue
            if end == 0:
                if row != header:
                    raise ValueError("another header")
            else:
                text = row.decode("utf-8", "surrogateescape")
                path, status, error, *_ = next(csv.reader(io.StringIO(text, newline="")))
                _require_status(status, error)
                yield Written(path, error, end + len(row))
            end, row = end + len(row), b""

    def line(self, values: Iterable[object]) -> bytes:
        """One row of any values."""
        # Python before 3.13 quotes a carriage return only where lines end in one, so they do at first.
        line = io.StringIO()
        csv.writer(line, lineterminator="\r\n").writerow(values)
        return (line.getvalue().removesuffix("\r\n") + "\n").encode("utf-8", "surrogateescape")


class JsonLines(Journal):
    """An object in each line: ASCII, with surrogate escapes for bytes of a path that are not UTF-8."""

    name, ending = "jsonl", ".jsonl"

    def row(self, record: "Record", topk: int) -> bytes:
        """One line."""
        return json.dumps(record.row(topk)).encode("ascii") + b"\n"

    def read(self, file: IO[bytes], topk: int) -> Iterator[Written]:
        """Whole lines."""
        end = 0
        for line in file:
            if line.endswith(b"\n"):
                end += len(line)
                yield Written(*self.parse(line), end)

    def parse(self, line: bytes) -> tuple[str, str]:
        """Path and error of a whole line; raises `ValueError`, `LookupError` or `TypeError`."""
        record = json.loads(line)
        path, error = record["path"], record["error"]
        if not (isinstance(path, str) and isinstance(error, str)):
            raise TypeError("path and error are text")
        _require_status(record["status"], error)
        if line.endswith(b"\r\n"):
            raise ValueError("lines end in LF")
        return path, error

    def records(self, file: IO[bytes], topk: int) -> Iterator["Record"]:
        """The records of a complete file."""
        from alexnet_tk.inference.record import Record

        ranks = range(1, topk + 1)
        for line in file:
            row: dict[str, Any] = json.loads(line)
            unknown = bool(row["unknown"]) if "unknown" in row else None
            if row["error"]:
                yield Record(row["path"], row["error"], unknown=unknown)
                continue
            labels = tuple(row[f"label_{rank}"] for rank in ranks)
            probabilities = tuple(row[f"probability_{rank}"] for rank in ranks)
            yield Record(row["path"], "", labels, probabilities, unknown=unknown)


@dataclass(frozen=True)
class Parquet(WholeFormat):
    """Parquet, whose table of contents stands at its end; needs the extra "parquet"."""

    name, ending = "parquet", ".parquet"
    unknown: bool = False  # whether records say that

    def with_unknown(self) -> "Parquet":
        """With a column for it."""
        return replace(self, unknown=True)

    def require(self) -> None:
        """Import pyarrow."""
        import alexnet_tk.prediction.parquet  # noqa: F401

    def write(self, records: Iterable["Record"], file: Path | IO[bytes], topk: int) -> None:
        """Write the records in groups of 10,000 rows."""
        from alexnet_tk.prediction import parquet

        parquet.write(records, file, topk, self.unknown)

    def encode(self, records: Iterable["Record"], topk: int) -> bytes:
        """The bytes of a file of these records."""
        file = io.BytesIO()
        self.write(records, file, topk)
        return file.getvalue()

    def errors(self, file: Path) -> Iterator[str]:
        """Read one column."""
        from alexnet_tk.prediction import parquet

        return parquet.errors(file)


class Table(RowFormat):
    """Lines for a person: picture, labels, probabilities and bars."""

    name = "table"

    def header(self, topk: int) -> bytes:
        """The names of the columns."""
        from alexnet_tk.prediction.table import TableLayout

        return TableLayout().header().plain.encode("utf-8")

    def row(self, record: "Record", topk: int) -> bytes:
        """A line for each label."""
        from alexnet_tk.prediction.table import TableLayout

        return TableLayout().row(record, topk).plain.encode("utf-8")


CSV, JSON_LINES, PARQUET, TABLE = Csv(), JsonLines(), Parquet(), Table()
FORMATS: dict[str, Format] = {each.name: each for each in (CSV, JSON_LINES, PARQUET, TABLE)}


def register(format: Format) -> None:
    """Make a format known under its name and its ending, to `predict` and to the command line."""
    FORMATS[format.name] = format


def endings() -> list[str]:
    """The endings of --output that stand for a format."""
    return [each.ending for each in FORMATS.values() if each.ending]
