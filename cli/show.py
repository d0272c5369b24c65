"""`alexnet-tk show`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alexnet_tk.text import printable

from .options import Debug, Overwrite

if TYPE_CHECKING:
    from alexnet_tk.description import Description

MAX_LABELS = 12  # that are printed


def show(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A checkpoint or an ONNX file.")],
    filters: Annotated[
        Path | None, typer.Option(metavar="F.png", help="Draw c1's kernels, one tower above the other.")
    ] = None,
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Show what a model file holds: network, recipe, labels, preprocessing, verification, parameters."""
    from alexnet_tk.description import describe, draw_first_kernels

    for line in _lines(model, describe(model)):
        typer.echo(printable(line))
    if filters is not None:
        draw_first_kernels(model, filters, overwrite=overwrite)
        typer.echo(f"{filters}: c1's kernels", err=True)


def _lines(path: Path, description: "Description") -> Iterator[str]:
    yield f"{path}: {description.kind}, {description.size / 1e6:.1f} MB"
    yield f"sha256 = {description.sha256}"
    for key, value in _dotted(description.facts):
        yield f"{key} = {json.dumps(value, ensure_ascii=False)}"
    labels = description.labels
    more = f", … ({len(labels):,} in all)" if len(labels) > MAX_LABELS else ""
    yield f"labels = {', '.join(labels[:MAX_LABELS])}{more}"
    yield ""
    yield f"{'layer':<7}{'weight':<22}{'parameters':>12}"
    for name, layer in description.layers.items():
        yield f"{name:<7}{layer.weight_shape!s:<22}{layer.parameters:>12,}"
    yield f"{'all':<29}{sum(layer.parameters for layer in description.layers.values()):>12,}"


def _dotted(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested tables by dotted keys, as `--set` takes them."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
