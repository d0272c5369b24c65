"""Ctrl-C and SIGTERM held back until the current step is finished or the record is written."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """The number of the signal that has arrived; 0 until then."""

    def __init__(self) -> None:
        self.number = 0


def stop(number: int) -> None:
    """Raise what the signal would have raised; nothing if the number is 0.

    Call it at a point where everything that was finished is saved.
    """
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    if number:
        raise SystemExit(128 + number)


@contextmanager
def deferred(patient: bool = False) -> Iterator[Interrupt]:
    """Within the block, record the first SIGINT or SIGTERM instead of raising; a second one raises at once.

    With `patient`, later signals are only recorded too: in a run of several processes each one may
    receive the same signal twice, from the terminal and from its launcher.

    Outside the main thread, where Python delivers no signals, nothing changes. A signal that is ignored,
    as nohup and the shell's & arrange it, stays ignored.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # A handler that was not installed from Python is None, and can't be restored from Python.
    before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}

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
