"""`alexnet-tk samples`."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Debug


def samples(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder to write to; created if missing.")
    ],
    debug: Debug = False,
) -> None:
    """Write the 1,000 built-in validation pictures (Fashion-MNIST) as PNGs in class folders."""
    from alexnet_tk.sample import LABELS, write_pictures

    count = write_pictures(folder)
    typer.echo(f"{folder}: {count:,} pictures in {len(LABELS)} class folders")
