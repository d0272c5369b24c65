"""What a caller is told while training runs."""

from typing import Protocol

from alexnet_tk.training.metrics import Figures


class Progress(Protocol):
    """What a caller can be told while training runs."""

    def say(self, message: str) -> None:
        """A fact about the run that the user should know."""
        return

    def begin(self, what: str, pictures: int) -> None:
        """Work begins that will look at so many pictures."""
        return

    def advance(self, pictures: int, loss: float | None = None) -> None:
        """So many more were looked at; the running loss, where it is known."""
        return

    def epoch(self, epoch: int, epochs: int, train: Figures, val: Figures, best: bool) -> None:
        """An epoch has ended; `best` says that its weights were saved."""
        return


class Silence(Progress):
    """Tells nobody."""
