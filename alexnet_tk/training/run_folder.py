"""The folder runs/<stem>/ beside a run's checkpoint, where <stem> is that of the checkpoint's name.

last.pt                  all that --resume needs
metrics.jsonl            a line for each epoch, and one every `LOG_EVERY` steps
unreadable.txt           the pictures that were left out, and why
events.out.tfevents.*    the epochs' figures for TensorBoard; steps/ holds the others
curves.png, confusion.png, filters.png    of a finished run
"""

from pathlib import Path

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
