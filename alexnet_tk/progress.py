"""The protocol by which the library reports what it is doing."""

from typing import Protocol


class Progress(Protocol):
    """Receives messages, intermediate results and progress; the command line prints and draws them."""

    def say(self, message: str) -> None:
        """Report a fact that the user should know; a line on stderr."""
        return

    def result(self, line: str) -> None:
        """Report an intermediate result, such as an epoch's figures; a line on stdout."""
        return

    def begin(self, task: str, total: int) -> None:
        """Start a task of `total` pictures, which replaces the previous task."""
        return

    def at(self, where: str) -> None:
        """Report where in its task a run is, as in "epoch 3 of 32", before it advances."""
        return

    def advance(self, count: int, loss: float | None = None) -> None:
        """Report `count` more pictures as done, with the running loss if there is one."""
        return


class _Silence(Progress):
    """Discards every report."""


SILENCE: Progress = _Silence()
