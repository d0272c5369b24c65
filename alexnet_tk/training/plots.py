"""Plots of a run: its curves, its confusion matrix, the kernels of c1 (figure 3 of the paper)."""

import os
import warnings
from collections.abc import Sequence
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib import font_manager
from matplotlib.figure import Figure
from numpy.typing import NDArray

from alexnet_tk.files import replacing
from alexnet_tk.text import printable, shortened

LONGEST_LABEL = 50  # characters; a plot has no room for more
MAX_TICK_LABELS = 40  # beside a confusion matrix; more would not be legible


def draw_curves(history: list[dict[str, float]], path: Path) -> None:
    """Loss and accuracy of every epoch, as PNG."""
    epochs = [line["epoch"] for line in history]
    figure = Figure(figsize=(10, 4), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    loss.plot(epochs, [line["loss"] for line in history], ".-", label="training")
    loss.plot(epochs, [line["val_loss"] for line in history], ".-", label="validation")
    loss.set(title="loss", xlabel="epoch", ylim=(0, None))
    accuracy.plot(epochs, [100 * line["val_top1"] for line in history], ".-", label="top-1")
    accuracy.plot(epochs, [100 * line["val_top5"] for line in history], ".-", label="top-5")
    accuracy.set(title="validation accuracy, %", xlabel="epoch", ylim=(0, 101))
    for axes in (loss, accuracy):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    _save(figure, path)


def draw_confusion(
    counts: NDArray[np.int64], labels: list[str], path: Path, title: str = "validation, best epoch"
) -> str:
    """A confusion matrix, true class by row and predicted by column, in per cent of the class, as PNG.

    Returns a note on what can't be read in it, or "".
    """
    named = len(labels) <= MAX_TICK_LABELS
    labels, title = [_short(printable(label)) for label in labels], printable(title)
    families, missing = _fonts_for("".join([title, *labels] if named else title))
    with mpl.rc_context({"font.family": [*mpl.rcParams["font.family"], *families]}):
        _draw_confusion(counts, labels if named else [], path, title)
    if not missing:
        return ""
    return (
        f"no font here has {shortened(missing, 10)}, so boxes stand for them; install one, such as "
        "fonts-noto-cjk for Chinese, Japanese and Korean"
    )


def _short(label: str) -> str:
    return label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…"


def _draw_confusion(counts: NDArray[np.int64], labels: list[str], path: Path, title: str) -> None:
    """Draw it with the fonts that are set; without labels where there are too many."""
    shares = 100 * counts / counts.sum(axis=1, keepdims=True).clip(1)
    side = 3 + 0.45 * len(labels) if labels else 9
    names = 0.08 * max(map(len, labels), default=0)  # inches
    figure = Figure(figsize=(side + names + 1, side + names), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_title(title, parse_math=False)
    figure.colorbar(image, label="% of the true class", shrink=0.8)
    if labels:
        axes.set_xticks(range(len(labels)), labels, rotation=90, parse_math=False)  # a name may hold a $
        axes.set_yticks(range(len(labels)), labels, parse_math=False)
        for row, column in np.argwhere(counts > 0):
            color = "white" if shares[row, column] > 50 else "black"
            axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", color=color, size=8)
    _save(figure, path, bbox_inches="tight")  # long labels make it larger than its figure


def draw_reliability(
    titles: Sequence[str], bins: Sequence[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]], path: Path
) -> None:
    """How sure answers are against how often they are right, a diagram beside the other, as PNG.

    For each diagram `bins` has the answers in each bin of their probability, the means of that probability,
    and the parts that are right.
    """
    figure = Figure(figsize=(5 * len(titles), 5), layout="constrained")
    for axes, title, (counts, confidence, accuracy) in zip(
        figure.subplots(1, len(titles), squeeze=False)[0], titles, bins, strict=True
    ):
        used = counts > 0
        axes.plot([0, 1], [0, 1], "k:", label="as sure as right")
        axes.vlines(confidence[used], confidence[used], accuracy[used], color="C3", label="the difference")
        axes.plot(confidence[used], accuracy[used], "C0o", label=f"a bin, {counts[used].mean():,.0f} answers")
        axes.set(
            xlabel="mean probability of the first answer",
            ylabel="part that is right",
            xlim=(0, 1),
            ylim=(0, 1),
        )
        axes.set_title(title)
        axes.legend(loc="upper left")
    _save(figure, path)


def draw_filters(kernels: NDArray[np.float32], towers: int, path: Path) -> None:
    """The kernels of c1, float (M, 3, K, K) in RGB: the first tower's above the second's, as PNG.

    Each is stretched to the whole range of brightness, as in the paper's figure 3.
    """
    low, high = (edge(kernels, axis=(1, 2, 3), keepdims=True) for edge in (np.min, np.max))
    pictures = ((kernels - low) / np.maximum(high - low, 1e-12)).transpose(0, 2, 3, 1)  # (M, K, K, 3)
    count, size = len(pictures) // towers, pictures.shape[1]
    columns = min(count, 16)
    rows = ceil(count / columns)
    gap, between = 1, 3
    tower_height = rows * (size + gap) + gap
    sheet = np.ones((towers * tower_height + (towers - 1) * between, columns * (size + gap) + gap, 3))
    for index, picture in enumerate(pictures):
        tower, place = divmod(index, count)
        top = tower * (tower_height + between) + gap + place // columns * (size + gap)
        left = gap + place % columns * (size + gap)
        sheet[top : top + size, left : left + size] = picture
    figure = Figure(figsize=(10, 10 * sheet.shape[0] / sheet.shape[1]))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(sheet, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    _save(figure, path)


def _fonts_for(text: str) -> tuple[list[str], list[str]]:
    """Families of installed fonts that have what matplotlib's own lacks, and the characters none has."""
    font = font_manager.findfont(font_manager.FontProperties())
    missing = {character for character in text if not character.isspace()} - _characters(font)
    families: list[str] = []
    for path in sorted(font_manager.findSystemFonts()) if missing else []:
        if len(here := missing & _characters(path)) > 0:
            font_manager.fontManager.addfont(path)
            families.append(font_manager.get_font(path).family_name)
            missing -= here
        if not missing:
            break
    return families, sorted(missing)


@cache
def _characters(font: str | os.PathLike[str]) -> frozenset[str]:
    """The characters that a font file has; none where it can't be read."""
    try:
        return frozenset(map(chr, font_manager.get_font(font).get_charmap()))
    except (OSError, RuntimeError, ValueError):
        return frozenset()


def _save(figure: Figure, path: Path, bbox_inches: Literal["tight"] | None = None) -> None:
    with replacing(path) as part, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # of names: boxes stand for them
        figure.savefig(part, format="png", dpi=110, bbox_inches=bbox_inches)
