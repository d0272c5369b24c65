"""A `Progress` that remembers what a training run reports."""

import re
from dataclasses import dataclass

from alexnet_tk.progress import Progress

EPOCH = re.compile(
    r"epoch +(\d+)/(\d+)  train loss \d+\.\d{4}  validation top-1 +([\d.]+)%  top-5 +([\d.]+)%"
    r"(  best so far, saved)?"
)


@dataclass(frozen=True)
class EpochLine:
    """The line that is printed after an epoch."""

    epoch: int
    epochs: int
    top1: float  # per cent, with one decimal
    saved: bool


class Log(Progress):
    """Messages, epochs and the number of pictures."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.epochs: list[EpochLine] = []
        self.pictures = 0

    def say(self, message: str) -> None:
        self.said.append(message)

    def result(self, line: str) -> None:
        found = EPOCH.fullmatch(line)
        assert found is not None, line
        epoch, epochs, top1, _, saved = found.groups()
        self.epochs.append(EpochLine(int(epoch), int(epochs), float(top1), saved is not None))

    def advance(self, count: int, loss: float | None = None) -> None:
        self.pictures += count
