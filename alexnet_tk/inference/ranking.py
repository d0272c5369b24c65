"""The most probable classes of each picture, in order."""

import numpy as np
from numpy.typing import NDArray


def most_probable(rows: NDArray[np.float32], topk: int) -> NDArray[np.int64]:
    """The classes of each picture, the most probable first; of equal ones, that with the lower index.

    They are `np.argsort(-rows, kind="stable")[:, :topk]`, without a sort of all classes.

    Parameters
    ----------
    rows
        probabilities (N, classes), no NaN among them
    topk
        how many, at most as many as there are classes

    Returns
    -------
    indices (N, min(topk, classes))

    """
    classes = rows.shape[1]
    if topk >= classes:
        return np.asarray(np.argsort(-rows, axis=1, kind="stable"))
    if topk == 1:
        return np.asarray(rows.argmax(axis=1, keepdims=True))  # the first of equal ones
    best = np.argpartition(rows, classes - topk, axis=1)[:, -topk:]  # (N, topk), in any order
    best.sort(axis=1)
    values = np.take_along_axis(rows, best, axis=1)
    best = np.take_along_axis(best, np.argsort(-values, axis=1, kind="stable"), axis=1)
    # Where further classes equal the last of the best, the partition took any of them.
    tied = np.count_nonzero(rows >= values.min(axis=1, keepdims=True), axis=1) > topk
    best[tied] = np.argsort(-rows[tied], axis=1, kind="stable")[:, :topk]
    return np.asarray(best)
