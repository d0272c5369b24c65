"""`Classifier.features`: labels and the last hidden layer's activations for pictures, and what gives none."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from alexnet_tk.errors import ModelError
from alexnet_tk.inference import Classifier
from alexnet_tk.inference.model import FEATURES_NAME, OUTPUT_NAME, open_model
from tests.small_model import HIDDEN, NETWORK

Calculate = Callable[[NDArray[np.uint8]], NDArray[np.float64]]


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (11, 8, 8, 3), dtype=np.uint8)


@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_features_come_with_the_labels(
    device: str, feature_file: Path, pictures: NDArray[np.uint8], features_of: Calculate, tmp_path: Path
) -> None:
    if device == "openvino":
        pytest.importorskip("openvino", exc_type=ImportError)
    classifier = Classifier(feature_file, device)
    mixed: list[Any] = [*pictures[:5], tmp_path / "gone.png", *pictures[5:]]
    records = list(classifier.features(mixed, 2, batch_size=4, workers=2))
    assert records == list(classifier.classify(mixed, 2, batch_size=4)), "but for the features"
    failed = records.pop(5)
    assert (failed.error, failed.features) == ("no such file", None)
    found = np.stack([record.features for record in records if record.features is not None])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, features_of(pictures), rtol=1e-5)
    assert all(record.features is None for record in classifier.classify(pictures))


def test_one_picture_has_one_record(feature_file: Path, pictures: NDArray[np.uint8]) -> None:
    (record,) = Classifier(feature_file, "cpu").features(pictures[0])
    assert record.features is not None
    assert record.features.shape == (HIDDEN.shape[1],)


def test_only_what_is_asked_for_is_fetched(
    feature_file: Path, pictures: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, asked = open_model(feature_file, "cpu"), list[list[str]]()

    class Watched:
        def run(self, outputs: list[str], inputs: dict[str, Any], /) -> Any:
            asked.append(outputs)
            return session.run(outputs, inputs)

    session = model.session
    monkeypatch.setitem(model.__dict__, "session", Watched())
    list(Classifier(model).classify(pictures, batch_size=11))
    list(Classifier(model).features(pictures, batch_size=11))
    assert asked == [[OUTPUT_NAME], [OUTPUT_NAME, "features"]]


def test_a_fixed_batch_is_padded_and_cut(
    feature_file: Path, pictures: NDArray[np.uint8], features_of: Calculate, tmp_path: Path
) -> None:
    model = onnx.load(feature_file)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 4
    onnx.save(model, tmp_path / "four.onnx")
    probabilities, features = open_model(tmp_path / "four.onnx", "cpu").run_with(pictures, FEATURES_NAME)
    assert len(probabilities) == len(pictures)
    np.testing.assert_allclose(features, features_of(pictures), rtol=1e-5)


def test_a_file_without_them_names_the_export(model_file: Path, pictures: NDArray[np.uint8]) -> None:
    words = r"does not give features; `alexnet-tk export model\.pt --features` makes a file that does"
    with pytest.raises(ModelError, match=rf"model\.onnx {words}"):
        Classifier(model_file, "cpu").features(pictures)
    with pytest.raises(ModelError, match=f"the model {words}"):
        Classifier(open_model(model_file, "cpu")).features(pictures)


def test_as_many_as_the_network_has_units(
    write_model: Callable[..., Path], metadata: dict[str, str], tmp_path: Path
) -> None:
    """Else the file and its metadata disagree."""
    network = metadata | {"alexnet_tk.network": json.dumps(NETWORK | {"hidden": [6, 6]})}
    with pytest.raises(
        ModelError, match=r"gives 'features' \(batch, 4\), which is neither 'features' \(batch, 6\)"
    ):
        open_model(write_model(tmp_path / "four.onnx", network, features=4))
