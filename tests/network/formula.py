"""Section 3.3 of the paper written out in loops, and its derivative."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def normalised(
    a: NDArray[Any], n: int, alpha: float, beta: float, k: float, towers: int
) -> NDArray[np.float64]:
    """b_i = a_i / (k + α Σ a_j²)^β, j in i's tower, for (N, C, H, W)."""
    pictures, maps, height, width = a.shape
    b = np.empty(a.shape, np.float64)
    for i in range(maps):
        low, high = window(i, n, maps // towers)
        for picture in range(pictures):
            for y in range(height):
                for x in range(width):
                    squares = sum(float(a[picture, j, y, x]) ** 2 for j in range(low, high + 1))
                    b[picture, i, y, x] = a[picture, i, y, x] / (k + alpha * squares) ** beta
    return b


def gradient(
    a: NDArray[Any], g: NDArray[Any], n: int, alpha: float, beta: float, k: float, towers: int
) -> NDArray[np.float64]:
    """Σ_i g_i ∂b_i/∂a_j: the derivative of each output for each input of a pixel, one by one."""
    a, g = a.astype(np.float64), g.astype(np.float64)
    result = np.zeros(a.shape, np.float64)
    maps = a.shape[1]
    for i in range(maps):
        low, high = window(i, n, maps // towers)
        d = k + alpha * (a[:, low : high + 1] ** 2).sum(1)
        for j in range(low, high + 1):
            slope = -beta * a[:, i] * d ** (-beta - 1) * 2 * alpha * a[:, j]
            if i == j:
                slope = slope + d**-beta
            result[:, j] += g[:, i] * slope
    return result


def window(i: int, n: int, width: int) -> tuple[int, int]:
    """The first and the last of the n maps around map i that are in its tower of that width."""
    first = i // width * width
    return max(first, i - n // 2), min(first + width - 1, i + n // 2)
