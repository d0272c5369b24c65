"""The files that an evaluation writes."""

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

from alexnet_tk.errors import UsageError
from alexnet_tk.evaluation.figures import Evaluation, Proportion, Scores, Unknown
from alexnet_tk.files import refuse_existing, replacing, sha256
from alexnet_tk.inference.record import Record


@dataclass(frozen=True)
class Outputs:
    """The files to write."""

    figures: Path | None
    confusion: Sequence[Path]
    report: Path | None  # written while the pictures are answered, and not by `write`

    def refuse(self, models: Sequence[Path], overwrite: bool) -> None:
        """Raise `UsageError` or `OutputError` if one of them can't become a new file; for before the work."""
        if self.figures is not None and self.figures.suffix.lower() not in (".csv", ".json"):
            raise UsageError(f"--output {self.figures} ends in neither .csv nor .json; give it one of them")
        for path in self.confusion:
            if path.suffix.lower() not in (".csv", ".png"):
                raise UsageError(f"--confusion {path} ends in neither .csv nor .png; give it one of them")
            if path.suffix.lower() == ".png":
                import alexnet_tk.training.plots  # noqa: F401  if matplotlib is missing, fail before the work
        paths = [path for path in (self.figures, *self.confusion, self.report) if path is not None]
        if len({path.resolve() for path in paths}) < len(paths):
            raise UsageError("two outputs have the same name; give each its own")
        for path in paths:
            refuse_existing(path, overwrite, source=models)

    def write(self, evaluation: Evaluation) -> None:
        """Write the figures and the confusion matrix; raises `OutputError`."""
        if self.figures is not None and self.figures.suffix.lower() == ".csv":
            _write_csv(self.figures, _class_rows(evaluation))
        elif self.figures is not None:
            with replacing(self.figures) as part:
                part.write_text(json.dumps(to_dict(evaluation)) + "\n", encoding="utf-8")
        for path in self.confusion:
            if path.suffix.lower() == ".csv":
                _write_csv(path, _confusion_rows(evaluation))
            else:
                from alexnet_tk.training.plots import draw_confusion

                draw_confusion(evaluation.confusion, evaluation.labels, path, title=str(evaluation.data))


def to_dict(evaluation: Evaluation) -> dict[str, Any]:
    """Everything in plain values; paths that are not UTF-8 keep their surrogate escapes."""
    return {
        "models": [
            {"path": str(path), "bytes": path.stat().st_size, "sha256": sha256(path)}
            for path in evaluation.models
        ],
        "data": str(evaluation.data),
        "crops": evaluation.crops,
        "pictures": evaluation.pictures,
        "failed": [{"path": path, "error": error} for path, error in evaluation.failed],
        "top1": _proportion(evaluation.top1),
        "top5": _proportion(evaluation.top5),
        "macro": asdict(evaluation.macro),
        **_unknown(evaluation.unknown),
        "classes": [
            {
                "label": figures.label,
                "pictures": figures.top1.total,
                "top1": _proportion(figures.top1),
                "top5": _proportion(figures.top5),
                **asdict(figures.scores),
                "taken_for": figures.mistaken_for,
                "times": figures.times_mistaken,
            }
            for figures in evaluation.classes()
        ],
        "labels": evaluation.labels,
        "confusion": evaluation.confusion.tolist(),
        "mistakes": [_mistake(record) for record in evaluation.mistakes],
        "seconds": evaluation.seconds,
    }


def _proportion(correct: Proportion) -> dict[str, Any]:
    return {
        "correct": correct.count,
        "accuracy": correct.fraction,
        "accuracy_interval": list(correct.interval),
        "error": correct.complement.fraction,
        "error_interval": list(correct.complement.interval),
    }


def _unknown(unknown: Unknown | None) -> dict[str, Any]:
    """Where it was asked for: the part of the pictures with a known answer, and the figures of these."""
    if unknown is None:
        return {}
    known = None if unknown.correct is None else _proportion(unknown.correct)
    coverage, interval = unknown.coverage.fraction, list(unknown.coverage.interval)
    table = {"below": unknown.below, "coverage": coverage, "coverage_interval": interval, "known": known}
    return {"unknown": table}


def _mistake(record: Record) -> dict[str, Any]:
    return {
        "path": record.path,
        "truth": record.truth,
        "labels": list(record.labels),
        "probabilities": list(record.probabilities),
    }


def _class_rows(evaluation: Evaluation) -> Iterable[list[object]]:
    columns = [f"{name}{end}" for name in ("top1", "top5") for end in ("", "_low", "_high")]
    yield ["label", "pictures", *columns, "taken_for", "times", *(each.name for each in fields(Scores))]
    for figures in evaluation.classes():
        accuracy = [
            number
            for proportion in (figures.top1, figures.top5)
            for number in (proportion.fraction, *proportion.interval)
        ]
        mistaken = [figures.mistaken_for, figures.times_mistaken]
        yield [
            figures.label,
            figures.top1.total,
            *map(_rounded, accuracy),
            *mistaken,
            *map(_rounded, astuple(figures.scores)),
        ]


def _rounded(number: float) -> str:
    return f"{number:.6g}"


def _confusion_rows(evaluation: Evaluation) -> Iterable[list[object]]:
    """A row for each true label, a column for each predicted one."""
    yield ["true label", *evaluation.labels]
    for label, row in zip(evaluation.labels, evaluation.confusion.tolist(), strict=True):
        yield [label, *row]


def _write_csv(path: Path, rows: Iterable[list[object]]) -> None:
    with (
        replacing(path) as part,
        part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        csv.writer(file, lineterminator="\n").writerows(rows)
