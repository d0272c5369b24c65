"""The mean picture: measured, packed, subtracted in training, kept in checkpoints."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from alexnet_tk import images
from alexnet_tk.description import describe
from alexnet_tk.errors import CheckpointError, DataError
from alexnet_tk.preprocess import Square
from alexnet_tk.progress import Progress
from alexnet_tk.recipe import Recipe
from alexnet_tk.training import Checkpoint, pack, packing, preparation
from alexnet_tk.training.augment import EpochDraws
from alexnet_tk.training.batches import BatchReader
from alexnet_tk.training.dataset import FileSplit, from_folder
from alexnet_tk.training.packed import open_packed
from alexnet_tk.training.parallel import World
from alexnet_tk.training.run import Run
from alexnet_tk.training.statistics import Statistics
from alexnet_tk.training.trainer import Trainer
from tests.conftest import TINY
from tests.training.log import Log

RECIPE = Recipe().override(*TINY, "network.init=he", "preprocess.mean=picture", "train.batch_size=9")
SQUARE = Square(44, 44, "bilinear")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of pictures that are brighter at the top; one of them can't be read."""
    folder = tmp_path_factory.mktemp("mean") / "pictures"
    random = np.random.default_rng(0)
    for split, count in (("train", 9), ("val", 2)):
        for name in ("ant", "bee"):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(0, 100, (60, 50, 3)) + np.linspace(150, 0, 60)[:, None, None]
                Image.fromarray(pixels.astype(np.uint8)).save(folder / split / name / f"{i}.png")
    (folder / "train" / "ant" / "4.png").write_bytes(b"rubbish")
    return folder


def mean_of(folder: Path, square: Square) -> NDArray[np.float64]:
    """The mean of the training pictures, in double precision."""
    paths = [path for path in sorted(folder.glob("train/*/*.png")) if path.stat().st_size > 10]
    mean: NDArray[np.float64] = np.mean([images.load(path, square) for path in paths], axis=0)
    return mean


@pytest.fixture(scope="module")
def packed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packed") / "packed"
    pack(folder, path)
    return path


def new_run(data: Path, *settings: str) -> tuple[Run, Log]:
    """The run that `train` would begin, with tiny settings."""
    recipe = [f"preprocess.{key}" for key in ("mean=picture", "resize=44")]
    dataset, statistics = preparation.open_dataset(data, Log())
    log = Log()
    words = (*TINY, *recipe, *settings)
    return preparation.new_run(data, dataset, statistics, "own-pictures", words, None, World(), log), log


def test_it_is_the_mean_of_the_squares(folder: Path) -> None:
    dataset = from_folder(folder)
    found, without = (
        Statistics.of(BatchReader(dataset.train, SQUARE), 0, Log(), with_picture)
        for with_picture in (True, False)
    )
    assert found.picture is not None
    assert (found.picture.dtype, without.picture) == (torch.float32, None)
    np.testing.assert_allclose(found.picture.numpy(), mean_of(folder, SQUARE), rtol=1e-6)
    assert found == without, "the colours are the same"
    np.testing.assert_allclose(found.picture.mean(dim=(0, 1)).numpy(), found.mean, rtol=1e-5)


class TestPacked:
    def test_a_packed_set_has_that_of_all_training_pictures(self, folder: Path, packed: Path) -> None:
        _, statistics = open_packed(packed)
        assert statistics.picture is not None
        expected = mean_of(folder, Square(256, 256, "bilinear"))
        np.testing.assert_allclose(statistics.picture.numpy(), expected, rtol=1e-6)
        assert sorted(path.name for path in packed.glob("*.npy")) == [
            "mean_picture.npy",
            "train.npy",
            "train_classes.npy",
            "val.npy",
            "val_classes.npy",
        ]

    def test_a_run_takes_it_where_its_size_is_the_recipes(self, packed: Path) -> None:
        _, statistics = open_packed(packed)
        run, log = new_run(packed, "preprocess.resize=256")
        assert run.statistics.picture is not None and statistics.picture is not None
        assert torch.equal(run.statistics.picture, statistics.picture)
        assert log.pictures == 0, "nothing was measured"

    def test_else_a_run_measures_it(self, packed: Path) -> None:
        """On the pictures as they are scaled from the rows."""
        rows = np.load(packed / "train.npy")[np.load(packed / "train_classes.npy") >= 0]
        expected = np.mean([images.load(row, SQUARE) for row in rows], axis=0)
        run, log = new_run(packed)
        assert run.statistics.picture is not None
        assert run.statistics.picture.shape == (44, 44, 3)
        np.testing.assert_allclose(run.statistics.picture.numpy(), expected, rtol=1e-6)
        assert log.pictures == 17
        assert not any("decoding" in each for each in log.said), "they are packed already"
        assert run.statistics.eigenvalues == open_packed(packed)[1].eigenvalues, "these were there"

    def test_a_run_that_does_not_ask_for_it_does_not_keep_it(self, packed: Path) -> None:
        run, _ = new_run(packed, "preprocess.mean=dataset")
        assert run.statistics.picture is None

    def test_a_set_of_an_earlier_version_opens_without_it(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also one that such a version has begun, and that is continued: it lacks the first pictures' sum."""
        monkeypatch.setattr(packing, "JOURNAL_EVERY", 3)
        path = tmp_path / "packed"
        with pytest.raises(KeyboardInterrupt):
            pack(folder, path, Interrupting(7))
        (total,) = path.glob("total_*.npy")
        total.unlink()
        pack(folder, path)
        assert not (path / "mean_picture.npy").exists()
        assert open_packed(path)[1].picture is None
        assert new_run(path, "preprocess.resize=256")[0].statistics.picture is not None

    @pytest.mark.parametrize("wrong", [np.zeros((256, 256, 3)), np.full((256, 256, 3), np.nan, np.float32)])
    def test_a_broken_one_is_named(self, packed: Path, tmp_path: Path, wrong: Any) -> None:
        for path in packed.iterdir():
            (tmp_path / path.name).symlink_to(path)
        (tmp_path / "mean_picture.npy").unlink()
        np.save(tmp_path / "mean_picture.npy", wrong)
        with pytest.raises(DataError, match=r"mean_picture\.npy is no mean picture"):
            open_packed(tmp_path)


class Interrupting(Progress):
    """Presses Ctrl-C at the n-th picture."""

    def __init__(self, after: int) -> None:
        self.left = after

    def advance(self, count: int, loss: float | None = None) -> None:
        self.left -= count
        if self.left < 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_its_centre_is_subtracted_from_every_crop(folder: Path, order: str) -> None:
    """From one at a corner and from a mirrored one, too, and neither moved nor mirrored itself."""
    settings = (
        f"preprocess.channel_order={order}",
        "preprocess.std=[50,60,70]",
        "augment.color_divisor=1.25",
    )
    recipe = RECIPE.override(*settings, "train.seed=2")
    split = FileSplit([str(path) for path in sorted(folder.glob("val/*/*.png"))], np.array([0, 0, 1, 1]))
    statistics = Statistics.from_lists([1, 2, 3], [900, 90, 9], np.eye(3).tolist())
    picture = np.random.default_rng(1).uniform(0, 255, (44, 44, 3)).astype(np.float32)
    statistics = replace(statistics, picture=torch.from_numpy(picture))
    trainer = Trainer(recipe, statistics, 2, World())
    draws = EpochDraws.draw(recipe, 0, 4, statistics)
    batch = next(trainer.training_batches(trainer.reader(split), draws))
    x = trainer._inputs(batch).x.permute(0, 2, 3, 1).numpy()
    assert {bool(each) for each in draws.mirror} == {True, False}
    for row, index in enumerate(draws.order):
        top, left = draws.corner[index]
        crop = images.load(split.paths[index], SQUARE)[top : top + 40, left : left + 40].astype(np.float64)
        crop = crop[:, ::-1] if draws.mirror[index] else crop
        assert draws.shift is not None
        expected = (crop - picture[2:42, 2:42] + draws.shift[index]) / 1.25 / [50, 60, 70]
        np.testing.assert_allclose(x[row], expected[..., :: 1 if order == "RGB" else -1], atol=1e-4)


@pytest.fixture
def checkpoint() -> Checkpoint:
    trainer = Trainer(RECIPE, with_picture(np.zeros((44, 44, 3))), 3, World())
    picture = np.random.default_rng(2).uniform(0, 255, (44, 44, 3))
    return Checkpoint(RECIPE, ["a", "b", "c"], with_picture(picture), trainer.weights())


def with_picture(picture: NDArray[np.float64]) -> Statistics:
    tensor = torch.from_numpy(picture.astype(np.float32))
    return Statistics.from_lists([100, 110, 120], [900, 90, 9], np.eye(3).tolist(), tensor)


def test_a_checkpoint_keeps_it(checkpoint: Checkpoint, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "model.pt")
    loaded = Checkpoint.load(tmp_path / "model.pt").statistics
    assert loaded.picture is not None and checkpoint.statistics.picture is not None
    assert torch.equal(loaded.picture, checkpoint.statistics.picture)
    facts = describe(tmp_path / "model.pt").facts
    assert (facts["preprocess"]["mean"], facts["statistics"]["picture"]) == ("picture", [44, 44, 3])
    json.dumps(facts)  # as `show` prints them


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (None, "its mean picture is not a dense float32 tensor"),
        (torch.zeros(44, 44, 3, dtype=torch.float64), "not a dense float32"),
        (torch.zeros(40, 40, 3), r"has the shape \(40, 40, 3\), not \(44, 44, 3\)"),
        (torch.zeros(1).expand(44, 44, 3), "larger shape than its data"),
    ],
)
def test_a_checkpoint_without_the_right_one_is_refused(
    checkpoint: Checkpoint, tmp_path: Path, picture: Any, message: str
) -> None:
    statistics = replace(checkpoint.statistics, picture=picture)
    replace(checkpoint, statistics=statistics).save(tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=message):
        Checkpoint.load(tmp_path / "model.pt")


def test_predictions_and_validation_subtract_it(checkpoint: Checkpoint) -> None:
    pictures = torch.randint(0, 256, (3, 40, 40, 3), dtype=torch.uint8)
    classifier = checkpoint.classifier()
    assert checkpoint.statistics.picture is not None
    x = pictures.double() - checkpoint.statistics.picture[2:42, 2:42].double()
    with torch.inference_mode():
        expected = classifier.alexnet(x.float().permute(0, 3, 1, 2)).softmax(dim=1)
        torch.testing.assert_close(classifier(pictures), expected, rtol=1e-4, atol=1e-5)
        # Tensors that others have normalised, with the mean colour.
        given = (pictures - torch.tensor([100.0, 110.0, 120.0])).permute(0, 3, 1, 2)
        torch.testing.assert_close(classifier.of_tensors()(given), expected, rtol=1e-4, atol=1e-5)
    assert expected.std() > 1e-3
