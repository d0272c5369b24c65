"""Runs the pages' commands and Python blocks quickly: networks are tiny and are trained for one epoch.

Existing outputs are overwritten, because one page shows several commands with the same default output.
`alexnet-tk` runs in this process, which avoids loading torch for every command.
"""

import ast
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import alexnet_tk
from alexnet_tk.layout import is_packed
from tests.conftest import TINY
from tests.documents.page import Step

QUICK = (*TINY, "network.init=he", "preprocess.std=[60,60,60]", "train.epochs=1", "train.batch_size=16")
PROGRAMS = ("alexnet-tk", "python", "find", "ls")
SHELL = re.compile(r"[|<>;&*]")  # characters that need a shell
APP = import_module("alexnet_tk.cli.main").app
COMMANDS: dict[str, Any] = get_command(APP).commands  # type: ignore[attr-defined]


def quick(words: list[str]) -> list[str]:
    """The arguments of `alexnet-tk`, extended so that it is quick and replaces existing outputs."""
    name = words[0]
    if name == "train":
        words = [*words, *(word for each in QUICK for word in ("--set", each))]
    if name == "pack":
        for each in filter(is_packed, map(Path, words)):
            shutil.rmtree(each)
    if "--overwrite" in options(name) and not {"--resume", "--overwrite"} & {*words}:
        words = [*words, "--overwrite"]
    return words


def options(name: str) -> set[str]:
    """The options of a command."""
    params = COMMANDS[name].params
    return {option for each in params for option in (*each.opts, *each.secondary_opts)} | {"--help", "-h"}


@contextmanager
def quick_functions(names: set[str]) -> Iterator[None]:
    """Within the block, these functions of `alexnet_tk` are quick and replace existing outputs."""

    def patched(function: Callable[..., Any]) -> Callable[..., Any]:
        parameters = signature(function).parameters
        defaults = {"settings": QUICK, "overwrite": True}
        added = {name: value for name, value in defaults.items() if name in parameters}
        return lambda *args, **given: function(*args, **(added | given))

    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(alexnet_tk, name, patched(getattr(alexnet_tk, name)), raising=False)
        yield


def imported_functions(code: str) -> set[str]:
    """The functions that a block imports from `alexnet_tk` itself."""
    return {
        alias.name
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.ImportFrom) and node.module == "alexnet_tk"
        for alias in node.names
        if alias.name.islower()
    }


def run(step: Step, folder: Path) -> None:
    """Run a command or a block in the folder, which is the current one; fails unless it succeeds."""
    if step.kind == "python":
        if step.name:
            (folder / step.name).write_text(step.code, encoding="utf-8")
            return
        with quick_functions(imported_functions(step.code)):
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
