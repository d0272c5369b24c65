"""Groups of near-equal vectors: every pair is compared, block by block."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alexnet_tk.progress import Progress
from alexnet_tk.similarity.nearest import bounds, pair_distances, scaled_by
from alexnet_tk.similarity.vectors import Rows, Values, Vectors

KEPT = 2**27  # bytes of vectors that the file is read once for
SIDE = 1024  # vectors in a product
GROUPS = 4096  # whose first vectors are in memory at a time


@dataclass(frozen=True)
class Chunk:
    """Vectors that are compared with all that follow them."""

    block: int  # of the file, the first
    rows: Rows
    values: Values
    scales: Values


def groups_of(vectors: Vectors, distance: float, progress: Progress) -> list[list[tuple[int, float]]]:
    """The groups of two or more vectors, as rows and cosine distances from the group's first.

    Two vectors are in a group if their distance is at most `distance`, or if others lead from one to the
    other in such steps. Groups stand in the order of their first rows.
    """
    parents = np.arange(vectors.rows)
    progress.begin("comparing", vectors.rows)
    for chunk in _chunks(vectors):
        for rows, values in vectors.blocks(chunk.block):
            scales = scaled_by(values, "cosine")
            for i in range(0, len(chunk.rows), SIDE):
                if not len(rows) or rows[-1] < chunk.rows[i]:  # compared the other way round
                    continue
                part = slice(i, i + SIDE)
                near, other = _near(chunk.values[part], values, chunk.scales[part], scales, distance)
                _unite(parents, chunk.rows[part][near], rows[other])
        progress.advance(len(chunk.rows))
    for row in range(vectors.rows):  # a parent's row is lower, so it has its root already
        parents[row] = parents[parents[row]]
    roots, sizes = np.unique(parents, return_counts=True)
    firsts = roots[sizes > 1]
    groups: list[list[tuple[int, float]]] = []
    for i in range(0, len(firsts), GROUPS):
        groups += _measured(vectors, parents, firsts[i : i + GROUPS])
    return groups


def seconds_for(vectors: Vectors) -> float:
    """About how long `groups_of` would take, by the time of two of its products."""
    values = next((values for _, values in vectors.blocks() if len(values)), np.zeros((1, 1), np.float32))[
        :SIDE
    ]
    scales = scaled_by(values, "cosine")
    for _ in range(2):  # the first one warms up
        begun = time.perf_counter()
        _near(values, values, scales, scales, -1.0)
    pairs = vectors.rows * (vectors.rows + 1) / 2
    return (time.perf_counter() - begun) * pairs / len(values) ** 2


def _chunks(vectors: Vectors) -> Iterator[Chunk]:
    """All vectors, in chunks of whole blocks that have `KEPT` bytes or a block more."""
    kept, first, size = list[tuple[Rows, Values]](), 0, 0
    for number in range(len(vectors.starts)):
        kept.append(block := vectors.block(number))
        size += block[1].nbytes
        if size >= KEPT or number + 1 == len(vectors.starts):
            rows, values = (np.concatenate(each) for each in zip(*kept, strict=True))
            yield Chunk(first, rows, values, scaled_by(values, "cosine"))
            kept, first, size = [], number + 1, 0


def _near(
    a: Values, b: Values, a_scale: Values, b_scale: Values, distance: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The pairs of vectors (A, units) and (B, units) within a cosine distance, as places in both."""
    low, high = bounds(a, b, a_scale, b_scale, "cosine")
    i, j = (low <= distance).nonzero()
    near = high[i, j] <= distance
    (unsure,) = (~near).nonzero()
    near[unsure] = pair_distances(a, b, i[unsure], j[unsure], "cosine") <= distance
    return i[near], j[near]


def _unite(parents: Rows, a: Rows, b: Rows) -> None:
    """Make one group of each pair's; the parent of a row is the lowest known of its group, or itself."""
    apart = parents[a] != parents[b]  # of the others, most are of one group for long
    if not apart.any():
        return
    for one, other in np.unique(np.stack([parents[a[apart]], parents[b[apart]]]), axis=1).T.tolist():
        low, high = sorted((_root(parents, one), _root(parents, other)))
        parents[high] = low


def _root(parents: Rows, row: int) -> int:
    root = row
    while parents[root] != root:
        root = int(parents[root])
    while parents[row] != root:
        parents[row], row = root, int(parents[row])
    return root


def _measured(vectors: Vectors, parents: Rows, firsts: Rows) -> list[list[tuple[int, float]]]:
    """The members of the groups with these first rows, which stand in the file before the others."""
    groups: list[list[tuple[int, float]]] = [[] for _ in firsts]
    kept = np.empty((len(firsts), vectors.units), np.float32)
    for rows, values in vectors.blocks():
        places = np.minimum(np.searchsorted(firsts, parents[rows]), len(firsts) - 1)
        (members,) = (firsts[places] == parents[rows]).nonzero()
        places = places[members]
        is_first = rows[members] == firsts[places]
        kept[places[is_first]] = values[members[is_first]]
        measured = pair_distances(values, kept, members, places, "cosine")
        measured[is_first] = 0  # also where rounding says otherwise
        for place, row, distance in zip(places, rows[members].tolist(), measured.tolist(), strict=True):
            groups[place].append((row, distance))
    return groups
