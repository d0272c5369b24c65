"""A file of answers: begun, taken up where an earlier run left it, completed.

Beside an output F stands F.run.json with the model's hash, the inputs' and what else decides the answers, so
that nothing is ever appended to the answers of another run. Answers for a Parquet file are kept in
F.jsonl until the last one is known.
"""

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from alexnet_tk.errors import OutputError
from alexnet_tk.files import refuse_existing, replacing
from alexnet_tk.inference.results import WRITERS, Record, Totals


@dataclass(frozen=True)
class Plan:
    """What decides the bytes of an output."""

    model: str  # SHA-256 of the file
    inputs: str  # SHA-256 of the pictures' names, in order
    pictures: int
    topk: int
    format: str
    batch_size: int  # another one may round a last digit otherwise

    settings: str = ""  # of the model, where its file does not hold them

    @classmethod
    def of(
        cls,
        model: str,
        pictures: Iterable[str],
        topk: int,
        format: str,
        batch_size: int,
        settings: str = "",
    ) -> "Plan":
        """The plan for these pictures and a model with this `sha256`."""
        names, count = hashlib.sha256(), 0
        for name in pictures:
            names.update(os.fsencode(name) + b"\0")
            count += 1
        return cls(model, names.hexdigest(), count, topk, format, batch_size, settings)


def plan_file(output: Path) -> Path:
    """Where the plan of an output stands; in a folder, where readers of Parquet pass it over."""
    return output / "_run.json" if output.is_dir() else output.with_name(f"{output.name}.run.json")


def answers_file(output: Path, format: str) -> Path:
    """Where answers are appended as they come."""
    return output.with_name(f"{output.name}.jsonl") if format == "parquet" else output


def refuse_existing_answers(output: Path, format: str, keep: bool) -> None:
    """Raise `OutputError` if the output, or the journal of one, exists, unless it is kept or overwritten."""
    if format == "parquet":
        import pyarrow  # noqa: F401  missing, it should be told before the work

        if answers_file(output, format).exists() and not keep:
            raise OutputError(
                f"{answers_file(output, format)} holds the answers of a run that did not end; give --resume "
                "to go on, or --overwrite"
            )
    refuse_existing(output, keep)


@contextmanager
def answers(
    output: Path, plan: Plan, resume: bool, pictures: Sequence[str] | None = None
) -> Iterator[tuple[Totals, Callable[[Record], None]]]:
    """What stands in the output already, none of it unless `resume`, and what writes further records.

    `pictures` are those of the plan; given, what stands there must be the answers for the first of them.
    When the block ends well, the output is complete; else it holds what was written, and can be taken up.

    Raises
    ------
    OutputError
        as `take_up`; the output can't be written

    """
    file, begun = answers_file(output, plan.format), Totals()
    if resume and (file.exists() or output.exists()):
        begun = take_up(output, plan, pictures)
        if not file.exists():  # a complete Parquet file
            yield begun, lambda record: None
            return
    else:
        file.unlink(missing_ok=True)  # first of all: it must not stand beside another plan, nor without one
        begin(output, plan)
        file.write_bytes(b"")
    with (
        _writing(file),
        file.open("a", encoding="utf-8", errors="surrogateescape", newline="") as stream,
    ):
        form = "jsonl" if plan.format == "parquet" else plan.format
        put = WRITERS[form](stream, plan.topk, stream.tell() > 0)

        def write(record: Record) -> None:
            with _writing(file):
                put(record)

        yield begun, write
    if plan.format == "parquet":
        from alexnet_tk.inference.parquet import convert

        convert(file, output, plan.topk)
        file.unlink()


@contextmanager
def _writing(file: Path) -> Iterator[None]:
    """Turn the system's errors into `OutputError`, which says what stands in the file."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{file} can't be written: {error.strerror or error}; its answers are kept, and --resume goes on"
        ) from error


def begin(output: Path, plan: Plan) -> None:
    """Write the plan, before the first answer; raises `OutputError`."""
    with replacing(plan_file(output)) as part:
        part.write_text(json.dumps(asdict(plan), indent=1) + "\n", encoding="utf-8")


def earlier_batch_size(output: Path) -> int | None:
    """The batch size of an output that stands there, None without one that can be told."""
    try:
        size = json.loads(plan_file(output).read_text(encoding="utf-8"))["batch_size"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return size if isinstance(size, int) and size > 0 else None


def check_plan(output: Path, plan: Plan) -> None:
    """Raise `OutputError` unless this plan made what stands in the output."""
    try:
        told = json.loads(plan_file(output).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        told = None
    if not isinstance(told, dict):
        raise OutputError(
            f"{output} has no {plan_file(output).name} beside it, so it can't be taken up; give --overwrite"
        )
    other = [name for name, value in asdict(plan).items() if told.get(name) != value]
    if other:
        raise OutputError(
            f"{output} was made with another {' and another '.join(other)}; "
            "give --overwrite, or another --output"
        )


def take_up(output: Path, plan: Plan, pictures: Sequence[str] | None = None) -> Totals:
    """Count the answers in an output and drop a half-written last one; the rest is to be appended.

    Raises
    ------
    OutputError
        it was made by another model, of other inputs, with another k, was changed since, or has no plan
        beside it

    """
    check_plan(output, plan)
    totals, end = Totals(), 0
    file = answers_file(output, plan.format)
    if not file.exists():
        from alexnet_tk.inference.parquet import errors

        for error in errors(output):
            totals.add(error)
        return totals
    for place, (row, size) in enumerate(_rows(file, quotes=plan.format == "csv")):
        end += size
        number = place - (plan.format == "csv")  # below the header
        if number < 0:
            continue
        try:
            path, error = _path_and_error(row, plan.format)
            as_planned = number < plan.pictures and (pictures is None or path == pictures[number])
        except (ValueError, LookupError, TypeError):
            as_planned = False
        if not as_planned:
            raise OutputError(
                f"{file}, record {number + 1:,}, is not what was written there; undo what changed it, or "
                "give --overwrite"
            )
        totals.add(error)
    if end < file.stat().st_size:
        os.truncate(file, end)
    return totals


def _path_and_error(row: str, format: str) -> tuple[str, str]:
    """Of a record's line; raises `ValueError`, `LookupError` or `TypeError` where it is none."""
    if format == "csv":
        path, _, error, *_ = next(csv.reader(io.StringIO(row, newline="")))
        return path, error
    record = json.loads(row)
    return record["path"], record["error"]


def _rows(path: Path, quotes: bool) -> Iterator[tuple[str, int]]:
    """The whole records of a file, each with its size; where quotes count, a line may end within them."""
    row = b""
    with path.open("rb") as file:
        for line in file:
            row += line
            if row.endswith(b"\n") and not (quotes and row.count(b'"') % 2):
                yield row.decode("utf-8", "surrogateescape"), len(row)
                row = b""
