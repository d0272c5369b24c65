"""The search against a plain one, and the files that it reads."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from alexnet_tk.choices import FeatureType, Metric
from alexnet_tk.errors import InputError
from alexnet_tk.prediction import parquet
from alexnet_tk.similarity import nearest as module
from alexnet_tk.similarity import vectors as vectors_module
from alexnet_tk.similarity.nearest import bounds, distances, nearest, scaled_by
from alexnet_tk.similarity.vectors import open_vectors, to_float32
from tests.similarity.conftest import Write

METRICS: tuple[Metric, ...] = ("euclidean", "cosine")


def plain(
    queries: NDArray[Any], values: NDArray[Any], metric: Metric
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Rows and distances of all vectors, the nearest first, in double precision."""
    q, x = queries.astype(np.float64), values.astype(np.float64)
    if metric == "euclidean":
        found = np.stack([np.linalg.norm(x - each, axis=1) for each in q])
    else:
        lengths = np.linalg.norm(q, axis=1)[:, None] * np.linalg.norm(x, axis=1)
        found = 1 - np.divide(q @ x.T, lengths, out=np.zeros(lengths.shape), where=lengths > 0)
    order = np.argsort(found, axis=1, kind="stable")
    return order, np.take_along_axis(found, order, axis=1)


def relu(rows: int, units: int, seed: int) -> NDArray[np.float32]:
    """As the network's: some zeros, all in one corner of the space, and some rows close to others."""
    random = np.random.default_rng(seed)
    values = random.normal(0.3, 1, (rows, units)).astype(np.float32)
    values[rows // 2 :] = values[: rows - rows // 2] + random.normal(0, 1e-4, (rows - rows // 2, units))
    return np.maximum(values, 0, out=values)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("ending", ["npy", "parquet"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_ten_thousand_vectors_against_a_plain_search(
    metric: Metric, ending: str, dtype: FeatureType, write_features: Write, tmp_path: Path
) -> None:
    values = relu(10_000, 64, seed=0).astype(dtype)
    file = write_features(tmp_path / f"f.{ending}", values, dtype=dtype)
    queries = np.concatenate([relu(7, 64, seed=1), values[[3, 5003]].astype(np.float32)])
    rows, far = plain(queries, values, metric)
    done: list[int] = []
    found = nearest(queries, open_vectors(file), 9, metric, done.append)
    assert [[row for _, row in each] for each in found] == rows[:, :9].tolist()
    np.testing.assert_allclose([[d for d, _ in each] for each in found], far[:, :9], rtol=1e-9, atol=1e-12)
    assert sum(done) == 10_000
    assert len(done) > 2


@pytest.mark.parametrize("metric", METRICS)
def test_of_equal_distances_the_first_row_wins(
    metric: Metric, write_features: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the equal ones lie in several blocks, and are more than are wanted."""
    monkeypatch.setattr(vectors_module, "MOST_ROWS", 7)
    values = relu(5, 6, seed=2)[np.arange(60) % 5]
    vectors = open_vectors(write_features(tmp_path / "f.npy", values))
    (found,) = nearest(values[3:4], vectors, 4, metric, lambda rows: None)
    assert [row for _, row in found] == [3, 8, 13, 18]
    assert [distance for distance, _ in found] == [0] * 4


def test_many_queries_are_searched_for_in_parts(
    write_features: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUERIES", 3)
    monkeypatch.setattr(module, "PAIRS", 2)
    values = relu(50, 6, seed=3)
    vectors = open_vectors(write_features(tmp_path / "f.npy", values))
    found = nearest(values[:10], vectors, 3, "euclidean", lambda rows: None)
    assert [[row for _, row in each] for each in found] == plain(values[:10], values, "euclidean")[0][
        :, :3
    ].tolist()


def test_more_than_there_are(write_features: Write, tmp_path: Path) -> None:
    values = relu(4, 6, seed=4)
    vectors = open_vectors(write_features(tmp_path / "f.npy", values))
    (found,) = nearest(values[:1], vectors, 9, "euclidean", lambda rows: None)
    assert sorted(row for _, row in found) == [0, 1, 2, 3]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("scale", [1e-3, 1, 1e4])
def test_bounds_enclose_the_distances(metric: Metric, scale: float) -> None:
    """Of 4,096 units, near and far, and of a vector of zeros."""
    values = relu(60, 4096, seed=5) * np.float32(scale)
    values[7] = 0
    scales = scaled_by(values, metric)
    low, high = bounds(values, values, scales, scales, metric)
    i, j = np.indices(low.shape).reshape(2, -1)
    exact = distances(values[i], values[j], metric).reshape(low.shape)
    assert (low <= exact).all()
    assert (exact <= high).all()
    lengths = 1 if metric == "cosine" else scales[:, None] + scales
    assert (high - low <= 2e-3 * lengths).all(), "or too many would be computed again"


def test_a_vector_of_zeros_has_no_direction() -> None:
    zero, other = np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32)
    assert distances(zero, other, "cosine").tolist() == [1]
    assert distances(zero, zero, "cosine").tolist() == [1]


def test_float16_becomes_the_same_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """All there are, and those that are not finite in one piece with others."""
    monkeypatch.setattr(vectors_module, "PIECE", 100)
    values = np.arange(2**16, dtype=np.uint16).view(np.float16).reshape(-1, 32)
    finite = values[np.isfinite(values).all(axis=1)]
    assert len(finite) == len(values) - 64
    for some in (finite, values, finite[:, :5], finite[:0]):
        found = to_float32(some)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found.view(np.int32), some.astype(np.float32).view(np.int32))


# --- files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["npy", "parquet"])
def test_failed_pictures_are_passed_over(
    ending: str, write_features: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "FEATURE_ROWS", 4)
    values = relu(10, 6, seed=6)
    names = [f"{row} \udcff.png" for row in range(10)]
    vectors = open_vectors(write_features(tmp_path / f"f.{ending}", values, names, failed=(0, 4, 5, 6, 7, 9)))
    (found,) = nearest(values[8:9], vectors, 6, "euclidean", lambda rows: None)
    rows, _ = plain(values[8:9], values[[1, 2, 3, 8]], "euclidean")
    paths = vectors.paths([row for _, row in found])
    assert [paths[row] for _, row in found] == [names[[1, 2, 3, 8][row]] for row in rows[0]]


def test_a_folder_of_parts(write_features: Write, tmp_path: Path) -> None:
    """As Ray leaves it: the parts in the order of their names, and another file beside them."""
    values, folder = relu(9, 6, seed=7), tmp_path / "f.parquet"
    folder.mkdir()
    (folder / "_run.json").write_text("{}")
    for part in (2, 0, 1):
        of_part = slice(3 * part, 3 * part + 3)
        names = [f"{row}.png" for row in range(9)][of_part]
        write_features(folder / f"part-{part:06}.parquet", values[of_part], names)
    vectors = open_vectors(folder)
    (found,) = nearest(values[7:8], vectors, 3, "cosine", lambda rows: None)
    expected = plain(values[7:8], values, "cosine")[0][0, :3].tolist()
    assert [row for _, row in found] == expected
    assert vectors.paths(expected) == {row: f"{row}.png" for row in expected}


@pytest.mark.parametrize("ending", ["npy", "parquet"])
def test_an_empty_file(ending: str, write_features: Write, tmp_path: Path) -> None:
    vectors = open_vectors(write_features(tmp_path / f"f.{ending}", relu(2, 6, seed=8), failed=(0, 1)))
    assert nearest(relu(2, 6, seed=8), vectors, 3, "euclidean", lambda rows: None) == [[], []]
    assert vectors.paths([]) == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("gone", r"--among .*f\.npy does not exist"),
        ("rubbish", r"f\.npy can't be read as features"),
        ("one number", r"an array of float32 \(\)"),
        ("whole numbers", r"an array of int64"),
        ("no lines", r"f\.npy\.jsonl is not beside it"),
        ("cut", r"f\.npy can't be read as features"),
        ("NaN", r"row 3 holds NaN, infinite"),
        ("fewer lines", r"f\.npy\.jsonl has fewer pictures than"),
        ("other lines", r"f\.npy can't be read as features"),
    ],
)
def test_arrays_that_are_no_features(
    change: str, message: str, write_features: Write, tmp_path: Path
) -> None:
    values = relu(6, 6, seed=9)
    file = write_features(tmp_path / "f.npy", values)
    lines = tmp_path / "f.npy.jsonl"
    if change == "NaN":
        values[3, 1] = np.nan
    arrays: dict[str, Any] = {
        "one number": np.float32(1),
        "whole numbers": np.ones((6, 6), np.int64),
        "NaN": values,
    }
    if change in arrays:
        np.save(file, arrays[change])
    elif change == "gone":
        file.unlink()
    elif change == "rubbish":
        file.write_bytes(b"rubbish")
    elif change == "no lines":
        lines.unlink()
    elif change == "fewer lines":
        lines.write_text("".join(lines.read_text().splitlines(keepends=True)[:2]))
    elif change == "other lines":
        lines.write_text("rubbish\n" * 6)
    with pytest.raises(InputError, match=message):
        vectors = open_vectors(file)
        if change == "cut":  # after it was opened
            file.write_bytes(file.read_bytes()[:-8])
        nearest(values[:1], vectors, 1, "euclidean", lambda rows: None)
        vectors.paths([5])


def test_tables_that_are_no_features(tmp_path: Path) -> None:
    file, folder = tmp_path / "f.parquet", tmp_path / "g.parquet"
    folder.mkdir()
    pq.write_table(pa.table({"path": ["a"]}), file)
    for path in (file, folder):
        with pytest.raises(InputError, match="can't be read as features"):
            open_vectors(path)
    pq.write_table(pa.table({"features": ["a"]}), file)
    with pytest.raises(InputError, match="can't be read as features"):
        open_vectors(file)
    file.write_bytes(b"rubbish")
    with pytest.raises(InputError, match="can't be read as features"):
        open_vectors(file)
