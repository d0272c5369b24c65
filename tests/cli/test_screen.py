"""What stands in the bar's place where stderr is no terminal, and when a task will be done."""

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

screen = import_module("alexnet_tk.cli.screen")  # in a checkout it stands elsewhere, which mypy can't follow

# The command, with a line every tenth of a second instead of every 50 seconds.
COMMAND = "from alexnet_tk.cli import main, screen; screen.LINE_EVERY = 0.1; main.app(prog_name='alexnet-tk')"
LINE = re.compile(
    r"training: epoch (\d) of 2, step (\d+) of 38, lr [\d.e-]+, loss \d\.\d{3}, [\d,]+ pictures/s, "
    r"\d:\d\d:\d\d left"
)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which tests set."""
    now = [100.0]
    monkeypatch.setattr(screen.time, "monotonic", lambda: now[0])
    return now


def test_the_time_left_is_that_of_the_whole_task(clock: list[float]) -> None:
    """Validation is faster than training; what an earlier run did took no time in this one."""
    pace = screen.Pace(1000)
    pace.advance(400)
    assert (pace.speed(), pace.left()) == ("", "")
    clock[0] += 40
    pace.advance(100)
    clock[0] += 10
    pace.advance(100)  # at once
    assert pace.speed() == "4 pictures/s"
    assert pace.left() == "0:01:40 left"
    clock[0] += 20_000
    pace.advance(100)
    assert pace.left() == f"{20_050 // 3600}:{20_050 % 3600 // 60:02}:{20_050 % 60:02} left"


def test_without_a_terminal_a_line_says_where_training_is(tmp_path: Path) -> None:
    settings = (
        "train.epochs=2", "train.batch_size=160", "network.channels=[2,2,2,2,2]", "network.hidden=[2,2]",
    )  # fmt: skip
    arguments = ["train", "--device", "cpu", *(f"--set={each}" for each in settings)]
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments],
        cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = [LINE.fullmatch(line) for line in done.stderr.splitlines() if "step" in line]
    assert len(lines) >= 2
    places = [tuple(map(int, line.groups())) for line in lines if line is not None]
    assert len(places) == len(lines)
    assert places == sorted(places)
    assert "\x1b" not in done.stderr
