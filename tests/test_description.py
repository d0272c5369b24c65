"""What `show` prints of a file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet_tk import zoo
from alexnet_tk.description import describe, draw_first_kernels, first_kernels
from alexnet_tk.errors import CheckpointError, ModelError, OutputError
from alexnet_tk.exporting import export
from alexnet_tk.geometry import layers
from alexnet_tk.network.alexnet import AlexNet
from alexnet_tk.recipe import Recipe
from alexnet_tk.training.checkpoint import Checkpoint
from alexnet_tk.training.statistics import Statistics


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, tiny: tuple[str, ...]) -> Path:
    recipe = Recipe().override(*tiny, "network.init=he", "preprocess.channel_order=BGR")
    net = AlexNet(recipe.network, 12)
    net.initialise(0)
    statistics = Statistics.from_lists([110, 120, 130], [1, 2, 3], [[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    path = tmp_path_factory.mktemp("show") / "model.pt"
    training = {"epoch": 3, "figures": {"val_top1": 0.5}, "history": [{"epoch": 1}]}
    Checkpoint(recipe, [f"l{i}" for i in range(12)], statistics, net.state_dict(), [], training).save(path)
    return path


@pytest.mark.parametrize("name", zoo.names())
@pytest.mark.parametrize("classes", [10, 1000])
def test_the_shapes_are_the_networks(name: str, classes: int) -> None:
    network = zoo.recipe(name).network
    with torch.device("meta"):
        state = AlexNet(network, classes).state_dict()
    described = layers(network, classes)
    assert {f"{name}.weight": layer.weight_shape for name, layer in described.items()} == {
        key: tuple(each.shape) for key, each in state.items() if key.endswith(".weight")
    }


def test_a_checkpoint(checkpoint: Path) -> None:
    found = describe(checkpoint)
    assert (found.kind, found.size, len(found.labels)) == ("checkpoint", checkpoint.stat().st_size, 12)
    assert found.facts["preprocess"]["mean"] == [110, 120, 130]
    assert found.facts["training"] == {"epoch": 3, "figures": {"val_top1": 0.5}}
    assert found.facts["network"]["image_size"] == 40
    c1 = found.layers["c1"]
    assert (c1.weight_shape, c1.parameters) == ((8, 3, 5, 5), 8 * 3 * 25 + 8)
    assert len(found.sha256) == 64


def test_the_built_in_file() -> None:
    found = describe(zoo.default_model())
    assert (found.kind, found.labels[0]) == ("ONNX file", "Ankle boot")
    assert found.network == zoo.recipe("fashion-mini").network
    assert (found.facts["precision"], found.facts["lrn"]) == ("fp32", "decomposed")
    assert found.facts["verification"]["largest_difference"] <= 1e-5
    assert found.size <= 6_000_000


def test_the_papers_count() -> None:
    """The 60,965,224 parameters, layer by layer."""
    counts = [layer.parameters for layer in layers(Recipe().network, 1000).values()]
    assert counts == [34_944, 307_456, 885_120, 663_936, 442_624, 37_752_832, 16_781_312, 4_097_000]
    assert sum(counts) == 60_965_224


def test_kernels_are_given_in_rgb(checkpoint: Path, tmp_path: Path) -> None:
    """The order of the channels is red, green, blue, though this network takes BGR."""
    expected = Checkpoint.load(checkpoint).weights["c1.weight"].numpy()[:, ::-1]
    np.testing.assert_array_equal(first_kernels(checkpoint), expected)
    export(checkpoint, tmp_path / "a.onnx")
    np.testing.assert_array_equal(first_kernels(tmp_path / "a.onnx"), expected)


def test_kernels_are_drawn(checkpoint: Path, tmp_path: Path) -> None:
    draw_first_kernels(zoo.default_model(), tmp_path / "f.png")
    with Image.open(tmp_path / "f.png") as picture:
        assert picture.format == "PNG"
        assert len(picture.convert("RGB").getcolors(1_000_000) or ()) > 100
    with pytest.raises(OutputError, match="--overwrite"):
        draw_first_kernels(checkpoint, tmp_path / "f.png")
    draw_first_kernels(checkpoint, tmp_path / "f.png", overwrite=True)


def test_a_file_that_is_neither(tmp_path: Path) -> None:
    for name, error in (("a.pt", CheckpointError), ("a.onnx", ModelError), ("a", ModelError)):
        with pytest.raises(error, match="does not exist"):
            describe(tmp_path / name)
        (tmp_path / name).write_bytes(b"rubbish")
        with pytest.raises(error):
            describe(tmp_path / name)
