"""`alexnet-tk doctor`."""

import typer

from .options import Debug


def doctor(debug: Debug = False) -> None:
    """Show what this machine can run, and what is missing."""
    from alexnet_tk.doctor import examine

    for name, finding in examine().items():
        typer.echo(f"{name:<16} {finding}")
