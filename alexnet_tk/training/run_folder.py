"""The folder runs/<stem>/ beside a run's checkpoint, where <stem> is that of the checkpoint's name.

last.pt                  all that --resume needs
metrics.jsonl            a line for each epoch
unreadable.txt           the pictures that were left out, and why
events.out.tfevents.*    the figures for TensorBoard
curves.png, confusion.png, filters.png    of a finished run
"""

import json
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

    def write_metrics(self, history: list[dict[str, float]]) -> None:
        """Write a line of JSON for each epoch so far; raises `OutputError`."""
        with replacing(self.metrics) as part:
            part.write_text("".join(json.dumps(line) + "\n" for line in history), encoding="utf-8")

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
    """The run's figures for `tensorboard --logdir runs`."""

    def __init__(self, folder: Path, epochs: int) -> None:
        """Continue after that number of epochs; later ones that an interrupted run wrote are hidden."""
        from torch.utils.tensorboard import SummaryWriter

        try:
            self._writer = SummaryWriter(folder, purge_step=epochs + 1)
        except OSError as error:
            raise OutputError(f"{folder} can't be written: {error.strerror}") from error

    def add(self, figures: dict[str, float], lr: float) -> None:
        """Write an epoch's figures and its last learning rate; raises `OutputError`."""
        try:
            for name, value in {**figures, "lr": lr}.items():
                if name != "epoch":
                    self._writer.add_scalar(name, value, int(figures["epoch"]))
            self._writer.flush()
        except OSError as error:
            raise OutputError(f"{self._writer.log_dir} can't be written: {error.strerror}") from error
