"""The second output of `export --features`: its numbers, in several runtimes, and what it leaves as it is."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from alexnet_tk import sample
from alexnet_tk.errors import ExportError
from alexnet_tk.exporting import export, verification
from alexnet_tk.exporting.graph import Variant
from alexnet_tk.inference.model import FEATURES_NAME, open_model
from alexnet_tk.model_files import open_models
from alexnet_tk.training.checkpoint import Checkpoint
from tests.exporting.lrn import LRN

Make = Callable[..., Checkpoint]

VARIANTS = [
    Variant(features=True),
    Variant("fp32", "decomposed", "float", features=True),
    Variant("fp16", "decomposed", features=True),
    Variant("int8", "native", features=True),
]
# The largest distance of a picture's features from those in float32, relative to their length.
CLOSE = {"fp32": 1e-5, "fp16": 5e-3, "int8": 0.25}


@pytest.fixture(scope="module")
def files(fashion_mini: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Variant, Path]:
    """The trained network in every variant."""
    folder = tmp_path_factory.mktemp("features")
    for i, variant in enumerate(VARIANTS):
        export(fashion_mini, folder / f"{i}.onnx", **asdict(variant))
    return {variant: folder / f"{i}.onnx" for i, variant in enumerate(VARIANTS)}


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.uint8]:
    """Tinted, uint8 (5, 96, 96, 3)."""
    random = np.random.default_rng(0)
    grey = np.kron(sample.pictures("val")[0][:5], np.ones((1, 4, 4)))[:, 8:104, 8:104, None]
    return (grey * random.uniform(0.3, 1, (5, 1, 1, 3))).astype(np.uint8)


@pytest.fixture(scope="module")
def expected(fashion_mini: Path, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What torch's layers give before f8, with the preprocessing of fashion-mini written out."""
    alexnet = Checkpoint.load(fashion_mini).classifier().alexnet
    mean = sample.pictures("train")[0].mean()
    x = torch.from_numpy((pictures.astype(np.float32) - np.float32(mean)) / np.float32(90))
    with torch.inference_mode():
        found: NDArray[np.float32] = alexnet.features(x.permute(0, 3, 1, 2)).numpy()
    assert found.shape == (5, 768)
    assert 0.1 < (found > 0).mean() < 0.9
    return found


def distance(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """The largest, of a row, relative to its length."""
    rows = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    return float(rows.max())


def named(variant: Variant) -> str:
    return f"{variant.precision}-{variant.lrn}-{variant.input}"


@pytest.mark.parametrize("variant", VARIANTS, ids=named)
class TestEveryVariant:
    @pytest.mark.parametrize("device", ["cpu", "openvino"])
    def test_our_own_reader(
        self,
        device: str,
        variant: Variant,
        files: Any,
        pictures: NDArray[np.uint8],
        expected: NDArray[np.float32],
    ) -> None:
        if device == "openvino":
            pytest.importorskip("openvino", exc_type=ImportError)
        model = open_model(files[variant], device)
        assert model.features == 768
        for some in (pictures, pictures[:2]):
            probabilities, features = model.run_with(some, FEATURES_NAME)
            assert features.dtype == np.float32
            assert features.shape == (len(some), 768)
            assert distance(features, expected[: len(some)]) <= CLOSE[variant.precision]
            np.testing.assert_array_equal(probabilities, model.run(some))

    def test_opencv(
        self, variant: Variant, files: Any, pictures: NDArray[np.uint8], expected: NDArray[np.float32]
    ) -> None:
        """Its outputs are asked for by their names."""
        cv2 = pytest.importorskip("cv2", exc_type=ImportError)
        network = cv2.dnn.readNetFromONNX(str(files[variant]))
        model = open_model(files[variant], "cpu")
        network.setInput(model.input.feed(pictures))
        probabilities, features = network.forward(["probabilities", "features"])
        assert distance(features, expected) <= CLOSE[variant.precision]
        np.testing.assert_allclose(probabilities, model.run(pictures), atol=0.05)

    def test_the_file_says_it(self, variant: Variant, files: Any) -> None:
        model = onnx.load(files[variant])
        onnx.checker.check_model(model, full_check=True)
        shapes = {
            each.name: [dim.dim_param or dim.dim_value for dim in each.type.tensor_type.shape.dim]
            for each in model.graph.output
        }
        assert shapes == {"probabilities": ["batch", 10], "features": ["batch", 768]}
        assert [each.name for each in model.graph.output] == ["probabilities", "features"]
        assert {each.type.tensor_type.elem_type for each in model.graph.output} == {onnx.TensorProto.FLOAT}
        told = open_model(files[variant], "cpu").metadata["verification"]["feature_difference"]
        assert 0 < told <= CLOSE[variant.precision]


@pytest.mark.parametrize("variant", VARIANTS[:3], ids=named)
def test_onnxs_reference_evaluator(
    variant: Variant, files: Any, pictures: NDArray[np.uint8], expected: NDArray[np.float32]
) -> None:
    fed = open_model(files[variant], "cpu").input.feed(pictures[:2])
    evaluator = ReferenceEvaluator(onnx.load(files[variant]), new_ops=[LRN])
    features: Any
    (features,) = evaluator.run(["features"], {"image": fed})
    assert distance(features, expected[:2]) <= CLOSE[variant.precision]


def test_a_checkpoint_gives_its_own(
    fashion_mini: Path, pictures: NDArray[np.uint8], expected: NDArray[np.float32]
) -> None:
    with open_models([fashion_mini], "cpu") as (model,):
        assert model.features == 768
        probabilities, features = model.run_with(pictures, FEATURES_NAME)
        np.testing.assert_array_equal(probabilities, model.run(pictures))
    assert distance(features, expected) <= 1e-6


def test_without_the_option_a_file_is_as_ever(tmp_path: Path, make: Make) -> None:
    make(tmp_path / "model.pt")
    export(tmp_path / "model.pt")
    model = onnx.load(tmp_path / "model.onnx")
    assert [each.name for each in model.graph.output] == ["probabilities"]
    opened = open_model(tmp_path / "model.onnx", "cpu")
    assert opened.features is None
    assert "feature_difference" not in opened.metadata["verification"]


def test_the_last_hidden_layer_is_the_recipes(tmp_path: Path, make: Make) -> None:
    checkpoint = make(tmp_path / "model.pt", "network.hidden=[16,20]", "network.towers=1")
    found = export(tmp_path / "model.pt", features=True)
    assert "largest relative difference of features" in str(found)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)
    _, features = open_model(tmp_path / "model.onnx", "cpu").run_with(pixels, FEATURES_NAME)
    with torch.inference_mode():
        expected = checkpoint.classifier().with_features(torch.from_numpy(pixels))[1].numpy()
    assert features.shape == (3, 20)
    assert distance(features, expected) <= 1e-5


def test_features_that_differ_are_refused(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tolerance is set below the difference that rounding causes."""
    make(tmp_path / "model.pt")
    tolerance = replace(verification.TOLERANCES["fp32"], max_feature_difference=-1.0)
    monkeypatch.setitem(verification.TOLERANCES, "fp32", tolerance)
    export(tmp_path / "model.pt", tmp_path / "without.onnx")
    with pytest.raises(ExportError, match=r"the features of ONNX Runtime and torch differ by .* nothing was"):
        export(tmp_path / "model.pt", features=True)
    assert not (tmp_path / "model.onnx").exists()


def test_a_network_whose_features_are_all_zero_is_exported(tmp_path: Path, make: Make) -> None:
    checkpoint = make(tmp_path / "model.pt")
    checkpoint.weights["f7.bias"][:] = -1e6
    checkpoint.save(tmp_path / "model.pt")
    assert export(tmp_path / "model.pt", features=True).feature_difference == 0
