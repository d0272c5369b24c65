"""A network that can be worked out by hand, as an ONNX file of ours; made without torch."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from alexnet_tk.inference.model import (
    FEATURES_NAME,
    INPUT_NAME,
    ONNX_FORMAT,
    OUTPUT_NAME,
    preprocess_metadata,
)
from alexnet_tk.preprocess import Preprocess

SIDE = 8
PREPROCESS = Preprocess(SIDE, SIDE, "bilinear", "RGB", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
LABELS = ["reddish", "greenish", "bluish", "dark, or nearly", 'what is called "bright"']
# The mean red, green and blue of a picture, 0..255, times these are the logits.
WEIGHTS = np.array(
    [[0.02, -0.01, -0.01, -0.01, 0.01], [-0.01, 0.02, -0.01, -0.01, 0.01], [-0.01, -0.01, 0.02, -0.01, 0.01]],
    dtype=np.float32,
)
# The mean colours times these, where above zero, are the features of a file that gives them.
HIDDEN = np.array([[1.0, 0, 0, 0.5, -1, 0], [0, 1, 0, -0.5, 0.5, 0], [0, 0, 1, 0, 0.5, -1]], dtype=np.float32)
# The smallest picture whose sizes come out above zero in these layers.
NETWORK = {"image_size": SIDE, "pool_ceil": True, "c1": {"kernel": 3, "stride": 1, "padding": 1}}


@pytest.fixture(scope="session")
def labels() -> list[str]:
    return LABELS


@pytest.fixture(scope="session")
def answer() -> Callable[[NDArray[np.uint8]], NDArray[np.float64]]:
    """What the network gives for pictures uint8 (N, 8, 8, 3), in double precision."""

    def probabilities(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
        logits = pictures.astype(np.float64).mean(axis=(1, 2)) @ WEIGHTS.astype(np.float64)  # (N, 5)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]

    return probabilities


@pytest.fixture(scope="session")
def features_of() -> Callable[[NDArray[np.uint8]], NDArray[np.float64]]:
    """The features of pictures uint8 (N, 8, 8, 3), in double precision."""

    def features(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
        values: NDArray[np.float64] = pictures.astype(np.float64).mean(axis=(1, 2)) @ HIDDEN.astype(
            np.float64
        )
        return np.maximum(values, 0)

    return features


@pytest.fixture(scope="session")
def metadata() -> dict[str, str]:
    """What a sound file says of itself."""
    values: dict[str, Any] = {
        "format": ONNX_FORMAT,
        "labels": LABELS,
        "preprocess": preprocess_metadata(PREPROCESS, "uint8"),
        "network": NETWORK,
    }
    return {f"alexnet_tk.{key}": json.dumps(value) for key, value in values.items()}


@pytest.fixture(scope="session")
def write_model() -> Callable[..., Path]:
    """Writes the network with this metadata to a path, and returns the path."""

    def write(
        path: Path,
        metadata: dict[str, str],
        input_type: int = TensorProto.UINT8,
        side: int = SIDE,
        features: int | None = None,
    ) -> Path:
        image = helper.make_tensor_value_info(INPUT_NAME, input_type, ["batch", side, side, 3])
        probabilities = helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["batch", len(LABELS)])
        nodes = [
            helper.make_node("Cast", [INPUT_NAME], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["pixels", "axes"], ["means"], keepdims=0),
            helper.make_node("MatMul", ["means", "weights"], ["logits"]),
            helper.make_node("Softmax", ["logits"], [OUTPUT_NAME], axis=-1),
        ]
        constants = [
            numpy_helper.from_array(WEIGHTS, "weights"),
            numpy_helper.from_array(np.array([1, 2], dtype=np.int64), "axes"),
        ]
        outputs = [probabilities]
        if features is not None:
            nodes.append(helper.make_node("MatMul", ["means", "hidden"], ["sums"]))
            nodes.append(helper.make_node("Relu", ["sums"], [FEATURES_NAME]))
            constants.append(numpy_helper.from_array(HIDDEN[:, :features], "hidden"))
            outputs.append(
                helper.make_tensor_value_info(FEATURES_NAME, TensorProto.FLOAT, ["batch", features])
            )
        graph = helper.make_graph(nodes, "means", [image], outputs, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        helper.set_model_props(model, metadata)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)
        return path

    return write


@pytest.fixture(scope="session")
def model_file(
    tmp_path_factory: pytest.TempPathFactory, write_model: Callable[..., Path], metadata: dict[str, str]
) -> Path:
    """A sound file."""
    return write_model(tmp_path_factory.mktemp("model") / "model.onnx", metadata)


@pytest.fixture(scope="session")
def feature_file(
    tmp_path_factory: pytest.TempPathFactory, write_model: Callable[..., Path], metadata: dict[str, str]
) -> Path:
    """A sound file that gives features, too."""
    units = HIDDEN.shape[1]
    network = metadata | {"alexnet_tk.network": json.dumps(NETWORK | {"hidden": [units, units]})}
    return write_model(tmp_path_factory.mktemp("features") / "model.onnx", network, features=units)
