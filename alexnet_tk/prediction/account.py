"""What became of the pictures of a run."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from alexnet_tk.found import Found, packages_for
from alexnet_tk.inference.record import Record
from alexnet_tk.inference.speed import Speed
from alexnet_tk.progress import Progress
from alexnet_tk.text import by_kind, counted


@dataclass
class Totals:
    """Counts of records."""

    answered: int = 0
    failed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)  # of failures, without what differs among pictures

    def add(self, error: str) -> None:
        """Count a record by its error, "" where it has none."""
        if error:
            self.failed += 1
            self.reasons[error.partition(": ")[0]] += 1
        else:
            self.answered += 1

    @property
    def pictures(self) -> int:
        """How many records were counted."""
        return self.answered + self.failed

    def begin(self, progress: Progress, output: str, pictures: int) -> None:
        """Begin to count `pictures`, of which these are in the output already."""
        if self.pictures:
            left = pictures - self.pictures
            progress.say(f"{output}: {self.pictures:,} of the pictures answered before, {left:,} left")
        progress.begin("predicting", pictures)
        progress.advance(self.pictures)


@dataclass(frozen=True)
class Outcome:
    """What became of everything that was found, now or in the run that was resumed."""

    found: Found
    before: Totals  # the records that were there when the run was resumed
    now: Totals
    seconds: float
    speed: Speed | None = None  # where the time went; not measured over Ray
    records: list[Record] = field(default_factory=list)  # where they are neither written nor handed on

    @property
    def answered(self) -> int:
        """The pictures that have an answer."""
        return self.before.answered + self.now.answered

    @property
    def failed(self) -> int:
        """The pictures that have an error instead."""
        return self.before.failed + self.now.failed

    def account(self) -> list[str]:
        """The counts in one line and, where it was measured, where the time went in another."""
        count, found = self.now.pictures, len(self.found.paths)
        rate = f" ({count / self.seconds:,.0f}/s)" if self.seconds else ""
        line = f"{counted(count, 'picture')} in {self.seconds:.2f} s{rate}: "
        line += f"{found:,} found, {self.now.answered:,} answered"
        line += _by_kind("failed", self.now.reasons)
        line += _by_kind("ignored", self.found.ignored)
        line += "".join(f"; {each}" for each in packages_for(self.found.ignored))
        if self.before.pictures:
            failed = f", {self.before.failed:,} of them failed" if self.before.failed else ""
            line += f"; {self.before.pictures:,} skipped, answered before{failed}"
        if left := found - count - self.before.pictures:
            line += f"; {left:,} left"
        return [line, f"time: {self.speed}"] if self.speed is not None and count else [line]

    def tell(self, progress: Progress) -> None:
        """Say the account."""
        for line in self.account():
            progress.say(line)


def _by_kind(title: str, counts: Mapping[str, int]) -> str:
    """A part of the line: how many, and of which kinds."""
    return f"; {sum(counts.values()):,} {title} ({by_kind(counts)})" if counts else ""
