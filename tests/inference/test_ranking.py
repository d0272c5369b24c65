"""The few best classes, against a stable sort of all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from alexnet_tk.inference.ranking import most_probable

SHAPES = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)
# A handful of values, so that most rows have ties, also at the edge of the best; and any floats.
FEW = arrays(np.float32, SHAPES, elements=st.sampled_from([0.0, -0.0, 0.25, 0.5, 1.0]))
ANY = arrays(np.float32, SHAPES, elements=st.floats(width=32, allow_nan=False))


@given(FEW | ANY, st.integers(1, 15))
def test_the_best_are_the_first_of_a_stable_sort(rows: NDArray[np.float32], topk: int) -> None:
    by_probability = [sorted(range(rows.shape[1]), key=lambda index: -row[index])[:topk] for row in rows]
    assert most_probable(rows, topk).tolist() == by_probability


@pytest.mark.parametrize("topk", [1, 2, 3, 999, 1000, 2000])
def test_a_tie_at_the_edge_goes_to_the_lower_indices(topk: int) -> None:
    rows = np.zeros((2, 1000), np.float32)
    rows[0, 700] = 1
    assert most_probable(rows, topk)[0].tolist() == [700, *(i for i in range(1000) if i != 700)][:topk]
    assert most_probable(rows, topk)[1].tolist() == list(range(1000))[:topk]


def test_the_rows_stay_as_they_are() -> None:
    rows = np.random.default_rng(0).random((8, 100), np.float32)
    before = rows.copy()
    most_probable(rows, 5)
    np.testing.assert_array_equal(rows, before)


def test_no_pictures_have_no_best_classes() -> None:
    assert most_probable(np.empty((0, 10), np.float32), 3).shape == (0, 3)
