"""Crops, mirrors, rotation and colour noise against plain versions of themselves."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet_tk.choices import ChannelOrder
from alexnet_tk.network.alexnet import normalise
from alexnet_tk.recipe import Recipe
from alexnet_tk.training.augment import EpochDraws
from alexnet_tk.training.changes import rotate
from alexnet_tk.training.statistics import Statistics
from tests.conftest import TINY

COLOURS = Statistics.from_lists([1, 2, 3], [900, 90, 9], np.eye(3)[[2, 0, 1]].tolist())
SMALL = Recipe().override(*TINY)  # crops of 40 out of squares of 44
RANDOM = np.random.default_rng(0)


def test_an_epoch_is_a_function_of_seed_and_number() -> None:
    recipe = SMALL.override("augment.rotate=5", "augment.crop_area=[0.3, 0.9]")
    epochs = [EpochDraws.draw(recipe, epoch, 50, COLOURS) for epoch in (3, 3, 4)]
    other_seed = EpochDraws.draw(recipe.override("train.seed=1"), 3, 50, COLOURS)
    for table in ("order", "corner", "side", "mirror", "shift", "angle"):
        first, again, later = (getattr(each, table) for each in epochs)
        assert np.array_equal(first, again)
        assert not np.array_equal(first, later)
        assert not np.array_equal(first, getattr(other_seed, table))


def test_turning_one_change_off_leaves_the_others() -> None:
    whole = EpochDraws.draw(SMALL, 0, 50, COLOURS)
    part = EpochDraws.draw(SMALL.override("augment.mirror=false", "augment.crop=false"), 0, 50, COLOURS)
    assert np.array_equal(whole.order, part.order)
    assert whole.shift is not None and part.shift is not None
    assert np.array_equal(whole.shift, part.shift)
    assert not part.mirror.any()
    assert (part.corner == 2).all()


def test_crops_reach_every_corner_and_nothing_else() -> None:
    draws = EpochDraws.draw(SMALL, 0, 2_000, COLOURS)
    picture = RANDOM.integers(0, 256, (44, 44, 3), dtype=np.uint8)
    corners = {tuple(corner) for corner in draws.corner.tolist()}
    assert corners == {(top, left) for top in range(5) for left in range(5)}
    for index in range(50):
        top, left = draws.corner[index]
        assert np.array_equal(draws.crop(picture, index), picture[top : top + 40, left : left + 40])
    assert np.array_equal(SMALL.square.centre(picture), picture[2:42, 2:42])
    assert draws.mirror.mean() == pytest.approx(0.5, abs=0.05)


def test_crops_of_all_sizes_are_scaled_to_the_inputs() -> None:
    """Against Pillow; other draws than the crops' stay as they are."""
    recipe = SMALL.override("augment.crop_area=[0.25, 1.0]")
    plain, draws = (EpochDraws.draw(each, 0, 3_000, COLOURS) for each in (SMALL, recipe))
    for table in ("order", "mirror", "shift"):
        assert np.array_equal(getattr(plain, table), getattr(draws, table))
    side = draws.side
    assert side is not None
    assert (side.min(), side.max()) == (22, 44)  # of 44, half to all
    assert (np.square(side / 44) < 0.625).mean() == pytest.approx(0.5, abs=0.03)  # areas are uniform
    last = 44 - side[:, None]
    assert ((draws.corner >= 0) & (draws.corner <= last)).all()
    for reached in (draws.corner == 0, draws.corner == last):
        assert reached.any(axis=0).all()
    picture = RANDOM.integers(0, 256, (44, 44, 3), dtype=np.uint8)
    for index in range(50):
        top, left = draws.corner[index].tolist()
        box = (left, top, left + side[index].item(), top + side[index].item())
        theirs = Image.fromarray(picture).crop(box).resize((40, 40), Image.Resampling.BILINEAR)
        assert np.array_equal(draws.crop(picture, index), np.asarray(theirs))


def test_a_group_shares_its_crop_and_mirror() -> None:
    """Groups are counted in the order in which pictures are seen; the last one may be smaller."""
    settings = ("augment.group=32", "augment.crop_area=[0.3, 1]")
    draws = EpochDraws.draw(SMALL.override(*settings), 4, 1_000, COLOURS)
    assert draws.side is not None
    seen = np.column_stack([draws.corner, draws.mirror, draws.side])[draws.order]
    for first in range(0, 1_000, 32):
        assert len(np.unique(seen[first : first + 32], axis=0)) == 1
    assert len(np.unique(seen[::32], axis=0)) > 25
    assert draws.mirror.mean() == pytest.approx(0.5, abs=0.3)
    assert draws.shift is not None
    assert len(np.unique(draws.shift, axis=0)) == 1_000


def test_the_colours_are_shifted_in_the_first_epochs_alone() -> None:
    recipe = SMALL.override("augment.color_epochs=3")
    shifted = [EpochDraws.draw(recipe, epoch, 5, COLOURS).shift is not None for epoch in range(5)]
    assert shifted == [True, True, True, False, False]


def test_pictures_whose_colours_are_shifted_are_divided() -> None:
    """Pictures and shift, less the mean, by 1.1; in epochs without a shift by nothing."""
    recipe = SMALL.override("augment.color_divisor=1.1", "augment.color_epochs=1")
    pictures = torch.from_numpy(RANDOM.integers(0, 256, (11, 40, 40, 3), dtype=np.uint8))
    mean, std = torch.tensor([100.0, 110.0, 120.0]), torch.tensor([50.0, 60.0, 70.0])
    for epoch, divisor in enumerate((1.1, 1.0)):
        changes = EpochDraws.draw(recipe, epoch, 11, COLOURS).changes(np.arange(11))
        moved = changes.map(torch.Tensor.clone)  # as on its way to a device
        x = moved.network_input(pictures, mean, std, "RGB").permute(0, 2, 3, 1)
        torch.testing.assert_close(x, (changes.apply(pictures) - mean) / divisor / std)


def test_mirrors_are_the_numbered_ones() -> None:
    draws = EpochDraws.draw(SMALL.override("augment.color_sigma=0"), 0, 20, COLOURS)
    pictures = RANDOM.integers(0, 256, (5, 40, 40, 3), dtype=np.uint8)
    indices = np.array([3, 17, 0, 8, 12])
    changed = draws.changes(indices).apply(torch.from_numpy(pictures)).numpy()
    for picture, result, index in zip(pictures, changed, indices, strict=True):
        assert np.array_equal(result, picture[:, ::-1] if draws.mirror[index] else picture)


def test_the_colour_noise_is_the_formula() -> None:
    """Add V (√λ ∘ g), g ~ N(0, 0.1²): λ and V as of a real covariance."""
    pixels = RANDOM.normal(0, 1, (10_000, 3)) @ np.array([[60, 55, 50], [0, 15, 20], [0, 0, 5]])
    covariance = np.cov(pixels.T)
    values, vectors = np.linalg.eigh(covariance)
    statistics = Statistics.from_lists([0, 0, 0], values.tolist(), vectors.tolist())
    draws = EpochDraws.draw(SMALL.override("augment.mirror=false"), 0, 4_000, statistics)
    black = torch.zeros(4_000, 1, 40, 3, dtype=torch.uint8)  # a line of each
    shift = draws.changes(np.arange(4_000)).apply(black).numpy()[:, 0, 0]
    noise = shift @ vectors / np.sqrt(values)  # along each component, in its deviations
    np.testing.assert_allclose(np.cov(noise.T), np.eye(3) / 100, atol=1e-3)
    # So the shifts vary as the colours do, at a tenth of their deviation: a hundredth of the covariance.
    np.testing.assert_allclose(np.cov(shift.T), covariance / 100, rtol=0.15, atol=1)


class CountedTable(np.ndarray):
    """An array that counts the rows which any of numpy's functions reads of it."""

    rows = 0

    def __getitem__(self, key: Any) -> Any:
        found = self.view(np.ndarray)[key]
        CountedTable.rows += len(found) if isinstance(found, np.ndarray) else 1
        return found

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        CountedTable.rows += sum(len(each) for each in inputs if isinstance(each, CountedTable))
        return getattr(ufunc, method)(*(np.asarray(each) for each in inputs), **options)


@pytest.mark.parametrize("pictures", [10_000, 1_281_167])
def test_a_batch_reads_its_own_rows_whatever_the_number_of_pictures(pictures: int) -> None:
    drawn = EpochDraws.draw(SMALL.override("augment.rotate=9"), 0, pictures, COLOURS)
    tables = {name: getattr(drawn, name).view(CountedTable) for name in ("mirror", "shift", "angle")}
    CountedTable.rows = 0
    batch = torch.zeros(12, 40, 40, 3, dtype=torch.uint8)
    changes = replace(drawn, **tables).changes(np.arange(12) + pictures - 12)
    changes.network_input(batch, torch.zeros(3), torch.ones(3), "RGB")
    assert CountedTable.rows == 3 * 12


def test_a_picture_is_changed_alike_in_every_batch() -> None:
    pictures = torch.from_numpy(RANDOM.integers(0, 256, (21, 40, 40, 3), dtype=np.uint8))
    indices = RANDOM.permutation(50)[:21]
    draws = EpochDraws.draw(SMALL, 0, 50, COLOURS)
    together = draws.changes(indices).apply(pictures)
    for row in range(21):
        alone = draws.changes(indices[row : row + 1]).apply(pictures[row : row + 1])
        assert torch.equal(together[row], alone[0])


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_pieces_are_the_whole(order: ChannelOrder) -> None:
    pictures = torch.from_numpy(RANDOM.integers(0, 256, (21, 40, 40, 3), dtype=np.uint8))
    indices = RANDOM.permutation(50)[:21]
    mean, std = torch.tensor([100.0, 110.0, 120.0]), torch.tensor([50.0, 60.0, 70.0])
    draws = EpochDraws.draw(SMALL.override("augment.rotate=9"), 0, 50, COLOURS)
    changes = draws.changes(indices)
    x = changes.network_input(pictures, mean, std, order)
    assert torch.equal(x, normalise(changes.apply(pictures), mean, std, order))
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
    draws = EpochDraws.draw(SMALL.override("augment.rotate=7.5"), 0, 500, COLOURS)
    assert draws.angle is not None
    assert np.degrees(np.abs(draws.angle)).max() == pytest.approx(7.5, abs=0.1)
