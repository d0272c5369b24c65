"""Answers as a folder of Parquet files, each with a part of the pictures: those that many processes answer.

    answers.parquet.parts/        while the work goes on
    answers.parquet/              the same folder, when every part is there
        _run.json                 the plan, as beside any other output
        part-000000.parquet       the records of the first pictures, in the order of the pictures
        part-000001.parquet       …

Read by name, as pyarrow does, they hold one record for each picture, in order. How many pictures a part holds
follows from the plan alone. A part appears whole or not at all, and answered again it is the same file: none
can be there twice, and one that is there need not be answered again.
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
from alexnet_tk.inference.parquet import errors
from alexnet_tk.inference.results import Totals
from alexnet_tk.inference.resume import Plan, answers_file, begin, check_plan, plan_file

FORMAT = "parquet parts"  # in a plan
PARTS = 1_000  # as many as these are enough to keep actors busy to the end …
MOST = 4_096  # pictures … unless a part would take long to be answered again


@dataclass
class Parts:
    """The parts of a plan, of which some are there."""

    folder: Path
    plan: Plan

    @property
    def size(self) -> int:
        """Pictures in a part (fewer in the last): whole batches, cut as one process would cut them."""
        wanted = min(max(self.plan.pictures / PARTS, 1), MOST)
        return self.plan.batch_size * ceil(wanted / self.plan.batch_size)

    def cut(self, pictures: Sequence[str], number: int) -> Sequence[str]:
        """The pictures of a part, out of all."""
        return pictures[number * self.size : (number + 1) * self.size]

    def missing(self) -> list[int]:
        """The numbers of the parts that are to be answered."""
        numbers = range(ceil(self.plan.pictures / self.size))
        there = {int(name[1]) for each in self.folder.iterdir() if (name := _PART.fullmatch(each.name))}
        return [number for number in numbers if number not in there]

    def totals(self) -> Totals:
        """What became of the pictures in the parts that are there."""
        totals = Totals()
        for each in self.folder.iterdir():
            if _PART.fullmatch(each.name):
                for error in errors(each):
                    totals.add(error)
        return totals

    def put(self, number: int, content: bytes) -> None:
        """Write a part, a Parquet file; raises `OutputError`."""
        with replacing(self.folder / f"part-{number:06}.parquet") as part:
            part.write_bytes(content)


_PART = re.compile(r"part-(\d{6,})\.parquet")


def refuse_existing_parts(output: Path, resume: bool, overwrite: bool) -> None:
    """Raise `OutputError` if the output, or what a run left of it, stands in the way, before any work."""
    begun, journal = unfinished(output), answers_file(output, "parquet")
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
    """Where the parts stand until all are there."""
    return output.with_name(f"{output.name}.parts")


def earlier_folder(output: Path) -> Path:
    """What --resume takes up: the parts of a run that did not end, else the complete output."""
    begun = unfinished(output)
    return output if output.is_dir() and not begun.exists() else begun


@contextmanager
def parts(output: Path, plan: Plan, resume: bool) -> Iterator[Parts]:
    """The parts of an output, none of them there unless `resume`.

    When the block ends well, the output is complete; else the parts that were written can be taken up.

    Raises
    ------
    OutputError
        what stands there was made by another model, of other inputs or with another k, or can't be written

    """
    folder = earlier_folder(output) if resume else unfinished(output)
    if resume and plan_file(folder).exists():
        check_plan(folder, plan)
        for left in folder.glob(".alexnet-tk-*.part"):  # of a process that was killed
            left.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)
        make_folder(folder)
        begin(folder, plan)
    yield Parts(folder, plan)
    if folder != output:
        try:
            _remove(output)
            folder.rename(output)
        except OSError as error:
            raise OutputError(f"{output} can't be written: {error.strerror or error}") from error


def _remove(output: Path) -> None:
    """What --overwrite replaces: a folder of parts, or the file of a run in one process."""
    if output.is_dir():
        shutil.rmtree(output)
    else:
        for each in (output, plan_file(output), answers_file(output, "parquet")):
            each.unlink(missing_ok=True)
