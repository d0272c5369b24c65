"""Commands of the pages, run quickly: every network is the tests' tiny one and is trained for one epoch.

Outputs may be there already. So that nothing is loaded twice, `alexnet-tk` runs in this process.
"""

import re
import shlex
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from typer.main import get_command
from typer.testing import CliRunner

from tests.conftest import TINY
from tests.documents.page import Step

QUICK = (*TINY, "network.init=he", "preprocess.std=[60,60,60]", "train.epochs=1", "train.batch_size=16")
PROGRAMS = ("alexnet-tk", "python", "find", "ls")
SHELL = re.compile(r"[|<>;&*]")  # what needs a shell
APP = import_module("alexnet_tk.cli.main").app
COMMANDS: dict[str, Any] = get_command(APP).commands  # type: ignore[attr-defined]


def quick(words: list[str]) -> list[str]:
    """The words of `alexnet-tk …` with what makes it quick, and lets it replace other commands' files."""
    name = words[0]
    if name == "train":
        words = [*words, *(word for each in QUICK for word in ("--set", each))]
    if name == "pack":
        shutil.rmtree(words[2], ignore_errors=True)
    if "--overwrite" in options(name) and not {"--resume", "--overwrite"} & {*words}:
        words = [*words, "--overwrite"]
    return words


def options(name: str) -> set[str]:
    """What a command of the app takes."""
    params = COMMANDS[name].params
    return {option for each in params for option in (*each.opts, *each.secondary_opts)} | {"--help", "-h"}


def run(step: Step, folder: Path) -> None:
    """Run a command or a block in the folder, which is the current one; fails unless it ends well."""
    if step.kind == "python":
        if step.name:
            (folder / step.name).write_text(step.code, encoding="utf-8")
        else:
            exec(compile(step.code, "block", "exec"), {"__name__": "__main__"})
        return
    program, *words = shlex.split(step.code)
    if program == "alexnet-tk" and not SHELL.search(step.code):
        done = CliRunner().invoke(APP, quick(words), input="")
        assert done.exit_code == 0, f"{step.code}\n{done.output}{done.stderr}{done.exception!r}"
        return
    assert program in PROGRAMS, f"{step.code}: say in NOT_RUN why it can't be run"
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    words = ["/bin/bash", "-o", "pipefail", "-c", step.code]
    ended = subprocess.run(words, cwd=folder, env={"PATH": path}, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{step.code}\n{ended.stdout}{ended.stderr}"
