"""A small network of the authors' shape in every precision and with either input, in several runtimes."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from alexnet_tk import zoo
from alexnet_tk.exporting import export
from alexnet_tk.exporting.graph import Variant
from alexnet_tk.inference import Classifier
from alexnet_tk.inference.model import open_model
from alexnet_tk.network.alexnet import AlexNet
from alexnet_tk.training.checkpoint import Checkpoint
from alexnet_tk.training.statistics import Statistics
from tests.exporting.test_variants import CLOSE, VARIANTS, named

SIDE, CROP, CLASSES = 44, 40, 5
# The recipe with narrow layers, on small pictures, and with weights that say something without training.
SETTINGS = (
    f"network.image_size={CROP}",
    f"preprocess.resize={SIDE}",
    "network.channels=[16,32,32,32,16]",
    "network.hidden=[32,32]",  # so few units OpenVINO would fuse, with wrong answers in int8
    "network.c1.kernel=5",
    "network.c1.stride=2",
    "network.init=he",
    "network.lrn.alpha=0.05",
    "network.spatial.alpha=0.01",
    "preprocess.std=[60,60,60]",
)


def draw(count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pictures (N, 44, 44, 3) with the colours of their classes, and the classes."""
    random = np.random.default_rng(count)
    colours = np.array([[230, 30, 30], [30, 230, 30], [30, 30, 230], [220, 220, 40], [60, 60, 60]])
    targets = np.arange(count) % CLASSES
    noise = random.integers(-20, 21, (count, SIDE, SIDE, 3))
    return (colours[targets][:, None, None] + noise).clip(0, 255).astype(np.uint8), targets


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, but for f8's, which are fitted to tell the classes of `draw` apart."""
    recipe = zoo.recipe("krizhevsky-2012").override(*SETTINGS)
    net = AlexNet(recipe.network, CLASSES)
    net.initialise(0)
    pictures, targets = draw(100)
    mean = pictures.mean(axis=0)
    statistics = Statistics.from_lists(
        mean.mean(axis=(0, 1)).tolist(),
        [1, 2, 3],
        np.eye(3).tolist(),
        torch.from_numpy((mean + np.linspace(-40, 40, SIDE)[:, None, None]).astype(np.float32)),
    )
    labels = [f"label {i}" for i in range(CLASSES)]
    whole = Checkpoint(recipe, labels, statistics, net.state_dict())
    assert statistics.picture is not None
    crops = torch.from_numpy(pictures[:, 2:42, 2:42].astype(np.float32)) - statistics.picture[2:42, 2:42]
    with torch.no_grad():
        features = net.eval().features((crops / 60).permute(0, 3, 1, 2)).double()
        features = torch.cat([features, torch.ones(100, 1, dtype=torch.float64)], dim=1)
        wanted = 8 * torch.eye(CLASSES, dtype=torch.float64)[torch.from_numpy(targets)]
        fitted = torch.linalg.lstsq(features, wanted, driver="gelsd").solution.T.float()
    f8 = {"f8.weight": fitted[:, :-1].contiguous(), "f8.bias": fitted[:, -1].contiguous()}
    path = tmp_path_factory.mktemp("authors") / "model.pt"
    replace(whole, weights=whole.weights | f8).save(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures to calibrate and to verify on."""
    folder = tmp_path_factory.mktemp("pictures")
    for i, pixels in enumerate(draw(50)[0]):
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def files(checkpoint: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Variant, Path]:
    """The network in every variant."""
    out = tmp_path_factory.mktemp("variants")
    for i, variant in enumerate(VARIANTS):
        calibrate = folder if variant.precision == "int8" else None
        export(checkpoint, out / f"{i}.onnx", **asdict(variant), calibrate=calibrate, verify_on=folder)
    return {variant: out / f"{i}.onnx" for i, variant in enumerate(VARIANTS)}


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.uint8]:
    return draw(9)[0][:, 2:42, 2:42]


@pytest.fixture(scope="module")
def expected(checkpoint: Path, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The answers of torch in float32."""
    with torch.inference_mode():
        answers: NDArray[np.float32] = (
            Checkpoint.load(checkpoint).classifier()(torch.from_numpy(pictures)).numpy()
        )
    assert answers.argmax(axis=1).tolist() == draw(9)[1].tolist()
    return answers


def feed(checkpoint: Path, variant: Variant, pictures: NDArray[np.uint8]) -> NDArray[Any]:
    """The input of a file; where it is float, the mean colour alone is subtracted before it."""
    if variant.input == "uint8":
        return pictures
    mean = np.array(Checkpoint.load(checkpoint).statistics.mean, np.float32)
    floats: NDArray[np.float32] = (pictures.astype(np.float32) - mean) / np.float32(60)
    return np.ascontiguousarray(floats.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("variant", VARIANTS, ids=named)
class TestEveryVariant:
    @pytest.mark.parametrize("device", ["cpu", "openvino"])
    def test_our_own_readers_answer_as_torch_does(
        self,
        variant: Variant,
        device: str,
        files: Any,
        pictures: NDArray[np.uint8],
        expected: NDArray[np.float32],
    ) -> None:
        if device == "openvino":
            pytest.importorskip("openvino", exc_type=ImportError)
        model = open_model(files[variant], device)
        assert model.metadata["preprocess"]["mean_picture"] is True
        for some in (pictures, pictures[:1]):
            np.testing.assert_allclose(model.run(some), expected[: len(some)], atol=CLOSE[variant.precision])

    def test_opencv_agrees(
        self,
        variant: Variant,
        checkpoint: Path,
        files: Any,
        pictures: NDArray[np.uint8],
        expected: NDArray[np.float32],
    ) -> None:
        cv2 = pytest.importorskip("cv2", exc_type=ImportError)
        network = cv2.dnn.readNetFromONNX(str(files[variant]))
        for some in (pictures, pictures[:2]):
            network.setInput(feed(checkpoint, variant, some))
            np.testing.assert_allclose(
                network.forward(), expected[: len(some)], atol=CLOSE[variant.precision]
            )


def test_the_mean_picture_is_one_constant_of_the_graph(files: Any, checkpoint: Path) -> None:
    """Of float32 in every form: the picture, or with float input what it has beyond the mean colour."""
    statistics = Checkpoint.load(checkpoint).statistics
    assert statistics.picture is not None
    centre = statistics.picture[2:42, 2:42].numpy()
    for variant, path in files.items():
        constants = [onnx.numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer]
        if variant.input == "uint8":
            wanted = centre.reshape(CROP, CROP * 3)
        else:
            wanted = ((centre - np.array(statistics.mean, np.float32)) / 60).transpose(2, 0, 1)[None]
        same = [
            each for each in constants if each.shape == wanted.shape and np.allclose(each, wanted, atol=1e-5)
        ]
        assert [each.dtype for each in same] == [np.float32]


def test_ten_views_subtract_the_same_picture(files: Any, checkpoint: Path) -> None:
    """Against torch, view by view: four corners and the centre, then their mirrors."""
    picture = draw(6)[0][-1]
    corners = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)]
    views = np.stack([picture[top : top + CROP, left : left + CROP] for top, left in corners])
    with torch.inference_mode():
        both = torch.from_numpy(np.concatenate([views, views[:, :, ::-1]]))
        expected = Checkpoint.load(checkpoint).classifier()(both).mean(dim=0).numpy()
    (answer,) = Classifier(files[Variant()], "cpu").answers([picture], crops=10)
    np.testing.assert_allclose(answer.probabilities, expected, atol=1e-5)
