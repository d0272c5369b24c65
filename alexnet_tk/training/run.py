"""A run of training: how far it has come, and the file `last.pt` from which it resumes."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alexnet_tk.errors import CheckpointError
from alexnet_tk.recipe import Recipe
from alexnet_tk.text import counted
from alexnet_tk.training.checkpoint import read_plain, save_plain
from alexnet_tk.training.statistics import Statistics
from alexnet_tk.training.trainer import Trainer

RUN_FORMAT = "alexnet-tk.run/1"
ADVICE = "remove it to start a new run"


@dataclass
class Run:
    """Where a run stands between two steps."""

    requested: Recipe
    recipe: Recipe  # the one in training: `requested`, or its variant after a restart
    statistics: Statistics
    fingerprint: str  # of the dataset
    epoch: int = 0  # epochs that are complete
    batch: int = 0  # batches of the current epoch that are complete
    tally: list[float] = field(default_factory=list)  # the current epoch's sums, see `Tally`
    history: list[dict[str, float]] = field(default_factory=list)  # the figures of every epoch
    best: int = 0  # the best epoch, counted from 1; 0: none yet
    restarts: list[str] = field(default_factory=list)  # why training was restarted
    finished: bool = False
    failures: list[dict[int, str]] = field(default_factory=lambda: [{}, {}])  # training, validation

    def restarted(self, steps: int, loss: float) -> "Run":
        """A new run with the known cure for a loss that is still ln(num_classes) after `steps` steps."""
        seed = self.requested.train.seed + 1
        story = (
            f"after {counted(steps, 'step')} the loss was {loss:.3f}, no better than guessing; "
            "training restarts once with biases of 0.1 (network.init=caffe) "
            f"and a new seed (train.seed={seed})"
        )
        recipe = self.requested.override("network.init=caffe", f"train.seed={seed}")
        return Run(self.requested, recipe, self.statistics, self.fingerprint, restarts=[story])

    def save(self, path: Path, trainer: Trainer) -> None:
        """Write `last.pt`, whole or not at all; the first process does. Raises `OutputError`."""
        state = trainer.state()
        if not trainer.world.is_first:
            return
        run = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "requested"}
        run |= {
            "asked": self.requested.to_dict(),  # the key of version 0.1.0
            "recipe": self.recipe.to_dict(),
            "statistics": self.statistics.to_plain(),
        }
        save_plain({"format": RUN_FORMAT, "run": run, "trainer": state}, path)

    @classmethod
    def load(cls, path: Path) -> tuple["Run", dict[str, Any]]:
        """A run and the state of its trainer; raises `CheckpointError`."""
        content = read_plain(path, ADVICE)
        if not isinstance(content, dict) or content.get("format") != RUN_FORMAT:
            raise CheckpointError(f"{path} does not hold a run of training; {ADVICE}")
        try:
            run = dict(content["run"])
            run["requested"] = Recipe.from_dict(run.pop("asked"))
            run["recipe"] = Recipe.from_dict(run["recipe"])
            run["statistics"] = Statistics.from_lists(**run["statistics"])
            return cls(**run), content["trainer"]
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path} is broken ({error}); {ADVICE}") from error
