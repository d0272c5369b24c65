"""A run of training: how far it has come, and the folder in which it can be taken up again.

runs/<stem>/last.pt          all that --resume needs
runs/<stem>/metrics.jsonl    a line for each epoch
runs/<stem>/unreadable.txt   the pictures that were left out, and why
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from alexnet_tk.errors import CheckpointError, OutputError, printable
from alexnet_tk.files import replacing
from alexnet_tk.recipe import Recipe
from alexnet_tk.training.checkpoint import read_plain, save_plain
from alexnet_tk.training.dataset import Split
from alexnet_tk.training.statistics import Statistics
from alexnet_tk.training.trainer import Trainer

FORMAT = "alexnet-tk.run/1"


@dataclass
class Run:
    """Where a run stands between two steps."""

    asked: Recipe  # for
    recipe: Recipe  # that is trained: another start may have been needed
    statistics: Statistics
    fingerprint: str  # of the pictures
    epoch: int = 0  # that are complete
    batch: int = 0  # of the current epoch that are done
    tally: list[float] = field(default_factory=list)  # of the current epoch
    history: list[dict[str, float]] = field(default_factory=list)
    best: int = 0  # the best epoch, counted from 1; 0: none yet
    restarts: list[str] = field(default_factory=list)
    finished: bool = False
    failures: list[dict[int, str]] = field(default_factory=lambda: [{}, {}])  # training, validation

    def save(self, path: Path, trainer: Trainer) -> None:
        """Write `last.pt`, whole or not at all; the first process does. Raises `OutputError`."""
        state = trainer.state()
        if not trainer.world.first:
            return
        content = {each: getattr(self, each) for each in self.__dataclass_fields__}
        content |= {
            "asked": self.asked.to_dict(),
            "recipe": self.recipe.to_dict(),
            "statistics": asdict(self.statistics),
        }
        save_plain({"format": FORMAT, "run": content, "trainer": state}, path)

    @classmethod
    def load(cls, path: Path) -> tuple["Run", dict[str, Any]]:
        """A run and the state of its trainer; raises `CheckpointError`."""
        content = read_plain(path, "remove it to start afresh")
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise CheckpointError(f"{path} is nothing to resume from; remove it to start afresh")
        try:
            run = dict(content["run"])
            run["asked"], run["recipe"] = Recipe.from_dict(run["asked"]), Recipe.from_dict(run["recipe"])
            run["statistics"] = Statistics.from_lists(**run["statistics"])
            return cls(**run), content["trainer"]
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path} is broken ({error}); remove it to start afresh") from error

    def write_metrics(self, path: Path) -> None:
        """A line of JSON for each epoch so far."""
        with replacing(path) as part:
            part.write_text("".join(json.dumps(line) + "\n" for line in self.history), encoding="utf-8")

    def list_failures(self, path: Path, splits: list[Split], failures: list[dict[int, str]]) -> int | None:
        """Write the pictures that could not be read so far; their number, if there are more than before."""
        if failures == self.failures:
            return None
        self.failures = failures
        lines = [
            f"{printable(split.name(index))}\t{reason}\n"
            for split, reasons in zip(splits, failures, strict=True)
            for index, reason in sorted(reasons.items())
        ]
        with replacing(path) as part:
            part.write_text("".join(lines), encoding="utf-8")
        return len(lines)


class Board:
    """The run's figures for TensorBoard: `tensorboard --logdir runs`."""

    def __init__(self, folder: Path, epochs: int) -> None:
        """Begin after so many epochs; what an interrupted run wrote beyond them is left out of the view."""
        from torch.utils.tensorboard import SummaryWriter

        try:
            self._writer = SummaryWriter(folder, purge_step=epochs + 1)
        except OSError as error:
            raise OutputError(f"{folder} can't be written: {error.strerror}") from error

    def add(self, figures: dict[str, float], lr: float) -> None:
        """The figures of an epoch, and its last learning rate; raises `OutputError`."""
        try:
            for name, value in {**figures, "lr": lr}.items():
                if name != "epoch":
                    self._writer.add_scalar(name, value, int(figures["epoch"]))
            self._writer.flush()
        except OSError as error:
            raise OutputError(f"{self._writer.log_dir} can't be written: {error.strerror}") from error
