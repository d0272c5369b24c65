"""Checkpoints: what comes back, and what is refused without running it."""

import pickle
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import torch

from alexnet_tk.errors import CheckpointError
from alexnet_tk.network.alexnet import AlexNet
from alexnet_tk.recipe import Recipe
from alexnet_tk.training.checkpoint import Checkpoint
from alexnet_tk.training.statistics import Statistics


@pytest.fixture
def checkpoint(tiny: tuple[str, ...]) -> Checkpoint:
    recipe = Recipe().override(*tiny)
    net = AlexNet(recipe.network, 3)
    net.initialise(0)
    statistics = Statistics.from_lists([1, 2, 3], [4, 5, 6], [[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    labels = ["ant", "bee", "café\udcff"]  # the last is a folder's name that is not UTF-8
    return Checkpoint(recipe, labels, statistics, net.state_dict(), ["a", "b", "c"], {"epoch": 1})


def test_everything_comes_back(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    checkpoint.save(path)
    loaded = Checkpoint.load(path)
    assert replace(loaded, weights={}) == replace(checkpoint, weights={})
    assert loaded.weights.keys() == {
        f"{n}.{p}" for n in ("c1", "c2", "c3", "c4", "c5", "f6", "f7", "f8") for p in ("weight", "bias")
    }
    assert all(torch.equal(loaded.weights[name], each) for name, each in checkpoint.weights.items())
    assert list(tmp_path.iterdir()) == [path]


def test_it_is_a_dictionary_of_tensors_and_plain_values(checkpoint: Checkpoint, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "model.pt")
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    assert content["format"] == "alexnet-tk.checkpoint/1"
    assert content["recipe"]["network"]["image_size"] == 40
    assert content["statistics"]["mean"] == (1, 2, 3)


@pytest.mark.parametrize("mean", ["dataset", (7.0, 8.0, 9.0)])
def test_the_mean_is_the_datasets_unless_the_recipe_has_numbers(checkpoint: Checkpoint, mean: Any) -> None:
    recipe = replace(checkpoint.recipe, preprocess=replace(checkpoint.recipe.preprocess, mean=mean))
    assert replace(checkpoint, recipe=recipe).preprocess.mean == ((1, 2, 3) if mean == "dataset" else mean)


class Bomb:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return Path.touch, (self.trace,)


def refused(path: Path) -> str:
    """The one line with which a file is refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(CheckpointError) as caught:
            Checkpoint.load(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_nothing_is_run(tmp_path: Path) -> None:
    trace, path = tmp_path / "trace", tmp_path / "model.pt"
    path.write_bytes(pickle.dumps(Bomb(trace)))
    refused(path)
    torch.save({"format": "alexnet-tk.checkpoint/1", "labels": Bomb(trace)}, path)
    assert "nothing of it was run" in refused(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not an alexnet-tk checkpoint"),
        (b"hello\n", "is text that begins 'hello', not a model; download it again"),
        (b"\x80\x04N.", "not an alexnet-tk checkpoint"),
        (b"PK\x03\x04 rubbish", "cut off"),
    ],
)
def test_rubbish_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "model.pt").write_bytes(content)
    assert words in refused(tmp_path / "model.pt")


def test_what_is_missing_or_a_folder_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "model.pt")
    refused(tmp_path)


def test_a_truncated_checkpoint_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    checkpoint.save(path)
    whole = path.read_bytes()
    for size in (10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        refused(path)


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("format", "other/7", "other/7"),
        ("recipe", {"network": {"towers": 5}}, "towers"),
        ("labels", ["too", "few"], "2 labels and 3 ids"),
        ("labels", "abc", "list of labels"),
        ("labels", [1, 2, 3], "not all strings"),
        ("weights", {}, "c1.bias"),
        ("weights", {"c1.bias": 3}, "c1.bias"),
        ("statistics", {"mean": [1]}, "broken"),
        ("training", None, "broken"),
    ],
)
def test_a_broken_part_is_named(
    checkpoint: Checkpoint, tmp_path: Path, key: str, value: object, word: str
) -> None:
    path = tmp_path / "model.pt"
    checkpoint.save(path)
    torch.save(torch.load(path, weights_only=True) | {key: value}, path)
    assert word in refused(path)


def test_weights_are_plain_numbers(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    for spoil in (torch.Tensor.double, torch.Tensor.to_sparse, lambda tensor: tensor.to("meta")):
        checkpoint.save(path)
        content = torch.load(path, weights_only=True)
        content["weights"]["c3.weight"] = spoil(content["weights"]["c3.weight"])
        torch.save(content, path)
        assert "c3.weight" in refused(path)


def test_weights_for_other_labels_are_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    replace(checkpoint, labels=["too", "few"], label_ids=[]).save(tmp_path / "model.pt")
    assert "f8" in refused(tmp_path / "model.pt")


def test_a_zip_bomb_is_not_unpacked(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Compressed, or with one record named many times: either way it would be more than it weighs."""
    path = tmp_path / "model.pt"
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", bytes(100_000_000))
    assert path.stat().st_size < 200_000
    with pytest.raises(CheckpointError, match="would unpack to 100,000,000 bytes"):
        Checkpoint.load(path)
    checkpoint.save(path)
    with ZipFile(path, "a") as archive:
        archive.filelist += archive.filelist * 10
        archive._didModify = True  # type: ignore[attr-defined]
    with pytest.raises(CheckpointError, match="would unpack to"):
        Checkpoint.load(path)


def test_a_tensor_that_repeats_one_number_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """A shape of terabytes over four bytes: using it would fill the memory."""
    recipe = checkpoint.recipe.override("network.hidden=[1000000,1000000]")
    weights = dict(checkpoint.weights)
    with torch.device("meta"):
        shapes = {key: each.shape for key, each in AlexNet(recipe.network, 3).state_dict().items()}
    for name in ("f6.weight", "f6.bias", "f7.weight", "f7.bias", "f8.weight"):
        weights[name] = torch.zeros(1).expand(shapes[name])
    replace(checkpoint, recipe=recipe, weights=weights).save(tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"f6\.bias has a larger shape than its data"):
        Checkpoint.load(tmp_path / "model.pt")
