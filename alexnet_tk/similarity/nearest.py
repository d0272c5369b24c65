"""Exact distances of vectors, and an exact search for the nearest, at the speed of a matrix product.

Products in float32 bound each distance from both sides. What may be near enough by its lower bound, and that
is little more than what is wanted, is computed again in float64.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from alexnet_tk.choices import Metric
from alexnet_tk.similarity.vectors import Rows, Values, Vectors

QUERIES = 512  # in a product
PAIRS = 256  # of vectors, in float64 at a time
ROUNDOFF = 2.0**-24  # of float32

Distances = NDArray[np.float64]
Found = tuple[Rows, Distances, Rows]  # for each that was found: the query, the distance, the row


def scaled_by(values: Values, metric: Metric) -> Values:
    """What `bounds` takes beside vectors (N, units): their squares, float32 (N,).

    For "cosine", 1 / length; 0 for a vector of zeros.
    """
    squares: Values = np.einsum("ij,ij->i", values, values)
    if metric == "euclidean":
        return squares
    lengths = np.sqrt(squares)
    scales: Values = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return scales


def bounds(a: Values, b: Values, a_scale: Values, b_scale: Values, metric: Metric) -> tuple[Values, Values]:
    """Lower and upper bounds (A, B) of the distances of vectors (A, units) and (B, units).

    For "euclidean" they are those of squares. A sum of n products is off by at most n roundoffs of the
    product of the lengths (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).
    """
    error = np.float32((2 * a.shape[1] + 16) * ROUNDOFF)
    products = a @ b.T  # (A, B)
    if metric == "cosine":
        products *= a_scale[:, None]
        products *= -b_scale
        products += 1
        return products - error, products + error
    lengths = a_scale[:, None] + b_scale
    products *= -2
    products += lengths
    lengths *= error
    return products - lengths, products + lengths


def distances(a: Values, b: Values, metric: Metric) -> Distances:
    """The distance in float64 of each of vectors (N, units) from the other's; for "euclidean", its square.

    A vector of zeros has no direction: its cosine distance from any other is 1.
    """
    result = np.empty(len(a))
    for i in range(0, len(a), PAIRS):
        one, other = a[i : i + PAIRS].astype(np.float64), b[i : i + PAIRS].astype(np.float64)
        if metric == "euclidean":
            result[i : i + PAIRS] = ((one - other) ** 2).sum(axis=1)
            continue
        lengths = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
        cosines = np.divide((one * other).sum(axis=1), lengths, out=np.zeros(len(one)), where=lengths > 0)
        result[i : i + PAIRS] = np.maximum(1 - cosines, 0)
    return result


def nearest(
    queries: Values, vectors: Vectors, topk: int, metric: Metric, then: Callable[[int], None]
) -> list[list[tuple[float, int]]]:
    """For each of queries (Q, units), distance and row of the `topk` nearest vectors, the nearest first.

    Of equal distances the lowest row comes first. The file is read once; `then` takes the number of rows
    after each block.
    """
    best: Found = (np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64))
    limit = np.full(len(queries), np.inf)  # no vector that is farther is among the nearest
    scale = scaled_by(queries, metric)

    def search(rows: Rows, values: Values) -> tuple[int, list[Found]]:
        found, scales = [], scaled_by(values, metric)
        for i in range(0, len(queries) if len(rows) else 0, QUERIES):
            some = queries[i : i + QUERIES]
            low, high = bounds(some, values, scale[i : i + QUERIES], scales, metric)
            last = min(topk, len(rows)) - 1
            high.partition(last, axis=1)
            farthest = np.minimum(high[:, last], limit[i : i + QUERIES])
            near, place = (low <= farthest[:, None]).nonzero()
            found.append((near + i, pair_distances(some, values, near, place, metric), rows[place]))
        return len(rows), found

    for count, found in vectors.map(search):
        best = _topk([best, *found], topk)
        numbers, ends = np.unique(best[0], return_counts=True)
        last = ends.cumsum() - 1
        full = ends == topk
        limit[numbers[full]] = best[1][last[full]]
        then(count)
    values = np.sqrt(best[1]) if metric == "euclidean" else best[1]
    places = np.searchsorted(best[0], np.arange(len(queries) + 1))
    pairs = list(zip(values.tolist(), best[2].tolist(), strict=True))
    return [pairs[begin:end] for begin, end in pairwise(places)]


def pair_distances(a: Values, b: Values, i: Rows, j: Rows, metric: Metric) -> Distances:
    """`distances` of the vectors a[i] and b[j], (N,), of which few are copied at a time."""
    parts = [distances(a[i[k : k + PAIRS]], b[j[k : k + PAIRS]], metric) for k in range(0, len(i), PAIRS)]
    return np.concatenate(parts) if parts else np.empty(0)


def _topk(found: list[Found], topk: int) -> Found:
    """The best of each query, by query, distance and row."""
    query, distance, row = (np.concatenate(each) for each in zip(*found, strict=True))
    order = np.lexsort((row, distance, query))
    query, distance, row = query[order], distance[order], row[order]
    keep = np.arange(len(query)) - np.searchsorted(query, query) < topk
    return query[keep], distance[keep], row[keep]
