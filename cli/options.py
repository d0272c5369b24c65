"""Options that several commands share."""

from typing import Annotated

import typer

from alexnet_tk import choices


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
