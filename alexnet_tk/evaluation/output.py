"""Figures as text, as tables and as JSON."""

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alexnet_tk.errors import OutputError, UsageError, counted, printable
from alexnet_tk.evaluation.figures import Evaluation, Share
from alexnet_tk.files import refuse_existing, replacing, sha256
from alexnet_tk.inference.results import Record

MOST_CLASSES = 40  # that are listed in the text
MOST_MISTAKES = 5


def text(evaluation: Evaluation) -> list[str]:
    """The figures in lines for a person: first top-1 and top-5, then the classes, then the worst mistakes."""
    lines = [
        f"{name}  accuracy {share}, error {share.rest}"
        for name, share in (("top-1", evaluation.top1), ("top-5", evaluation.top5))
    ]
    crops = "the centre crop" if evaluation.crops == 1 else f"{evaluation.crops} crops averaged"
    of = "" if len(evaluation.models) == 1 else f" and {len(evaluation.models)} models"
    lines.append(f"{counted(evaluation.pictures, 'picture')}, {crops}{of}; 95 % intervals (Wilson)")
    classes = evaluation.classes()
    shown = classes
    if len(classes) > MOST_CLASSES:
        shown = sorted(classes, key=lambda each: each.top1.value)[:MOST_CLASSES]
        lines += ["", f"the worst {MOST_CLASSES} of {len(classes):,} classes; --output tells of all"]
    lines += ["", "top-1   top-5   pictures  class, and what it is most often taken for"]
    for each in shown:
        taken = f", {each.times:,} × {printable(each.taken_for)}" if each.times else ""
        shares = f"{each.top1.value:6.1%}  {each.top5.value:6.1%}  {each.top1.of:8,}"
        lines.append(f"{shares}  {printable(each.label)}{taken}")
    if mistakes := evaluation.mistakes[:MOST_MISTAKES]:
        lines += ["", "surest of its wrong answers"]
        lines += [
            f"{each.probabilities[0]:6.1%}  {printable(each.labels[0])}, but it is {printable(each.truth)}: "
            f"{printable(each.path)}"
            for each in mistakes
        ]
    return lines


@dataclass(frozen=True)
class Outputs:
    """The files that are to be written."""

    output: Path | None
    confusion: Sequence[Path]
    report: Path | None

    def refuse(self, models: Sequence[Path], overwrite: bool) -> None:
        """Raise `UsageError` or `OutputError` where one of them can't become a new file; before the work."""
        files = [each for each in (self.output, *self.confusion, self.report) if each is not None]
        if self.output is not None and self.output.suffix.lower() not in (".csv", ".json"):
            raise UsageError(f"--output {self.output} ends in neither .csv nor .json")
        for each in self.confusion:
            if each.suffix.lower() not in (".csv", ".png"):
                raise UsageError(f"--confusion {each} ends in neither .csv nor .png")
            if each.suffix.lower() == ".png":
                import alexnet_tk.training.plots  # noqa: F401  missing, it should be told before the work
        if len({each.resolve() for each in files}) < len(files):
            raise UsageError("two outputs have the same name; give each its own")
        for each in files:
            if each.exists() and any(model.exists() and each.samefile(model) for model in models):
                raise OutputError(f"{each} is the model itself; name another file for the output")
            refuse_existing(each, overwrite)

    def write(self, evaluation: Evaluation) -> None:
        """Write all but the report, which is written as the pictures come; raises `OutputError`."""
        if self.output is not None and self.output.suffix.lower() == ".csv":
            _write_csv(self.output, _class_rows(evaluation))
        elif self.output is not None:
            with replacing(self.output) as part:
                part.write_text(json.dumps(to_dict(evaluation)) + "\n", encoding="utf-8")
        for each in self.confusion:
            if each.suffix.lower() == ".csv":
                _write_csv(each, _confusion_rows(evaluation))
            else:
                from alexnet_tk.training.plots import draw_confusion

                draw_confusion(evaluation.confusion, evaluation.labels, each, title=str(evaluation.data))


def to_dict(evaluation: Evaluation) -> dict[str, Any]:
    """Everything, in plain values; paths that are no UTF-8 keep their surrogate escapes."""
    return {
        "models": [
            {"path": str(each), "bytes": each.stat().st_size, "sha256": sha256(each)}
            for each in evaluation.models
        ],
        "data": str(evaluation.data),
        "crops": evaluation.crops,
        "pictures": evaluation.pictures,
        "failed": [{"path": path, "error": error} for path, error in evaluation.failed],
        "top1": _share(evaluation.top1),
        "top5": _share(evaluation.top5),
        "classes": [
            {
                "label": each.label,
                "pictures": each.top1.of,
                "top1": _share(each.top1),
                "top5": _share(each.top5),
                "taken_for": each.taken_for,
                "times": each.times,
            }
            for each in evaluation.classes()
        ],
        "labels": evaluation.labels,
        "confusion": evaluation.confusion.tolist(),
        "mistakes": [_mistake(each) for each in evaluation.mistakes],
        "seconds": evaluation.seconds,
    }


def _share(share: Share) -> dict[str, Any]:
    return {
        "correct": share.hits,
        "accuracy": share.value,
        "accuracy_interval": list(share.interval),
        "error": share.rest.value,
        "error_interval": list(share.rest.interval),
    }


def _mistake(record: Record) -> dict[str, Any]:
    return {
        "path": record.path,
        "truth": record.truth,
        "labels": list(record.labels),
        "probabilities": list(record.probabilities),
    }


def _class_rows(evaluation: Evaluation) -> Iterable[list[object]]:
    yield [
        "label",
        "pictures",
        *(f"{name}{end}" for name in ("top1", "top5") for end in ("", "_low", "_high")),
        "taken_for",
        "times",
    ]
    for each in evaluation.classes():
        shares = [
            f"{value:.6g}" for share in (each.top1, each.top5) for value in (share.value, *share.interval)
        ]
        yield [each.label, each.top1.of, *shares, each.taken_for, each.times]


def _confusion_rows(evaluation: Evaluation) -> Iterable[list[object]]:
    """True labels down, answered ones across."""
    yield ["true label", *evaluation.labels]
    for label, row in zip(evaluation.labels, evaluation.confusion.tolist(), strict=True):
        yield [label, *row]


def _write_csv(path: Path, rows: Iterable[list[object]]) -> None:
    with (
        replacing(path) as part,
        part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        csv.writer(file, lineterminator="\n").writerows(rows)
