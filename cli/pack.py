"""`alexnet-tk pack`."""

from pathlib import Path
from typing import Annotated

import typer

from alexnet_tk.errors import printable

from .options import Debug
from .screen import screen


def pack(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Class folders.")],
    packed: Annotated[Path, typer.Argument(metavar="PACKED", help="The folder to write.")],
    debug: Debug = False,
) -> None:
    """Decode pictures once, for training at the disk's speed; a run that was killed goes on."""
    with screen() as show:
        from alexnet_tk.training import pack as pack_pictures

        account = pack_pictures(folder, packed, show)
    for index, label in enumerate(account.labels):
        counts = ", ".join(f"{each[index]:,} {split}" for split, each in account.packed.items())
        typer.echo(f"{printable(label)}: {counts}")
    total = sum(sum(each) for each in account.packed.values())
    typer.echo(
        f"{packed}: {total:,} pictures, {account.bytes / 1e9:.2f} GB; {len(account.failed):,} failed"
        f"{f', listed in {packed}/failed.txt' if account.failed else ''}. Next: alexnet-tk train {packed}"
    )
    if account.failed:
        raise typer.Exit(3)
