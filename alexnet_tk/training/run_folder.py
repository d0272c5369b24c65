"""The folder runs/<stem>/ beside a run's checkpoint, where <stem> is that of the checkpoint's name.

last.pt                  all that --resume needs
metrics.jsonl            a line for each epoch, and one every `LOG_EVERY` steps
unreadable.txt           the pictures that were left out, and why
events.out.tfevents.*    the epochs' figures for TensorBoard; steps/ holds the others
curves.png, confusion.png, filters.png    of a finished run
"""

import json
from contextlib import suppress
from pathlib import Path

from alexnet_tk.errors import OutputError
from alexnet_tk.files import make_folder, replacing
from alexnet_tk.text import printable
from alexnet_tk.training.dataset import Split


class RunFolder:
    """The paths of a run's files."""

    def __init__(self, output: Path) -> None:
        self.path = output.parent / "runs" / output.stem
        self.last = self.path / "last.pt"
        self.metrics = self.path / "metrics.jsonl"
        self.steps = self.path / "steps"
        self.unreadable = self.path / "unreadable.txt"
        # In the order in which they are drawn.
        self.curves = self.path / "curves.png"
        self.confusion = self.path / "confusion.png"
        self.filters = self.path / "filters.png"

    def make_empty(self) -> None:
        """Make the folder, and remove what an earlier run left there; raises `OutputError`."""
        make_folder(self.path)
        for file in (
            self.last,
            self.metrics,
            self.unreadable,
            self.curves,
            self.confusion,
            self.filters,
        ):
            file.unlink(missing_ok=True)

    def has_all_plots(self) -> bool:
        """Whether a finished run has drawn its plots."""
        return self.filters.exists()

    def begin_metrics(self, history: list[dict[str, float]], steps: int) -> None:
        """Write the lines of the epochs so far, and keep those of that number of steps; raises `OutputError`.

        An interrupted run may have written more, which will come again.
        """
        lines = history + [line for line in self._step_lines() if line["step"] <= steps]
        lines.sort(key=lambda line: (line["epoch"], "step" not in line))
        with replacing(self.metrics) as part:
            part.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    def add_metrics(self, line: dict[str, float]) -> None:
        """Append a line of JSON; raises `OutputError`."""
        try:
            with self.metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise OutputError(f"{self.metrics} can't be written: {error.strerror or error}") from error

    def _step_lines(self) -> list[dict[str, float]]:
        """The lines of steps; without a last one that a full disk or a kill has cut off."""
        lines: list[dict[str, float]] = []
        if self.metrics.exists():
            for text in self.metrics.read_text(encoding="utf-8", errors="replace").splitlines():
                with suppress(ValueError, TypeError):
                    line = json.loads(text)
                    if {"step", "epoch"} <= line.keys():
                        lines.append(line)
        return lines

    def write_unreadable(self, splits: list[Split], failures: list[dict[int, str]]) -> int:
        """List the pictures that could not be read so far, by split; their number. Raises `OutputError`."""
        lines = [
            f"{printable(split.name(index))}\t{reason}\n"
            for split, reasons in zip(splits, failures, strict=True)
            for index, reason in sorted(reasons.items())
        ]
        with replacing(self.unreadable) as part:
            part.write_text("".join(lines), encoding="utf-8")
        return len(lines)


class TensorBoard:
    """A run's figures for `tensorboard --logdir runs`, by epoch or by step."""

    def __init__(self, folder: Path, last: int) -> None:
        """Continue after that epoch or step; later ones that an interrupted run wrote are hidden."""
        from torch.utils.tensorboard import SummaryWriter

        try:
            self._writer = SummaryWriter(folder, purge_step=last + 1)
        except OSError as error:
            raise OutputError(f"{folder} can't be written: {error.strerror}") from error

    def add(self, figures: dict[str, float], at: int) -> None:
        """Write the figures of an epoch or a step; raises `OutputError`."""
        try:
            for name, value in figures.items():
                if name not in ("epoch", "step"):
                    self._writer.add_scalar(name, value, at)
            self._writer.flush()
        except OSError as error:
            raise OutputError(f"{self._writer.log_dir} can't be written: {error.strerror}") from error
