"""`alexnet-tk show`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from alexnet_tk.errors import printable

from .options import Debug, Overwrite

MOST_LABELS = 12  # on the line of them


def show(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A checkpoint or an ONNX file.")],
    filters: Annotated[
        Path | None, typer.Option(metavar="F.png", help="Draw c1's kernels, tower above tower.")
    ] = None,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Tell what a model's file holds: network, recipe, labels, preprocessing, verification, parameters."""
    from alexnet_tk.description import describe, draw_first_kernels

    found = describe(model)
    lines = [
        f"{model}: {found.kind}, {found.size / 1e6:.1f} MB",
        f"sha256 = {found.sha256}",
        *(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in _flat(found.facts)),
        f"labels = {', '.join(found.labels[:MOST_LABELS])}"
        + (f", … ({len(found.labels):,} in all)" if len(found.labels) > MOST_LABELS else ""),
        "",
        f"{'layer':<7}{'weight':<22}{'parameters':>12}",
        *(f"{name:<7}{shape!s:<22}{count:>12,}" for name, (shape, count) in found.parameters().items()),
        f"{'all':<29}{sum(count for _, count in found.parameters().values()):>12,}",
    ]
    for line in lines:
        typer.echo(printable(line))
    if filters is not None:
        draw_first_kernels(model, filters, overwrite=overwrite)
        typer.echo(f"{filters}: c1's kernels", err=True)


def _flat(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested tables as dotted keys, as `--set` takes them."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
