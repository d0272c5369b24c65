"""`alexnet-tk pack`."""

from pathlib import Path
from typing import Annotated

import typer

from alexnet_tk.text import counted, printable

from .options import ClassesAreFolders, Debug
from .screen import screen


def pack(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Class folders.")],
    packed: Annotated[Path, typer.Argument(metavar="PACKED", help="The folder to write.")],
    classes_are_folders: ClassesAreFolders = False,
    debug: Debug = False,
) -> None:
    """Decode pictures once, for training at the disk's speed; after a kill it continues."""
    with screen() as show:
        from alexnet_tk.training import pack as pack_pictures

        summary = pack_pictures(folder, packed, show, classes_are_folders=classes_are_folders)
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
