"""Opening a model: what is read from it, what is refused and in which words."""

import json
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from alexnet_tk.errors import ModelError
from alexnet_tk.inference.model import open_model
from alexnet_tk.inference.session import Device

Write = Callable[..., Path]


def refusal(path: Path, devices: tuple[str, ...] = ("cpu", "openvino")) -> str:
    """The words in which a file is refused, a line for each device."""
    lines = []
    for device in devices if find_spec("openvino") else ("cpu",):
        with pytest.raises(ModelError) as caught:
            open_model(path, device)
        words = str(caught.value)
        assert str(path) in words
        assert "\n" not in words
        assert "export" in words, "the next step is named"
        lines.append(words)
    return "\n".join(lines)


def test_a_sound_file_says_what_it_is(model_file: Path, labels: list[str]) -> None:
    model = open_model(model_file, "cpu")
    assert model.labels == labels
    assert model.image_size == 8
    assert (model.preprocess.resize, model.preprocess.filter) == (8, "bilinear")
    assert (model.device.name, model.device.why) == ("cpu", "asked for")


def test_a_sound_file_computes(
    model_file: Path, answer: Callable[[NDArray[np.uint8]], NDArray[np.float64]]
) -> None:
    model = open_model(model_file, "cpu")
    pictures = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    pictures[1, :, :, 0] = 255
    probabilities = model.run(pictures)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, answer(pictures), rtol=1e-4)


def test_what_preprocessing_the_file_names_is_read(
    tmp_path: Path, write_model: Write, metadata: dict[str, str]
) -> None:
    preprocess = json.loads(metadata["alexnet_tk.preprocess"])
    preprocess |= {"resize": 21, "filter": "lanczos", "color": "BGR", "mean": [1, 2.5, 3]}
    changed = metadata | {"alexnet_tk.preprocess": json.dumps(preprocess)}
    model = open_model(write_model(tmp_path / "m.onnx", changed), "cpu")
    assert (model.preprocess.resize, model.preprocess.filter) == (21, "lanczos")
    assert (model.preprocess.channel_order, model.preprocess.mean) == ("BGR", (1.0, 2.5, 3.0))


@pytest.mark.parametrize(
    ("device", "says", "installed", "expected"),
    [
        ("cpu", {"precision": "fp32", "lrn": "native"}, True, ["--lrn decomposed", "int8 --lrn decomposed"]),
        ("cpu", {"precision": "fp32", "lrn": "decomposed"}, True, ["int8 --lrn decomposed"]),
        ("cpu", {"precision": "int8", "lrn": "native"}, True, ["--lrn decomposed"]),
        ("cpu", {"precision": "int8", "lrn": "decomposed"}, True, []),
        ("cpu", {"precision": "int8", "lrn": "decomposed"}, False, ["`pip install openvino`"]),
        ("cpu", {"precision": "int8", "lrn": "native", "network": {"lrn": {"enabled": False}}}, True, []),
        (
            "cpu",
            {
                "precision": "int8",
                "lrn": "native",
                "network": {"c1": {"then": ["pool", "relu"]}, "c2": {"then": ["relu", "pool"]}},
            },
            True,
            [],
        ),
        ("cpu", {}, False, []),  # made elsewhere, or by an early version
        ("openvino", {"precision": "fp32", "lrn": "native"}, True, ["int8 --lrn decomposed"]),
        ("cuda:0", {"precision": "fp32", "lrn": "native"}, False, []),
    ],
)
def test_what_would_make_it_faster(
    model_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    says: dict[str, Any],
    installed: bool,
    expected: list[str],
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("alexnet_tk.inference.model.find_spec", lambda name: object() if installed else None)
    model = replace(open_model(model_file, "cpu"), device=Device(device, "a test"), metadata=says)
    assert len(model.faster) == len(expected)
    assert all(way.endswith(words) for way, words in zip(model.faster, expected, strict=True))


def test_a_missing_file(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "model.onnx")


def test_a_folder(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a model\n", b"\x08\x0a\x12\x00", b"\xff" * 5000])
def test_a_file_that_is_no_onnx(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    refusal(path)


def test_half_a_file(model_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(model_file.read_bytes()[: model_file.stat().st_size // 2])
    refusal(path)


def test_a_file_without_our_metadata(tmp_path: Path, write_model: Write) -> None:
    words = refusal(write_model(tmp_path / "model.onnx", {"author": "someone else"}))
    assert "no metadata of alexnet-tk" in words


@pytest.mark.parametrize("key", ["format", "labels", "preprocess", "network"])
def test_metadata_that_is_missing_is_named(
    key: str, tmp_path: Path, write_model: Write, metadata: dict[str, str]
) -> None:
    part = {name: text for name, text in metadata.items() if name != f"alexnet_tk.{key}"}
    assert f"{key} is missing" in refusal(write_model(tmp_path / "model.onnx", part))


@pytest.mark.parametrize("key", ["format", "labels", "preprocess", "network"])
@pytest.mark.parametrize("text", ["", "no JSON", '{"a":', "{\n]\n"])
def test_metadata_that_is_not_json(
    key: str, text: str, tmp_path: Path, write_model: Write, metadata: dict[str, str]
) -> None:
    assert "metadata" in refusal(write_model(tmp_path / "model.onnx", metadata | {f"alexnet_tk.{key}": text}))


@pytest.mark.parametrize(
    "form", ["alexnet-tk.onnx/2", "alexnet-tk.checkpoint/1", "", 1, None, ["alexnet-tk.onnx/1"]]
)
def test_another_format(form: object, tmp_path: Path, write_model: Write, metadata: dict[str, str]) -> None:
    words = refusal(write_model(tmp_path / "model.onnx", metadata | {"alexnet_tk.format": json.dumps(form)}))
    assert repr(form) in words
    assert "'alexnet-tk.onnx/1'" in words


@pytest.mark.parametrize(
    "labels",
    [
        ["too", "few"],
        [],
        ["a", "b", "c", "d", "one", "too many"],
        ["a", "b", "c", "d", 5],
        ["a", "b", "c", "d", None],
        [["a"], ["b"], ["c"], ["d"], ["e"]],
        "abcde",
        {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4},
        5,
        None,
        True,
    ],
)
def test_labels_that_do_not_fit(
    labels: object, tmp_path: Path, write_model: Write, metadata: dict[str, str]
) -> None:
    words = refusal(
        write_model(tmp_path / "model.onnx", metadata | {"alexnet_tk.labels": json.dumps(labels)})
    )
    assert "labels" in words


@pytest.mark.parametrize(
    "change",
    [
        {"filter": "sharp"},
        {"resize": "8"},
        {"resize": 7},
        {"resize": -1},
        {"std": [0, 1, 1]},
        {"mean": [1, 2]},
        {"color": None},
    ],
)
def test_preprocessing_that_can_not_be(
    change: dict[str, object], tmp_path: Path, write_model: Write, metadata: dict[str, str]
) -> None:
    preprocess = json.loads(metadata["alexnet_tk.preprocess"]) | change
    changed = metadata | {"alexnet_tk.preprocess": json.dumps(preprocess)}
    assert next(iter(change)) in refusal(write_model(tmp_path / "model.onnx", changed))


@pytest.mark.parametrize("value", [None, 5, "text", []])
@pytest.mark.parametrize("key", ["preprocess", "network"])
def test_tables_that_are_none(
    key: str, value: object, tmp_path: Path, write_model: Write, metadata: dict[str, str]
) -> None:
    changed = metadata | {f"alexnet_tk.{key}": json.dumps(value)}
    assert "metadata" in refusal(write_model(tmp_path / "model.onnx", changed))


def test_an_input_of_another_size(tmp_path: Path, write_model: Write, metadata: dict[str, str]) -> None:
    assert "(batch, 8, 8, 3)" in refusal(write_model(tmp_path / "model.onnx", metadata, side=9))


def test_an_input_that_is_not_uint8(tmp_path: Path, write_model: Write, metadata: dict[str, str]) -> None:
    """Else the first picture would end the run in the runtime's own words."""
    words = refusal(write_model(tmp_path / "model.onnx", metadata, input_type=TensorProto.FLOAT))
    assert "uint8" in words


def test_weights_outside_of_the_folder_are_not_read(
    tmp_path: Path, model_file: Path, metadata: dict[str, str]
) -> None:
    """A file may keep weights beside itself; a path that leads out of its folder is an error."""
    (tmp_path / "secret").write_bytes(b"\0" * 1000)
    (tmp_path / "models").mkdir()
    for location in ("../secret", str(tmp_path / "secret")):
        model = onnx.load(model_file)
        weights = next(each for each in model.graph.initializer if each.name == "weights")
        weights.ClearField("raw_data")
        weights.data_location = TensorProto.EXTERNAL
        weights.external_data.add(key="location", value=location)
        path = tmp_path / "models" / "model.onnx"
        path.write_bytes(model.SerializeToString())
        assert "can't be opened" in refusal(path, ("cpu",))
        assert "outside the base directory" in refusal(path, ("openvino",))


def test_an_operator_set_of_the_future(tmp_path: Path, model_file: Path) -> None:
    model = onnx.load(model_file)
    model.opset_import[0].version = 9999
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    assert "opset" in refusal(path, ("cpu",)).lower()


def test_a_format_of_the_future(tmp_path: Path, model_file: Path) -> None:
    model = onnx.load(model_file)
    model.ir_version = 9999
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    assert "ir version" in refusal(path, ("cpu",)).lower()


def test_an_input_that_the_metadata_calls_float_and_is_not(
    tmp_path: Path, write_model: Write, metadata: dict[str, str]
) -> None:
    preprocess = json.loads(metadata["alexnet_tk.preprocess"]) | {"in_graph": []}
    changed = metadata | {"alexnet_tk.preprocess": json.dumps(preprocess)}
    assert "tensor(float) (batch, 3, 8, 8)" in refusal(write_model(tmp_path / "model.onnx", changed))


def test_a_mean_that_is_no_number(tmp_path: Path, write_model: Write, metadata: dict[str, str]) -> None:
    preprocess = json.loads(metadata["alexnet_tk.preprocess"]) | {"mean": "dataset"}
    changed = metadata | {"alexnet_tk.preprocess": json.dumps(preprocess)}
    assert "mean" in refusal(write_model(tmp_path / "model.onnx", changed))


class Failing:
    """A session that fails with these words."""

    def __init__(self, words: str) -> None:
        self.words = words

    def run(self, outputs: list[str], inputs: dict[str, Any], /) -> Any:
        raise RuntimeError(self.words)


@pytest.mark.parametrize(
    "words",
    [
        "Failed to allocate memory for requested buffer of size 2359296",
        "CUDNN failure 4: CUDNN_STATUS_ALLOC_FAILED ; GPU=0 ; hostname=h ; file=f ; line=9",
        "CUDA failure 2: out of memory ; GPU=0 ; hostname=h",
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0",
        "CUDA out of memory. Tried to allocate 2.00 GiB.",
    ],
)
def test_without_memory_the_error_names_the_size_to_try(words: str, model_file: Path) -> None:
    model = replace(
        open_model(model_file, "cpu"), session=Failing(words), device=Device("cuda:1", "asked for")
    )
    pictures = np.zeros((128, 8, 8, 3), np.uint8)
    with pytest.raises(ModelError) as caught:
        model.run(pictures)
    assert str(caught.value) == ("cuda:1 has no memory left for 128 pictures at once; try --batch-size 64")
    with pytest.raises(ModelError, match="for 1 picture at once; `nvidia-smi` lists"):
        model.run(pictures[:1])
    with pytest.raises(ModelError, match="for 4 pictures at once; `nvidia-smi` lists"):
        replace(model, batch=4).run(pictures)


def test_another_failure_is_told_in_its_first_line(model_file: Path) -> None:
    model = replace(
        open_model(model_file, "cpu"), session=Failing("an illegal memory access ; GPU=0\nand so on")
    )
    with pytest.raises(ModelError, match="2 pictures on cpu: an illegal memory access; `alexnet-tk doctor`"):
        model.run(np.zeros((2, 8, 8, 3), np.uint8))
