"""What the engines of `alexnet-tk predict` share: the work, and the account of it."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from alexnet_tk.errors import counted

from .screen import Screen

if TYPE_CHECKING:
    from alexnet_tk.inference import Classifier, Found
    from alexnet_tk.inference.predict import Outcome
    from alexnet_tk.inference.results import Totals
    from alexnet_tk.inference.resume import Plan


class Format(StrEnum):
    """The forms of an answer."""

    TABLE = "table"
    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


@dataclass(frozen=True)
class Job:
    """What was asked for, once the model is open and the pictures are found."""

    model: Path
    weights: str  # SHA-256 of the model, where an output is to be taken up one day
    classifier: "Classifier"
    found: "Found"
    topk: int
    form: Format
    output: Path | None
    resume: bool
    batch_size: int | None
    workers: int | None

    def plan(self, batch_size: int, format: str) -> "Plan":
        """What decides the bytes of an output in this format."""
        from alexnet_tk.inference.resume import Plan

        return Plan.of(
            self.weights,
            self.found.paths,
            self.topk,
            format,
            batch_size,
            self.classifier.settings,
        )

    def begin(self, before: "Totals", show: Screen) -> int:
        """Draw the bar; the number of pictures that stand in the output already."""
        skipped = before.answered + before.failed
        if skipped:
            left = len(self.found.paths) - skipped
            show.say(f"{self.output}: {skipped:,} of the pictures answered before, {left:,} left")
        show.begin("predicting", len(self.found.paths))
        show.advance(skipped)
        return skipped

    def tell(self, before: "Totals", outcome: "Outcome", show: Screen) -> None:
        """Say what became of everything that was found, in one line, and where the time went in another."""
        totals = outcome.totals
        count, skipped = totals.answered + totals.failed, before.answered + before.failed
        found = len(self.found.paths)
        rate = f" ({count / outcome.seconds:,.0f}/s)" if outcome.seconds else ""
        line = f"{counted(count, 'picture')} in {outcome.seconds:.2f} s{rate}: "
        line += f"{found:,} found, {totals.answered:,} answered"
        for title, counts in (
            ("failed", totals.reasons),
            ("ignored, not a picture's ending", self.found.ignored),
        ):
            number = sum(counts.values())
            kinds = [f"{many:,} × {what}" for what, many in sorted(counts.items(), key=lambda each: -each[1])]
            if number:
                line += f"; {number:,} {title} ({', '.join(kinds[:5])}{', …' if len(kinds) > 5 else ''})"
        if skipped:
            failed = f", {before.failed:,} of them failed" if before.failed else ""
            line += f"; {skipped:,} skipped, answered before{failed}"
        if left := found - count - skipped:
            line += f"; {left:,} left"
        show.say(line)
        if outcome.speed is not None and count:
            show.say(f"time: {outcome.speed}")
