"""What a person sees while a command works: a bar, and lines above it.

Answers go to stdout, everything else to stderr. The bar is drawn where stderr is a terminal; where
stdout is one too, both are drawn by one console, so that neither writes into the other.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import typer

from alexnet_tk.progress import Progress
from alexnet_tk.text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import TaskID
    from rich.text import Text


class Screen(Progress):
    """A bar and the lines above it; the library's `Progress`."""

    def __init__(self, bar: "Bar") -> None:
        self._bar = bar
        self._task: TaskID | None = None

    @property
    def console(self) -> "Console":
        """What draws the bar; what it prints appears above it."""
        return self._bar.console

    def draw(self, text: "Text") -> None:
        """Styled lines on stdout, which is a terminal."""
        self.console.print(text, end="", soft_wrap=True)

    def say(self, message: str) -> None:
        """A line on stderr."""
        self._print(printable(message), err=True)

    def result(self, line: str) -> None:
        """A line on stdout."""
        self._print(line)

    def begin(self, task: str, total: int) -> None:
        """A new bar of `total` pictures in the place of the one before."""
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(task, total=total, loss="")

    def advance(self, count: int, loss: float | None = None) -> None:
        """Move the bar on."""
        if self._task is not None:
            self._bar.advance(self._task, count)
            if loss is not None:
                self._bar.update(self._task, loss=f"loss {loss:.3f}")

    def _print(self, message: str, err: bool = False) -> None:
        """A line above the bar where the stream is the terminal that shows it, else plainly to the stream."""
        stream = sys.stderr if err else sys.stdout
        if stream.isatty():
            self.console.print(message, markup=False, highlight=False, soft_wrap=True)
        else:
            typer.echo(message, err=err)


def new_console(stream: TextIO, width: int | None = None) -> "Console":
    """A console that leaves a reader who has had enough to main.py, as every other output does."""
    from rich.console import Console

    class OpenConsole(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return OpenConsole(file=stream, width=width)


@contextmanager
def screen() -> Iterator[Screen]:
    """A screen for the time of a command."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.0f} pictures/s" if speed else "")

    out = new_console(sys.stdout)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TextColumn("{task.fields[loss]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=out if out.is_terminal else new_console(sys.stderr),
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not sys.stderr.isatty(),
        transient=True,
    ) as bar:
        yield Screen(bar)
