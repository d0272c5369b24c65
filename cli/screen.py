"""What a person sees while a command works: a bar, and lines above it.

Answers go to stdout, everything else to stderr. The bar is drawn where stderr is a terminal; where
stdout is one too, both are drawn by one console, so that neither writes into the other. Where stderr is no
terminal, as under nohup or Slurm, a line now and then takes the bar's place.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TextIO

import typer

from alexnet_tk.progress import Progress
from alexnet_tk.text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import TaskID
    from rich.text import Text


LINE_EVERY = 50.0  # seconds between two lines in the bar's place; a step more must not make it a minute


class Screen(Progress):
    """A bar and the lines above it; the library's `Progress`."""

    def __init__(self, bar: "Bar") -> None:
        self._bar = bar
        self._task: TaskID | None = None
        self._pace, self._where = Pace(0), ""
        self._next_line = time.monotonic() + LINE_EVERY

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
        self._task = self._bar.add_task(task, total=total, loss="", left="")
        self._pace, self._where = Pace(total), ""

    def at(self, where: str) -> None:
        """What the next line without a bar says of the place."""
        self._where = where

    def advance(self, count: int, loss: float | None = None) -> None:
        """Move the bar on."""
        if self._task is None:
            return
        self._pace.advance(count)
        fields: dict[str, Any] = {} if loss is None else {"loss": f"loss {loss:.3f}"}
        self._bar.update(self._task, advance=count, left=self._pace.left(), **fields)
        if self._bar.disable and time.monotonic() > self._next_line:
            self._next_line = time.monotonic() + LINE_EVERY
            task = self._bar.tasks[-1]
            where = self._where or f"{self._pace.done:,} of {self._pace.total:,} pictures"
            parts = [where, task.fields["loss"], self._pace.speed(), self._pace.left()]
            self.say(f"{task.description}: {', '.join(filter(None, parts))}")

    def _print(self, message: str, err: bool = False) -> None:
        """A line above the bar where the stream is the terminal that shows it, else plainly to the stream."""
        stream = sys.stderr if err else sys.stdout
        if stream.isatty():
            self.console.print(message, markup=False, highlight=False, soft_wrap=True)
        else:
            typer.echo(message, err=err)


class Pace:
    """How fast a task of `total` pictures goes on the whole, and so when it will be done.

    A bar's usual guess, from the last seconds, is wrong for training: validation is faster.
    """

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self._first: tuple[float, int] | None = None  # what was done before and when; then this run began

    def advance(self, count: int) -> None:
        """Take in that so many more pictures are done."""
        self.done += count
        self._first = self._first or (time.monotonic(), self.done)

    def _rate(self) -> float:
        """Pictures/s; 0 while it is not known."""
        begun, before = self._first or (0.0, 0)
        elapsed = time.monotonic() - begun
        return (self.done - before) / elapsed if self.done > before and elapsed > 0 else 0.0

    def speed(self) -> str:
        """In words; "" while it is not known."""
        return f"{rate:,.0f} pictures/s" if (rate := self._rate()) else ""

    def left(self) -> str:
        """The time until all is done, in words; "" while it is not known."""
        rate = self._rate()
        return f"{timedelta(seconds=round((self.total - self.done) / rate))} left" if rate else ""


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
        TextColumn("{task.fields[left]}"),
        console=out if out.is_terminal else new_console(sys.stderr),
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not sys.stderr.isatty(),
        transient=True,
    ) as bar:
        yield Screen(bar)
