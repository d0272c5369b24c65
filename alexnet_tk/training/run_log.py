"""What a run logs of each epoch and every so many steps, in metrics.jsonl and for TensorBoard."""

import json
from contextlib import suppress
from pathlib import Path

from alexnet_tk.errors import OutputError
from alexnet_tk.files import replacing
from alexnet_tk.training.run_folder import RunFolder


class RunLog:
    """The log of a run that has come to some epoch and step; an interrupted run may have written more.

    Its methods raise `OutputError` where nothing can be written.
    """

    def __init__(self, folder: RunFolder, history: list[dict[str, float]], steps: int) -> None:
        self._path = folder.metrics
        lines = history + self._step_lines(steps)
        lines.sort(key=lambda line: (line["epoch"], "step" not in line))
        with replacing(self._path) as part:
            part.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        self._epochs = _TensorBoard(folder.path, len(history))
        self._steps = _TensorBoard(folder.steps, steps)

    def add_epoch(self, figures: dict[str, float], lr: float) -> None:
        """Log an epoch's figures; TensorBoard gets its last learning rate, too."""
        self._append(figures)
        self._epochs.add(figures | {"lr": lr}, int(figures["epoch"]))

    def add_step(self, step: int, epoch: float, loss: float, lr: float, speed: float) -> None:
        """Log a step: `epoch` counts them with their fractions, `speed` is in pictures/s."""
        figures = {"step": step, "epoch": epoch, "running_loss": loss, "lr": lr, "pictures_per_s": speed}
        self._append(figures)
        self._steps.add(figures, step)

    def _append(self, line: dict[str, float]) -> None:
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise OutputError(f"{self._path} can't be written: {error.strerror or error}") from error

    def _step_lines(self, steps: int) -> list[dict[str, float]]:
        """The lines of that number of steps; without a last one that a full disk or a kill has cut off."""
        lines: list[dict[str, float]] = []
        if self._path.exists():
            for text in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
                with suppress(ValueError, TypeError, LookupError):  # whatever stands there
                    line = json.loads(text)
                    if line["step"] <= steps and line["epoch"] >= 0:
                        lines.append(line)
        return lines


class _TensorBoard:
    """Figures for `tensorboard --logdir runs`."""

    def __init__(self, folder: Path, last: int) -> None:
        """Continue after that epoch or step; later ones that an interrupted run wrote are hidden."""
        from torch.utils.tensorboard import SummaryWriter

        try:
            self._writer = SummaryWriter(folder, purge_step=last + 1)
        except OSError as error:
            raise OutputError(f"{folder} can't be written: {error.strerror}") from error

    def add(self, figures: dict[str, float], at: int) -> None:
        """Write the figures of an epoch or a step."""
        try:
            for name, value in figures.items():
                if name not in ("epoch", "step"):
                    self._writer.add_scalar(name, value, at)
            self._writer.flush()
        except OSError as error:
            raise OutputError(f"{self._writer.log_dir} can't be written: {error.strerror}") from error
