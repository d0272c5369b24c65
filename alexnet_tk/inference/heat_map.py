"""A picture with what its answer rests on laid over it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TINY = 1e-30  # what a map of zeros is divided by
STRENGTH = 0.7  # of the colour where the map is largest; the picture shows through


@dataclass(frozen=True)
class Places:
    """Where in the network's input the cells of a map are, along a side."""

    first: float  # the centre of the first cell, pixels
    step: float  # from a centre to the next, pixels


def overlay(picture: NDArray[np.uint8], cells: NDArray[np.float32], places: Places) -> NDArray[np.uint8]:
    """The picture in grey with the map over it, from transparent by red to yellow: uint8 (S, S, 3).

    Parameters
    ----------
    picture
        uint8 (S, S, 3), as the network saw it
    cells
        float32 (n, n), not negative; only its proportions count, and one of zeros leaves the picture grey
    places
        of the cells; between them the map is interpolated, and outside of them it goes on as it is there

    """
    weights = _interpolation(len(picture), len(cells), places)
    heat = weights @ cells @ weights.T  # (S, S)
    heat /= max(float(heat.max()), TINY)
    grey = picture @ np.array([0.299, 0.587, 0.114], np.float32)  # (S, S), ITU-R BT.601's weights
    # Red comes first, then green joins it and makes yellow.
    colour = np.stack([np.ones_like(heat), np.clip(2 * heat - 1, 0, 1), np.zeros_like(heat)], axis=2) * 255
    cover = (STRENGTH * heat)[..., None]
    mixed = (1 - cover) * grey[..., None] + cover * colour
    return np.asarray(mixed.round().astype(np.uint8))


def _interpolation(size: int, cells: int, places: Places) -> NDArray[np.float32]:
    """How much each cell counts at each pixel of a side, float32 (size, cells)."""
    at = np.clip((np.arange(size) - places.first) / places.step, 0, cells - 1)  # in cells
    distance = np.abs(at[:, None] - np.arange(cells))
    weights: NDArray[np.float32] = np.maximum(0, 1 - distance).astype(np.float32)
    return weights
