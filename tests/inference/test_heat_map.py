"""A map laid over a picture: where its cells are, and what they look like."""

import numpy as np
import pytest

from alexnet_tk.geometry import Network, pool5_places
from alexnet_tk.inference.heat_map import Places, overlay

GREY = np.full((224, 224, 3), 100, np.uint8)
FULL = Places(31, 32)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (2, 3), (5, 5), (0, 5)])
def test_a_single_cell_is_brightest_at_its_centre(row: int, column: int) -> None:
    cells = np.zeros((6, 6), np.float32)
    cells[row, column] = 0.01
    pixels = overlay(GREY, cells, FULL)
    y, x = 31 + 32 * row, 31 + 32 * column
    assert pixels.shape == (224, 224, 3)
    assert pixels[y, x].tolist() == [round(0.3 * 100 + 0.7 * 255)] * 2 + [30], "yellow, over the picture"
    difference = np.abs(pixels.astype(int) - 100).sum(axis=2)
    assert difference[y, x] == difference.max()
    far_y, far_x = np.meshgrid(np.arange(224), np.arange(224), indexing="ij")
    outside = (np.abs(far_y.clip(31, 191) - y) >= 32) | (np.abs(far_x.clip(31, 191) - x) >= 32)
    assert not difference[outside].any(), "a cell reaches to the centres of its neighbours"
    inside = (np.abs(far_y - y) <= 24) & (np.abs(far_x - x) <= 24)
    assert difference[inside].all()


def test_a_map_of_zeros_leaves_the_picture_grey() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8)
    pixels = overlay(picture, np.zeros((2, 2), np.float32), Places(10, 30))
    assert (pixels == pixels[..., :1]).all()
    expected = picture @ np.array([0.299, 0.587, 0.114])
    assert np.abs(pixels[..., 0] - expected).max() <= 0.51


def test_only_proportions_count_and_one_cell_covers_all() -> None:
    cells = np.random.default_rng(1).random((6, 6)).astype(np.float32)
    np.testing.assert_array_equal(overlay(GREY, cells, FULL), overlay(GREY, cells * 2**-40, FULL))
    one = overlay(GREY, np.ones((1, 1), np.float32), Places(100, 32))
    assert len(np.unique(one.reshape(-1, 3), axis=0)) == 1


@pytest.mark.parametrize("settings", [{}, {"image_size": 227, "pool_kernel": 2}, {"pool_ceil": True}])
def test_the_centres_are_those_of_the_receptive_fields(settings: dict[str, object]) -> None:
    """Followed back from pool5, kernel by kernel, through layers of (kernel, stride, padding)."""
    network = Network(**settings)  # type: ignore[arg-type]
    pool = (network.pool_kernel, 2, 0)
    steps = [(11, 4, 2), pool, (5, 1, 2), pool, (3, 1, 1), (3, 1, 1), (3, 1, 1), pool]
    centres = []
    for cell in (0, 1, 4):
        first = last = cell
        for kernel, stride, padding in reversed(steps):
            first, last = first * stride - padding, last * stride - padding + kernel - 1
        centres.append((first + last) / 2)
    start, step = pool5_places(network)
    assert centres == [start + step * cell for cell in (0, 1, 4)]
