"""The whole network and its gradients in numpy, from the formulas: no torch, and nothing of the package.

Arrays are float64, maps (N, C, H, W). Each function returns its output and a function from the output's
gradient to its inputs' gradients.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Back = Callable[[Array], Any]


def windows(x: Array, kernel: int, stride: int) -> Iterator[tuple[int, int, slice, slice]]:
    """Row and column of each output pixel, and the input's rows and columns that it reads."""
    height, width = x.shape[2:]
    for row in range((height - kernel) // stride + 1):
        for column in range((width - kernel) // stride + 1):
            top, left = row * stride, column * stride
            yield row, column, slice(top, top + kernel), slice(left, left + kernel)


def padded(x: Array, before: int, after: int) -> tuple[Array, Back]:
    """Zeros on the left and above, on the right and below."""
    height, width = x.shape[2:]
    rows, columns = slice(before, before + height), slice(before, before + width)
    return np.pad(x, ((0, 0), (0, 0), (before, after), (before, after))), lambda g: g[:, :, rows, columns]


def convolution(x: Array, w: Array, b: Array, stride: int, towers: int) -> tuple[Array, Back]:
    """y = Σ w x + b, each tower from its own maps; the gradients are those of x, w and b."""
    places = list(windows(x, w.shape[2], stride))
    height, width = places[-1][0] + 1, places[-1][1] + 1
    inputs, outputs = np.split(np.arange(x.shape[1]), towers), np.split(np.arange(len(w)), towers)
    y = np.empty((len(x), len(w), height, width))
    for reads, writes in zip(inputs, outputs, strict=True):
        for row, column, rows, columns in places:
            y[:, writes, row, column] = np.einsum("ncij,mcij->nm", x[:, reads, rows, columns], w[writes])

    def back(g: Array) -> tuple[Array, Array, Array]:
        dx, dw = np.zeros_like(x), np.zeros_like(w)
        for reads, writes in zip(inputs, outputs, strict=True):
            for row, column, rows, columns in places:
                at = g[:, writes, row, column]
                dx[:, reads, rows, columns] += np.einsum("nm,mcij->ncij", at, w[writes])
                dw[writes] += np.einsum("nm,ncij->mcij", at, x[:, reads, rows, columns])
        return dx, dw, g.sum(axis=(0, 2, 3))

    return y + b[:, None, None], back


def max_pooling(x: Array, kernel: int, stride: int) -> tuple[Array, Back]:
    """The largest of each window, which gets the gradient."""
    places = list(windows(x, kernel, stride))
    y = np.empty((*x.shape[:2], places[-1][0] + 1, places[-1][1] + 1))
    for row, column, rows, columns in places:
        y[:, :, row, column] = x[:, :, rows, columns].max(axis=(2, 3))

    def back(g: Array) -> Array:
        dx = np.zeros_like(x)
        for row, column, rows, columns in places:
            largest = x[:, :, rows, columns] == y[:, :, row, column][:, :, None, None]
            dx[:, :, rows, columns] += largest * g[:, :, row, column][:, :, None, None]
        return dx

    return y, back


def relu(x: Array) -> tuple[Array, Back]:
    """max(0, x)."""
    return np.maximum(x, 0), lambda g: g * (x > 0)


def divisive(x: Array, neighbours: Array, alpha: float, beta: float, k: float) -> tuple[Array, Back]:
    """b = a / (k + α Σ a²)^β for a (…, M); `neighbours` (M, M) has 1 where one value is in another's sum."""
    d = k + alpha * np.square(x) @ neighbours

    def back(g: Array) -> Array:
        return g * d**-beta - 2 * alpha * beta * x * ((g * x * d ** (-beta - 1)) @ neighbours.T)

    return x * d**-beta, back


def across_maps(x: Array, size: int, alpha: float, beta: float, k: float, towers: int) -> tuple[Array, Back]:
    """Local response normalisation, within each tower."""
    index = np.arange(x.shape[1])
    near = np.abs(index[:, None] - index) <= size // 2
    width = x.shape[1] // towers
    near &= index[:, None] // width == index // width
    y, back = divisive(np.moveaxis(x, 1, -1), near.astype(float), alpha, beta, k)
    return np.moveaxis(y, -1, 1), lambda g: np.moveaxis(back(np.moveaxis(g, 1, -1)), -1, 1)


def within_maps(x: Array, size: int, alpha: float, beta: float, k: float) -> tuple[Array, Back]:
    """The same over the pixels around a pixel."""
    rows, columns = np.indices(x.shape[2:]).reshape(2, -1)
    near = np.abs(rows[:, None] - rows) <= size // 2
    near &= np.abs(columns[:, None] - columns) <= size // 2
    y, back = divisive(x.reshape(*x.shape[:2], -1), near.astype(float), alpha, beta, k)
    return y.reshape(x.shape), lambda g: back(g.reshape(*x.shape[:2], -1)).reshape(x.shape)


def masked(x: Array, mask: Array) -> tuple[Array, Back]:
    """Dropout."""
    return x * mask, lambda g: g * mask


def linear(x: Array, w: Array, b: Array) -> tuple[Array, Back]:
    """y = W x + b."""
    return x @ w.T + b, lambda g: (g @ w, g.T @ x, g.sum(axis=0))


def cross_entropy(logits: Array, targets: NDArray[np.int64]) -> tuple[float, Array]:
    """The mean of -log softmax of the right classes, and its gradient."""
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    rows = np.arange(len(targets))
    loss = -np.log(p[rows, targets]).mean()
    p[rows, targets] -= 1
    return float(loss), p / len(targets)
