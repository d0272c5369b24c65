"""`alexnet-tk pack`."""

from pathlib import Path
from typing import Annotated

import typer

from alexnet_tk.errors import UsageError
from alexnet_tk.text import counted, printable

from .options import ClassesAreFolders, Debug
from .screen import screen


def pack(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE... PACKED",
            help="Class folders, or a .zip, .tar or .tar.gz of them, or ImageNet's two archives; "
            "then the folder to write.",
        ),
    ],
    devkit: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="ImageNet's development kit, or a list of validation pictures and ids."
        ),
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=95,
            metavar="N",
            help="Keep JPEGs, which are smaller and decoded in training. \\[default: arrays]",
        ),
    ] = None,
    classes_are_folders: ClassesAreFolders = False,
    debug: Debug = False,
) -> None:
    """Decode pictures once, for training at the disk's speed; after a kill it continues."""
    if len(paths) < 2:
        raise UsageError("name the pictures and the folder to write: alexnet-tk pack SOURCE PACKED")
    *sources, packed = paths
    with screen() as show:
        from alexnet_tk.training import pack as pack_pictures

        summary = pack_pictures(
            sources, packed, show, classes_are_folders=classes_are_folders, devkit=devkit, quality=quality
        )
    for index, label in enumerate(summary.labels):
        counts = ", ".join(f"{per_label[index]:,} {split}" for split, per_label in summary.counts.items())
        typer.echo(f"{printable(label)}: {counts}")
    failed = f"{len(summary.failed):,} failed"
    if summary.failed:
        failed += f", listed in {summary.failed_file}"
    typer.echo(
        f"{packed}: {counted(summary.total, 'picture')}, {summary.num_bytes / 1e9:.2f} GB; {failed}. "
        f"Next: alexnet-tk train {packed}"
    )
    if summary.failed:
        raise typer.Exit(3)
