"""Crops, mirrors, rotation and colour noise against plain versions of themselves."""

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet_tk.choices import ChannelOrder
from alexnet_tk.network.alexnet import normalise
from alexnet_tk.recipe import Recipe
from alexnet_tk.training.augment import EpochDraws, centre, rotate
from alexnet_tk.training.statistics import Statistics
from tests.conftest import TINY

GREY = Statistics((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
SMALL = Recipe().override(*TINY)  # crops of 40 out of squares of 44
RANDOM = np.random.default_rng(0)


def test_an_epoch_is_a_function_of_seed_and_number() -> None:
    epochs = [EpochDraws.draw(SMALL, 3, 50), EpochDraws.draw(SMALL, 3, 50), EpochDraws.draw(SMALL, 4, 50)]
    other_seed = EpochDraws.draw(SMALL.override("train.seed=1"), 3, 50)
    for table in ("order", "corner", "mirror", "color"):
        first, again, later = (getattr(each, table) for each in epochs)
        assert np.array_equal(first, again)
        assert not np.array_equal(first, later)
        assert not np.array_equal(first, getattr(other_seed, table))


def test_turning_one_change_off_leaves_the_others() -> None:
    whole = EpochDraws.draw(SMALL, 0, 50)
    part = EpochDraws.draw(SMALL.override("augment.mirror=false", "augment.crop=false"), 0, 50)
    assert np.array_equal(whole.order, part.order)
    assert np.array_equal(whole.color, part.color)
    assert not part.mirror.any()
    assert (part.corner == 2).all()


def test_crops_reach_every_corner_and_nothing_else() -> None:
    draws = EpochDraws.draw(SMALL, 0, 2_000)
    picture = RANDOM.integers(0, 256, (44, 44, 3), dtype=np.uint8)
    corners = {tuple(corner) for corner in draws.corner.tolist()}
    assert corners == {(top, left) for top in range(5) for left in range(5)}
    for index in range(50):
        top, left = draws.corner[index]
        assert np.array_equal(draws.crop(picture, index), picture[top : top + 40, left : left + 40])
    assert np.array_equal(centre(picture, 40), picture[2:42, 2:42])
    assert draws.mirror.mean() == pytest.approx(0.5, abs=0.05)


def test_mirrors_are_the_numbered_ones() -> None:
    draws = EpochDraws.draw(SMALL.override("augment.color_sigma=0"), 0, 20)
    pictures = RANDOM.integers(0, 256, (5, 40, 40, 3), dtype=np.uint8)
    indices = np.array([3, 17, 0, 8, 12])
    changed = draws.change(torch.from_numpy(pictures), indices, GREY).numpy()
    for picture, result, index in zip(pictures, changed, indices, strict=True):
        assert np.array_equal(result, picture[:, ::-1] if draws.mirror[index] else picture)


def test_the_colour_noise_is_the_formula() -> None:
    """Add V (√λ ∘ g), g ~ N(0, 0.1²): λ and V as of a real covariance."""
    pixels = RANDOM.normal(0, 1, (10_000, 3)) @ np.array([[60, 55, 50], [0, 15, 20], [0, 0, 5]])
    covariance = np.cov(pixels.T)
    values, vectors = np.linalg.eigh(covariance)
    statistics = Statistics.from_lists([0, 0, 0], values.tolist(), vectors.tolist())
    draws = EpochDraws.draw(SMALL.override("augment.mirror=false"), 0, 4_000)
    black = torch.zeros(4_000, 1, 1, 3, dtype=torch.uint8)
    shift = draws.change(black, np.arange(4_000), statistics).numpy()[:, 0, 0]
    for index in (0, 1, 3_999):
        expected = sum(vectors[:, i] * np.sqrt(values[i]) * draws.color[index, i] for i in range(3))
        np.testing.assert_allclose(shift[index], expected, rtol=1e-4, atol=1e-4)
    # So the shifts vary as the colours do, at a tenth of their deviation: a hundredth of the covariance.
    np.testing.assert_allclose(np.cov(shift.T), covariance / 100, rtol=0.15, atol=1)


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_pieces_are_the_whole(order: ChannelOrder) -> None:
    pictures = torch.from_numpy(RANDOM.integers(0, 256, (21, 40, 40, 3), dtype=np.uint8))
    indices = RANDOM.permutation(50)[:21]
    statistics = Statistics.from_lists([1, 2, 3], [900, 90, 9], np.eye(3)[[2, 0, 1]].tolist())
    mean, std = torch.tensor([100.0, 110.0, 120.0]), torch.tensor([50.0, 60.0, 70.0])
    draws = EpochDraws.draw(SMALL.override("augment.rotate=9"), 0, 50)
    x = draws.network_input(pictures, indices, statistics, mean, std, order)
    assert torch.equal(x, normalise(draws.change(pictures, indices, statistics), mean, std, order))
    assert x.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_quarter_turns_are_exact(degrees: int) -> None:
    picture = RANDOM.integers(0, 256, (1, 6, 6, 3)).astype(np.float32)
    turned = rotate(torch.from_numpy(picture), torch.tensor([np.radians(degrees)], dtype=torch.float32))
    np.testing.assert_allclose(turned[0].numpy(), np.rot90(picture[0], degrees // 90), atol=0.1)


def test_a_small_turn_is_pillows() -> None:
    picture = np.asarray(
        Image.fromarray(RANDOM.integers(0, 256, (5, 5, 3), dtype=np.uint8)).resize(
            (41, 41), Image.Resampling.BICUBIC
        )
    )
    turned = rotate(
        torch.from_numpy(picture[None].astype(np.float32)), torch.tensor([np.radians(10.0)]).float()
    )
    theirs = np.asarray(Image.fromarray(picture).rotate(10, Image.Resampling.BILINEAR))
    np.testing.assert_allclose(turned[0, 8:33, 8:33].numpy(), theirs[8:33, 8:33], atol=1.5)


def test_rotation_stays_within_its_bound() -> None:
    draws = EpochDraws.draw(SMALL.override("augment.rotate=7.5"), 0, 500)
    assert np.degrees(np.abs(draws.angle)).max() == pytest.approx(7.5, abs=0.1)
