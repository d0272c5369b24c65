"""Answers as a folder of Parquet files, each of a part of the pictures: what many processes write.

    answers.parquet.parts/        while the work goes on
    answers.parquet/              the same folder, when every part is there
        _run.json                 the plan, as beside any other output
        part-000000.parquet       the records of the first pictures, in the order of the pictures
        part-000001.parquet       …

In the order of their names, in which pyarrow reads them, they hold one record for each picture, in order. How
many pictures a part holds follows from the plan alone. A part appears whole or not at all, and has the same
bytes when it is answered again: none can be there twice, and one that is there need not be answered again.
"""

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from alexnet_tk.errors import OutputError
from alexnet_tk.files import make_folder, refuse_unwritable, replacing
from alexnet_tk.prediction.account import Totals
from alexnet_tk.prediction.formats import PARQUET, Parquet
from alexnet_tk.prediction.output import OutputFile
from alexnet_tk.prediction.parquet import answered, errors
from alexnet_tk.prediction.plan import Plan, plan_file
from alexnet_tk.text import one_line

PARTS = 1_000  # parts of an output: enough to keep all actors busy to the end …
LARGEST_PART = 4_096  # pictures … unless a part would take long to be answered again


@dataclass
class Parts:
    """The parts of a plan, some of which are there."""

    folder: Path
    plan: Plan

    @property
    def size(self) -> int:
        """Pictures in a part (fewer in the last): whole batches, cut as one process would cut them."""
        wanted = min(max(self.plan.pictures / PARTS, 1), LARGEST_PART)
        return self.plan.batch_size * ceil(wanted / self.plan.batch_size)

    def cut(self, pictures: Sequence[str], number: int) -> Sequence[str]:
        """The pictures of a part, out of all."""
        return pictures[number * self.size : (number + 1) * self.size]

    def missing(self) -> list[int]:
        """The numbers of the parts that are not there yet."""
        numbers = range(ceil(self.plan.pictures / self.size))
        there = {int(name[1]) for each in self.folder.iterdir() if (name := _PART.fullmatch(each.name))}
        return [number for number in numbers if number not in there]

    def totals(self) -> Totals:
        """The counts of the pictures in the parts that are there; raises `OutputError` for a damaged one."""
        totals = Totals()
        for part in self.folder.iterdir():
            if not _PART.fullmatch(part.name):
                continue
            try:
                for error in errors(part):
                    totals.add(error)
            except (ValueError, LookupError, TypeError, OSError) as error:
                raise OutputError(
                    f"{part} can't be read again: {one_line(error)}; remove it, and --resume answers its "
                    "pictures again"
                ) from error
        return totals

    def put(self, number: int, content: bytes) -> None:
        """Write a part, a Parquet file; raises `OutputError`."""
        with replacing(self.folder / f"part-{number:06}.parquet") as part:
            part.write_bytes(content)


_PART = re.compile(r"part-(\d{6,})\.parquet")


def parts_format(format: Parquet = PARQUET) -> str:
    """The format of parts in a plan."""
    return f"{format.name} parts"


def refuse_existing_parts(output: Path, resume: bool, overwrite: bool, format: Parquet = PARQUET) -> None:
    """Raise `OutputError` if the output, or the rest of an earlier run, is in the way; before any work."""
    begun, journal = unfinished(output), OutputFile(output, format).appended
    for each in (output, begun):
        if each.is_dir() and any(each.iterdir()) and not plan_file(each).exists():
            raise OutputError(f"{each} is a folder, and not one of answers; name another --output")
    if not overwrite:
        for each in (output, journal):
            if each.exists() and not (resume and (each.is_dir() or begun.exists())):
                raise OutputError(f"{each} exists already; give --overwrite to replace it, or name another")
        if begun.exists() and not resume:
            raise OutputError(
                f"{begun} holds the answers of a run that did not end; give --resume to go on, or --overwrite"
            )
    refuse_unwritable(output.parent)


def unfinished(output: Path) -> Path:
    """The folder of the parts until all are there."""
    return output.with_name(f"{output.name}.parts")


def earlier_folder(output: Path) -> Path:
    """The folder that --resume goes on with: the parts of an unfinished run, else the complete output."""
    begun = unfinished(output)
    return output if output.is_dir() and not begun.exists() else begun


@contextmanager
def parts(output: Path, plan: Plan, resume: bool, format: Parquet = PARQUET) -> Iterator[Parts]:
    """The parts of an output, none of them there unless `resume`.

    When the block ends well, the output is complete; else the parts that were written can be resumed.

    Raises
    ------
    OutputError
        the output can't be written, or was made by another model, of other inputs or with another k

    """
    folder = earlier_folder(output) if resume else unfinished(output)
    if resume and plan_file(folder).exists():
        plan.check(folder)
        if Parts(folder, plan).missing():
            there = (each for each in sorted(folder.iterdir()) if _PART.fullmatch(each.name))
            plan.check_computing(folder, (picture for part in there for picture in answered(part)))
        for left in folder.glob(".alexnet-tk-*.part"):  # of a process that was killed
            left.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)
        make_folder(folder)
        plan.save(folder)
    yield Parts(folder, plan)
    if folder != output:
        try:
            _remove(output, format)
            folder.rename(output)
        except OSError as error:
            raise OutputError(f"{output} can't be written: {error.strerror or error}") from error


def _remove(output: Path, format: Parquet) -> None:
    """What --overwrite replaces: a folder of parts, or the file of a run in one process."""
    if output.is_dir():
        shutil.rmtree(output)
    else:
        for each in (output, plan_file(output), OutputFile(output, format).appended):
            each.unlink(missing_ok=True)
