"""Near-equal vectors against plain pairs."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from alexnet_tk.progress import SILENCE
from alexnet_tk.similarity import groups as module
from alexnet_tk.similarity import vectors as vectors_module
from alexnet_tk.similarity.groups import groups_of, seconds_for
from alexnet_tk.similarity.vectors import open_vectors
from tests.similarity.conftest import Write


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that there are many blocks, chunks, products and passes."""
    monkeypatch.setattr(vectors_module, "MOST_ROWS", 16)
    monkeypatch.setattr(module, "KEPT", 16 * 5 * 8 * 4)
    monkeypatch.setattr(module, "SIDE", 12)
    monkeypatch.setattr(module, "GROUPS", 7)


def plain(values: NDArray[np.float32], distance: float) -> tuple[list[list[int]], NDArray[np.float64]]:
    """The groups by walking from each row to those near it, and all distances."""
    x = values.astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    far = 1 - x @ x.T
    left, groups = set(range(len(x))), []
    while left:
        group, to_do = set[int](), {min(left)}
        while to_do:
            group |= to_do
            to_do = {int(row) for each in to_do for row in (far[each] <= distance).nonzero()[0]} - group
        left -= group
        if len(group) > 1:
            groups.append(sorted(group))
    return groups, far


def near_equal(seed: int) -> NDArray[np.float32]:
    """Chains and copies among others, in any order."""
    random = np.random.default_rng(seed)
    own = np.abs(random.normal(0, 1, (150, 8)))
    steps = [own[:40] + k * random.normal(0, 0.15, (40, 8)) for k in (1, 2)]
    values = np.concatenate([own, *steps, own[:30], own[100:110]]).astype(np.float32)
    return values[random.permutation(len(values))]


@pytest.mark.parametrize("distance", [0, 0.003, 0.02, 0.3])
@pytest.mark.parametrize("ending", ["npy", "parquet"])
def test_groups_and_distances(ending: str, distance: float, write_features: Write, tmp_path: Path) -> None:
    values = near_equal(seed=0)
    vectors = open_vectors(write_features(tmp_path / f"f.{ending}", values))
    expected, far = plain(values, max(distance, 1e-12))
    assert len(expected) > (7 if distance < 0.3 else 0), "more than a pass"
    found = groups_of(vectors, distance, SILENCE)
    assert [[row for row, _ in group] for group in found] == expected
    for group in found:
        assert group[0][1] == 0
        np.testing.assert_allclose([d for _, d in group], far[group[0][0], [r for r, _ in group]], atol=1e-12)


def test_the_distance_itself_is_near_enough(write_features: Write, tmp_path: Path) -> None:
    """What float32 can't tell is decided in float64."""
    angles = np.arccos(1 - np.array([0, 0.05 - 1e-7, 0, 0.05 + 1e-7]))
    values = np.zeros((4, 4), np.float32)
    for row, angle in enumerate(angles):
        values[row, row // 2 * 2 : row // 2 * 2 + 2] = np.cos(angle), np.sin(angle)
    found = groups_of(open_vectors(write_features(tmp_path / "f.npy", values)), 0.05, SILENCE)
    assert [[row for row, _ in group] for group in found] == [[0, 1]]


def test_all_equal(write_features: Write, tmp_path: Path) -> None:
    values = np.ones((100, 8), np.float32)
    (group,) = groups_of(open_vectors(write_features(tmp_path / "f.npy", values)), 0.05, SILENCE)
    assert group == [(row, 0.0) for row in range(100)]


def test_none_at_all(write_features: Write, tmp_path: Path) -> None:
    vectors = open_vectors(write_features(tmp_path / "f.parquet", np.eye(8, dtype=np.float32), failed=(0, 7)))
    assert groups_of(vectors, 0.05, SILENCE) == []
    vectors = open_vectors(write_features(tmp_path / "g.npy", np.eye(1, 8, dtype=np.float32), failed=(0,)))
    assert groups_of(vectors, 0.05, SILENCE) == []
    assert seconds_for(vectors) == 0


def test_the_time_grows_with_the_square(write_features: Write, tmp_path: Path) -> None:
    small = open_vectors(write_features(tmp_path / "f.npy", near_equal(seed=1)))
    before = seconds_for(small)
    small.rows *= 1000
    assert seconds_for(small) > 1000 * before > 0
