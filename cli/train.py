"""`alexnet-tk train`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from alexnet_tk.choices import Parallelism

from .options import ClassesAreFolders, Debug, Device, Overwrite, Resume
from .screen import screen


def train(
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="DATA",
            help="A folder of class folders, of train/ and val/ with them, an archive of these, or packed; "
            "without it the built-in sample.",
        ),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="A recipe's name or a TOML file.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe, as in train.epochs=1."),
    ] = None,
    output: Annotated[Path, typer.Option(help="The checkpoint to write.")] = Path("model.pt"),
    resume: Resume = False,
    overwrite: Overwrite = False,
    init: Annotated[
        Path | None, typer.Option(metavar="MODEL.PT", help="A checkpoint whose weights to start from.")
    ] = None,
    device: Device = "auto",
    parallel: Annotated[
        Parallelism | None, typer.Option(help="How several processes share the work. \\[default: data]")
    ] = None,
    gpus: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Processes to start, one per GPU.")
    ] = None,
    compile: Annotated[bool, typer.Option("--compile", help="Run through torch.compile.")] = False,
    classes_are_folders: ClassesAreFolders = False,
    debug: Debug = False,
) -> None:
    """Train a network on pictures and write the best weights to a checkpoint."""
    from alexnet_tk.training import train as train_network
    from alexnet_tk.training.parallel.launch import run_in_processes
    from alexnet_tk.training.parallel.world import is_first

    if run_in_processes(gpus, "alexnet_tk.cli.main", sys.argv[1:]):
        return
    with screen() as show:
        best = train_network(
            data,
            recipe=recipe,
            settings=settings or (),
            output=output,
            resume=resume,
            overwrite=overwrite,
            initial=init,
            device=device,
            parallel=parallel,
            compile=compile,
            classes_are_folders=classes_are_folders,
            progress=show,
        )
    if not is_first():
        return
    figures = best.training["figures"]
    typer.echo(
        f"{output}: epoch {figures['epoch']}, validation top-1 {figures['val_top1']:.1%}, "
        f"top-5 {figures['val_top5']:.1%}. Next: alexnet-tk export {output}"
    )
