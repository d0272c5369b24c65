"""How far packing has come: the journal of an unfinished packed set, from which it continues."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet_tk.errors import OutputError
from alexnet_tk.files import replacing
from alexnet_tk.layout import PACKED_INDEX, PACKED_JOURNAL
from alexnet_tk.progress import Progress
from alexnet_tk.text import one_line
from alexnet_tk.training.dataset import Dataset
from alexnet_tk.training.packed import PACKED_FORMAT, PACKED_JPEG_FORMAT, ROW_SHAPE
from alexnet_tk.training.statistics import Moments

JOURNAL_EVERY = 512  # pictures between two lines of the journal


@dataclass
class SplitState:
    """How far a split has been packed."""

    split: str
    rows: int = 0  # that are written
    failed: dict[int, str] = field(default_factory=dict)  # the rows without a picture, and why
    moments: Moments = field(default_factory=Moments)  # of the pictures so far
    sizes: list[int] = field(default_factory=list)  # bytes of each row so far, where they are JPEGs
    # The sum of the training pictures so far; None where an earlier version has begun without it.
    total: NDArray[np.int64] | None = None


class Journal:
    """How far packing has come, a line for every `JOURNAL_EVERY` pictures; removed from a complete set."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.states = {split: SplitState(split) for split in ("train", "val")}
        self.states["train"].total = np.zeros(ROW_SHAPE, np.int64)
        self._recorded = dict.fromkeys(self.states, 0)  # sizes that the file has

    @classmethod
    def open(
        cls,
        packed: Path,
        dataset: Dataset,
        quality: int | None,
        num_bytes: Callable[[], int],
        progress: Progress,
    ) -> "Journal":
        """Start a packed set, or continue one of the same pictures and quality; raises `OutputError`.

        `num_bytes` tells how large it will be.
        """
        journal = cls(packed / PACKED_JOURNAL)
        if (packed / PACKED_INDEX).exists():
            raise OutputError(f"{packed} is a complete packed set already; remove it, or name another folder")
        if journal.path.exists():
            journal._read(dataset, quality)
            done = sum(state.rows for state in journal.states.values())
            progress.say(f"{packed} is partly packed; continuing after {done:,} pictures")
            return journal
        packed.mkdir(parents=True, exist_ok=True)
        if any(packed.iterdir()):
            raise OutputError(f"{packed} is not empty; remove it, or name another folder")
        size, free = num_bytes(), shutil.disk_usage(packed).free
        about = "" if quality is None else "about "
        progress.say(f"{packed} will take {about}{size / 1e9:,.2f} GB; {free / 1e9:,.2f} GB are free")
        if size > free:
            packed.rmdir()
            raise OutputError(
                f"{packed} needs {size / 1e9:,.2f} GB and {free / 1e9:,.2f} GB are free; "
                "free some space, or name a folder on another disk"
            )
        first: dict[str, object] = {"format": PACKED_FORMAT, "fingerprint": dataset.fingerprint()}
        if quality is not None:
            first |= {"format": PACKED_JPEG_FORMAT, "quality": quality}
        journal._append(first)
        return journal

    def record(self, state: SplitState) -> None:
        """Append how far a split has been packed."""
        failed, moments = list(state.failed.items()), state.moments.to_list()
        line: dict[str, object] = {
            "split": state.split,
            "rows": state.rows,
            "failed": failed,
            "moments": moments,
        }
        if state.sizes:
            line["sizes"] = state.sizes[self._recorded[state.split] :]  # the others are in the lines before
            self._recorded[state.split] = len(state.sizes)
        if state.total is not None:
            with replacing(self._total_file(state.rows)) as part, part.open("wb") as file:
                np.save(file, state.total)
        self._append(line)
        if state.total is not None:
            self._remove_totals(but=state.rows)

    def remove(self) -> None:
        """Remove the journal, of a set that is complete."""
        self._remove_totals()
        self.path.unlink()

    def _total_file(self, rows: int) -> Path:
        """Where the sum of the pictures of so many rows is: a line of the journal belongs to it."""
        return self.path.with_name(f"total_{rows}.npy")

    def _remove_totals(self, but: int = -1) -> None:
        for path in self.path.parent.glob("total_*.npy"):
            if path != self._total_file(but):
                path.unlink()

    def _append(self, line: dict[str, object]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _read(self, dataset: Dataset, quality: int | None) -> None:
        content = self.path.read_bytes()
        complete = content[: content.rfind(b"\n") + 1]  # without a last line that a kill cut off
        os.truncate(self.path, len(complete))
        first, *lines = complete.decode("utf-8", "replace").splitlines() or ["{}"]
        try:
            if not dataset.has_fingerprint(json.loads(first).get("fingerprint")):
                raise OutputError(
                    f"{self.path.parent} holds a partly packed set of other pictures; "
                    "remove it, or name another folder"
                )
            if (begun := json.loads(first).get("quality")) != quality:
                raise OutputError(
                    f"{self.path.parent} is partly packed {_form(begun)}; continue it so, remove it, "
                    "or name another folder"
                )
            for line in lines:
                entry = json.loads(line)
                failed = {int(row): str(reason) for row, reason in entry["failed"]}
                moments = Moments.from_list(entry["moments"])
                split, rows = entry["split"], int(entry["rows"])
                sizes = [*self.states[split].sizes, *map(int, entry.get("sizes", []))]
                if quality is not None and len(sizes) != rows:
                    raise ValueError(f"{len(sizes)} sizes of {rows} rows")
                self.states[split] = SplitState(split, rows, failed, moments, sizes)
                self._recorded[split] = len(sizes)
            train = self.states["train"]
            if train.rows:
                train.total = _read_total(self._total_file(train.rows))
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, EOFError) as error:
            raise OutputError(
                f"{self.path} is damaged ({one_line(error)}); remove {self.path.parent} to start afresh"
            ) from error


def _read_total(path: Path) -> NDArray[np.int64] | None:
    if not path.exists():
        return None
    total: NDArray[np.int64] = np.load(path, allow_pickle=False)
    if total.shape != ROW_SHAPE or total.dtype != np.int64:
        raise ValueError(f"{path.name} holds {total.dtype} {total.shape}")
    return total


def _form(quality: int | None) -> str:
    return "as arrays, without --quality" if quality is None else f"with --quality {quality}"
