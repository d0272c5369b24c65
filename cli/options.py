"""Options that several commands share."""

import sys
from pathlib import Path
from typing import IO, Annotated

import typer

from alexnet_tk import choices
from alexnet_tk.errors import InputError


def _debug(ctx: typer.Context, wanted: bool) -> bool:
    if wanted:
        ctx.meta["debug"] = True  # read in main.py; a context shares it with the one above
    return wanted


Debug = Annotated[
    bool, typer.Option("--debug", help="Show the traceback of an error.", callback=_debug, is_eager=True)
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.", show_default=True)]
Math = Annotated[
    choices.Math,
    typer.Option(
        help="Exact, or fast: allows TF32 on CUDA, bfloat16 in OpenVINO for float32.", show_default=True
    ),
]
PredictionDevice = Annotated[
    str, typer.Option(help="auto, cpu, openvino, cuda, cuda:N or cuda:all.", show_default=True)
]
BatchSize = Annotated[int | None, typer.Option(min=1, metavar="N", help="Pictures in a run of the network.")]
Workers = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Threads. \\[default: one for each usable core]")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where an earlier run stopped.")]
ClassesAreFolders = Annotated[
    bool,
    typer.Option("--classes-are-folders", help="Every folder is a class, even one named train, val or test."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")]

# Which pictures, for the commands that answer them.
Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT",
        help="Pictures, folders, .zip and .tar archives, patterns; - is a list of paths on stdin.",
    ),
]
Listed = Annotated[
    Path | None, typer.Option("--from", metavar="FILE", help="A list of paths, one on each line.")
]
NulSeparated = Annotated[bool, typer.Option("-0", help="The paths of lists are NUL-separated.")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first picture that fails.")]
Engine = Annotated[
    choices.Engine, typer.Option(help="With ray, the actors of a cluster answer; --workers is their number.")
]


def without_stdin(inputs: list[str] | None) -> list[str]:
    """The inputs but -, which is a list."""
    return [each for each in inputs or [] if each != "-"]


def lists(inputs: list[str] | None, listed: Path | None) -> list[Path | IO[bytes]]:
    """The lists on stdin and in a file, in this order."""
    found: list[Path | IO[bytes]] = []
    if "-" in (inputs or []):
        if sys.stdin is None:
            raise InputError("- takes a list of paths on stdin, which is closed")
        found.append(sys.stdin.buffer)
    return found if listed is None else [*found, listed]
