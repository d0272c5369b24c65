"""Ctrl-C and SIGTERM at work: the step is finished, or the record written, then it stops."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """Holds the number of the signal that came, 0 before, until the loop looks."""

    def __init__(self) -> None:
        self.number = 0


def stop(number: int) -> None:
    """Raise what this signal would have raised, at a moment when everything is consistent; 0 is none."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    if number:
        raise SystemExit(128 + number)


@contextmanager
def deferred(patient: bool = False) -> Iterator[Interrupt]:
    """The first signal waits for `stop`; a second one stops at once, unless `patient`.

    Of several processes each may be sent the same signal twice, by the terminal and by its launcher.

    In a thread other than the main one, where Python delivers no signals, nothing is changed; a signal
    that is ignored, as nohup and the shell's & have it, stays ignored.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # None is a handler that was not set from Python, and can't be set again from there.
    before = {each: handler for each, handler in before.items() if handler not in (signal.SIG_IGN, None)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(number: int, frame: FrameType | None) -> None:
        interrupt.number = number
        if not patient:
            restore()

    for number in before:
        signal.signal(number, handle)
    try:
        yield interrupt
    finally:
        restore()
