"""The installed command, run as a person runs it."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Protocol

SCRIPT = Path(sys.executable).with_name("alexnet-tk")


def run(*arguments: str, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the installed command and check its exit code."""
    done = subprocess.run(
        [SCRIPT, *arguments],
        cwd=cwd,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def heed_ctrl_c() -> None:
    """What a shell's & makes its children ignore."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Done(Protocol):
    """What a command that has ended leaves to look at."""

    @property
    def stdout(self) -> str: ...
    @property
    def stderr(self) -> str: ...


class Run(Protocol):
    """Runs a command, in a process or in this one, and checks its exit code."""

    def __call__(self, *arguments: str, cwd: Path, code: int = 0) -> Done: ...
