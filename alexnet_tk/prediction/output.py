"""A file of answers: begun, resumed where an earlier run left it, completed."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from alexnet_tk.errors import OutputError
from alexnet_tk.files import refuse_existing
from alexnet_tk.prediction.account import Totals
from alexnet_tk.prediction.feature_formats import FeatureRows
from alexnet_tk.prediction.formats import JSON_LINES, AppendableFormat, WholeFormat
from alexnet_tk.prediction.plan import Plan
from alexnet_tk.text import as_utf8, one_line

Write = Callable[[bytes], None]


class OutputFile:
    """A file of answers in a format.

    Answers of a format that can't be appended to are kept in its journal, such as F.jsonl, until the last one
    is known.
    """

    def __init__(self, path: Path, format: AppendableFormat | WholeFormat) -> None:
        self.path, self.format = path, format
        self.rows: AppendableFormat
        self.files: tuple[Path, ...] = (path,)
        self.journals = set[Path]()  # where this run, or one of the other command, keeps answers
        if isinstance(format, AppendableFormat):
            self.rows, self.appended = format, path  # where answers are written as they come
        else:
            self.rows, self.files = format.journal, format.files(path)
            self.appended = path.with_name(f"{path.name}{self.rows.ending}")
            journals = {path.with_name(f"{path.name}{each.ending}") for each in (JSON_LINES, FeatureRows)}
            self.journals = journals - set(self.files)

    @property
    def begun(self) -> bool:
        """Whether there are answers to go on with."""
        return self.appended.exists() or self.path.exists()

    def refuse_existing(self, keep: bool, source: Sequence[Path] = ()) -> None:
        """Raise `OutputError` if the output or its journal exists, unless it is kept or overwritten.

        `source` are files that it must never replace: the model and the pictures.
        """
        for journal in sorted(self.journals):
            if journal.exists() and not keep:
                raise OutputError(
                    f"{journal} holds the answers of a run that did not end; give --resume to go on, or "
                    "--overwrite"
                )
        for path in self.files:
            refuse_existing(path, keep, source=source)

    @contextmanager
    def open(
        self, plan: Plan, resume: bool, pictures: Sequence[str] | None = None
    ) -> Iterator[tuple[Totals, Write]]:
        """Count what the output holds already, nothing unless `resume`, and write rows of `self.rows`.

        `pictures` are those of the plan; given, what the output holds must be the answers for the first of
        them. When the block ends well, the output is complete; else what was written can be resumed.

        Raises
        ------
        OutputError
            as `take_up`; the output can't be written

        """
        before, file = Totals(), self.appended
        if resume and self.begun:
            before = self.take_up(plan, pictures)
            if not file.exists():  # complete
                yield before, lambda rows: None
                return
        else:
            for each in {file, *self.journals}:
                each.unlink(missing_ok=True)  # first of all: none must stand beside another plan
            plan.save(self.path)
            file.write_bytes(b"")
        with self._writing(), file.open("ab", buffering=0) as stream:

            def append(rows: bytes) -> None:
                with self._writing():
                    begin, rest = stream.tell(), memoryview(rows)
                    try:
                        while rest:
                            rest = rest[stream.write(rest) :]
                    except OSError:
                        os.ftruncate(stream.fileno(), begin)  # all of them or none, as the account says
                        raise

            if stream.tell() == 0:
                append(self.rows.header(plan.topk))
            yield before, append
        if isinstance(self.format, WholeFormat):
            with file.open("rb") as journal:
                records = self.format.journal.records(journal, plan.topk)
                self.format.complete(records, self.path, plan.topk)
            file.unlink()

    def take_up(self, plan: Plan, pictures: Sequence[str] | None = None) -> Totals:
        """Count the answers in the output and cut off a half-written last one.

        Raises
        ------
        OutputError
            the output was made by another model, of other inputs, with another k, was changed since, or has
            no plan beside it

        """
        plan.check(self.path)
        if isinstance(self.format, WholeFormat) and not self.appended.exists():
            return self._count_whole(plan)
        totals, end = self._count_rows(plan, pictures)
        if totals.pictures < plan.pictures:
            plan.check_computing(self.path, self._answered(plan, pictures))
        os.truncate(self.appended, end)
        return totals

    def _count_whole(self, plan: Plan) -> Totals:
        """Count the answers in a complete file of a format that can't be appended to."""
        assert isinstance(self.format, WholeFormat)
        totals = Totals()
        try:
            for error in self.format.errors(self.path):
                totals.add(error)
        except (ValueError, LookupError, TypeError, OSError) as error:
            raise OutputError(
                f"{self.path} can't be read again: {one_line(error)}; undo what changed it, or give "
                "--overwrite"
            ) from error
        if totals.pictures != plan.pictures:
            raise OutputError(
                f"{self.path} holds {totals.pictures:,} of {plan.pictures:,} records; undo what changed it, "
                "or give --overwrite"
            )
        return totals

    def _count_rows(self, plan: Plan, pictures: Sequence[str] | None) -> tuple[Totals, int]:
        """Count the whole rows; with the offset behind the last of them, bytes."""
        totals, end = Totals(), 0
        with self.appended.open("rb") as file:
            records = self.rows.read(file, plan.topk)
            while True:
                number = totals.pictures
                try:
                    record = next(records, None)
                    as_planned = record is None or (
                        number < plan.pictures
                        and (pictures is None or record.path == as_utf8(pictures[number]))
                    )
                except (ValueError, LookupError, TypeError):
                    as_planned = False
                if not as_planned:
                    raise OutputError(
                        f"{self.appended}, record {number + 1:,}, is not what was written there; undo what "
                        "changed it, or give --overwrite"
                    )
                if record is None:
                    break
                totals.add(record.error)
                end = record.end
        return totals, end or self._header_end(plan.topk)

    def _answered(self, plan: Plan, pictures: Sequence[str] | None) -> Iterator[str]:
        """The pictures that the output, whose rows were counted, holds an answer for."""
        with self.appended.open("rb") as file:
            for number, record in enumerate(self.rows.read(file, plan.topk)):
                if not record.error:
                    # A picture in an archive is more than its name.
                    yield record.path if pictures is None else pictures[number]

    def _header_end(self, topk: int) -> int:
        """The size of the header where it is there as a whole, else 0: it is written again."""
        header = self.rows.header(topk)
        with self.appended.open("rb") as file:
            return len(header) if file.read(len(header)) == header else 0

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn the system's errors into `OutputError`, which says that nothing written is lost."""
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"{self.appended} can't be written: {error.strerror or error}; its answers are kept, and "
                "--resume goes on"
            ) from error
