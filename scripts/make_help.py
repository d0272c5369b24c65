"""Make docs/commands.md: the --help of every command, as in a terminal of 100 columns without colours.

python scripts/make_help.py
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import typer

OUTPUT = Path(__file__).parent.parent / "docs" / "commands.md"
SCRIPT = Path(sys.executable).with_name("alexnet-tk")
COLUMNS = "100"

HEAD = """\
# Commands

The `--help` of each command, written by `python scripts/make_help.py`.
"""


def commands() -> list[str]:
    """The names of the app's commands, in the order of its own --help."""
    app: typer.Typer = import_module("alexnet_tk.cli.main").app  # cli/ has this name once installed
    return [
        command.name or command.callback.__name__ for command in app.registered_commands if command.callback
    ]


def help_of(*command: str) -> str:
    """The output of `alexnet-tk … --help` without colours, in any terminal or CI."""
    colouring = ("FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS")  # make typer print colours
    environment = {name: value for name, value in os.environ.items() if name not in colouring}
    environment |= {"TERMINAL_WIDTH": COLUMNS, "NO_COLOR": "1", "TERM": "dumb", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(  # noqa: S603  our own command
        [SCRIPT, *command, "--help"], env=environment, capture_output=True, encoding="utf-8", check=True
    )
    return "\n".join(line.rstrip() for line in done.stdout.strip("\n").splitlines()).strip()


def page() -> str:
    """The content of docs/commands.md."""
    names = commands()
    with ThreadPoolExecutor() as pool:
        first, *others = pool.map(lambda words: help_of(*words), [(), *((name,) for name in names)])
    parts = [HEAD, f"```text\n{first}\n```\n"]
    parts += [f"## {name}\n\n```text\n{text}\n```\n" for name, text in zip(names, others, strict=True)]
    return "\n".join(parts)


if __name__ == "__main__":
    OUTPUT.write_text(page(), encoding="utf-8")
