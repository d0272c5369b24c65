"""A file of answers taken up where it stands: what it is made of, and how far it has come.

Beside an output F stands F.run.json with the model's hash, the inputs' and what else decides the answers, so
that nothing is ever appended to the answers of another run.
"""

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from alexnet_tk.errors import OutputError
from alexnet_tk.files import replacing
from alexnet_tk.inference.results import Totals


@dataclass(frozen=True)
class Plan:
    """What decides the bytes of an output."""

    model: str  # SHA-256 of the file
    inputs: str  # SHA-256 of the pictures' names, in order
    pictures: int
    topk: int
    format: str
    batch_size: int  # another one may round a last digit otherwise

    @classmethod
    def of(cls, model: Path, pictures: Iterable[str], topk: int, format: str, batch_size: int) -> "Plan":
        """The plan for these pictures; reads the model's file."""
        names, count = hashlib.sha256(), 0
        for name in pictures:
            names.update(os.fsencode(name) + b"\0")
            count += 1
        with model.open("rb") as file:
            weights = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(weights, names.hexdigest(), count, topk, format, batch_size)


def plan_file(output: Path) -> Path:
    """Where the plan of an output stands."""
    return output.with_name(f"{output.name}.run.json")


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


def take_up(output: Path, plan: Plan) -> Totals:
    """Count the answers in an output and drop a half-written last one; the rest is to be appended.

    Raises
    ------
    OutputError
        it was made by another model, of other inputs, with another k, or has no plan beside it

    """
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
    totals, end = Totals(), 0
    for place, (row, size) in enumerate(_rows(output, quotes=plan.format == "csv")):
        end += size
        if plan.format == "csv":
            if place:
                totals.add(next(csv.reader(io.StringIO(row, newline="")))[2])
        else:
            totals.add(json.loads(row)["error"])
    if end < output.stat().st_size:
        os.truncate(output, end)
    return totals


def _rows(output: Path, quotes: bool) -> Iterator[tuple[str, int]]:
    """The whole records of a file, each with its size; where quotes count, a line may end within them."""
    row = b""
    with output.open("rb") as file:
        for line in file:
            row += line
            if row.endswith(b"\n") and not (quotes and row.count(b'"') % 2):
                yield row.decode("utf-8", "surrogateescape"), len(row)
                row = b""
