"""Classifiers that other tools made: what they take is recognised, what they do not say is asked for."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from alexnet_tk.errors import AlexnetError, InputError, ModelError, RecipeError, UsageError
from alexnet_tk.inference import Classifier
from alexnet_tk.inference.other_models import read_labels, read_preprocess
from alexnet_tk.zoo import built_in_model

LABELS = ["first", "second", "third"]
SIDE = 8
TOML = f'resize = {SIDE}\nmean = [100, 110, 120]\nstd = [50, 60, 70]\ncolor = "BGR"\n'
TYPES = {"uint8": TensorProto.UINT8, "float": TensorProto.FLOAT, "float16": TensorProto.FLOAT16}


def write(
    path: Path,
    kind: str = "float",
    layout: str = "NCHW",
    shape: list[Any] | None = None,
    end: str = "",
    flat: bool = True,
) -> Path:
    """A network whose scores are the means of its input's three channels, as far as it sees channels."""
    axes = [2, 3] if layout == "NCHW" else [1, 2]
    side: list[Any] = ["batch", 3, SIDE, SIDE] if layout == "NCHW" else ["batch", SIDE, SIDE, 3]
    nodes = [
        helper.make_node("Cast", ["data_0"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["means"], keepdims=0 if flat else 1),
    ]
    if end:
        nodes.append(helper.make_node(end, ["means"], ["prob_1"]))
    output = nodes[-1].output[0]
    graph = helper.make_graph(
        nodes,
        "other",
        [helper.make_tensor_value_info("data_0", TYPES[kind], shape or side)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(axes, dtype=np.int64), "axes")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def expected(pixels: np.ndarray, kind: str) -> dict[str, float]:
    """The probabilities by hand: channel means in the order blue, green, red."""
    means = pixels.astype(np.float64).mean(axis=(0, 1))
    if kind != "uint8":
        means = (means - [100, 110, 120]) / [50, 60, 70]
    powers = np.exp(means[::-1] - means.max())
    return dict(zip(LABELS, powers / powers.sum(), strict=True))


@pytest.fixture
def preprocess(tmp_path: Path) -> str:
    (tmp_path / "other.toml").write_text(TOML)
    return str(tmp_path / "other.toml")


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(2).integers(90, 96, (SIDE, SIDE, 3), dtype=np.uint8)


@pytest.mark.parametrize("end", ["Softmax", ""])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("kind", ["uint8", "float", "float16"])
def test_every_usual_input_is_recognised(
    tmp_path: Path, preprocess: str, pixels: np.ndarray, kind: str, layout: str, end: str
) -> None:
    path = write(tmp_path / "m.onnx", kind, layout, end=end)
    classifier = Classifier(path, "cpu", labels=LABELS, preprocess=preprocess)
    (record,) = classifier.classify([pixels], topk=3)
    assert sum(record.probabilities) == pytest.approx(1)
    want = expected(pixels, kind)
    tolerance = 5e-3 if kind == "float16" else 1e-5
    assert dict(zip(record.labels, record.probabilities, strict=True)) == pytest.approx(want, abs=tolerance)
    assert record.labels[0] == max(want, key=lambda label: want[label])


def test_a_single_batch_size_and_extra_dimensions(
    tmp_path: Path, preprocess: str, pixels: np.ndarray
) -> None:
    path = write(tmp_path / "m.onnx", shape=[2, 3, SIDE, SIDE], flat=False)
    classifier = Classifier(path, "cpu", labels=LABELS, preprocess=preprocess)
    pictures = [pixels, pixels[::-1] // 2, pixels]
    records = list(classifier.classify(pictures, topk=1))
    assert records[0].labels == records[2].labels
    assert records[0].probabilities == records[2].probabilities != records[1].probabilities


def test_the_named_preprocessings_are_those_of_the_zoo(tmp_path: Path) -> None:
    picture = Image.new("RGB", (256, 256), (200, 100, 50))
    for name, mean, std, order in (
        ("imagenet", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), "RGB"),
        ("caffe", (123, 117, 104), (1, 1, 1), "BGR"),
    ):
        path = write(tmp_path / "m.onnx", shape=["n", 3, 224, 224])
        model = Classifier(path, "cpu", labels=LABELS, preprocess=name).model
        scores = model.input.feed(np.asarray(picture)[None, :224, :224]).mean(axis=(0, 2, 3))
        want = (np.array([200, 100, 50]) - mean) / std
        np.testing.assert_allclose(scores, want if order == "RGB" else want[::-1], rtol=1e-4)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (["n", 3, 32, 32], "32×32, and --preprocess imagenet stands for 224×224"),
        (["n", 3, 299, 299], "299×299"),
        (["n", 3, 224, 200], "only squares"),
        (["n", 1, 224, 224], "one input, uint8 or float"),
        (["n", 3], "one input, uint8 or float"),
    ],
)
def test_what_can_not_be_fed_is_told(tmp_path: Path, shape: list[Any], words: str) -> None:
    path = tmp_path / "m.onnx"
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [value],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    with pytest.raises(ModelError, match=words):
        Classifier(path, "cpu", labels=LABELS, preprocess="imagenet")


def test_any_size_takes_the_crop_that_is_said(tmp_path: Path, pixels: np.ndarray) -> None:
    path, toml = write(tmp_path / "m.onnx", shape=["n", 3, "h", "w"]), tmp_path / "p.toml"
    assert Classifier(path, "cpu", labels=LABELS, preprocess="imagenet").model.image_size == 224
    toml.write_text(TOML)
    with pytest.raises(ModelError, match=r"any size; .* crop"):
        Classifier(path, "cpu", labels=LABELS, preprocess=str(toml))
    toml.write_text(f"[preprocess]\n{TOML}crop = 6\n")
    model = Classifier(path, "cpu", labels=LABELS, preprocess=str(toml)).model
    assert model.image_size == 6
    toml.write_text(f"{TOML}crop = 9\n")
    with pytest.raises(ModelError, match="resize of at least 9"):
        Classifier(path, "cpu", labels=LABELS, preprocess=str(toml))


def test_the_number_of_labels_must_fit(tmp_path: Path, preprocess: str) -> None:
    path = write(tmp_path / "m.onnx")
    for labels in (LABELS[:2], [*LABELS, "fourth"], []):
        with pytest.raises(ModelError, match=f"gives 3 numbers .* {len(labels)} labels"):
            Classifier(path, "cpu", labels=labels, preprocess=preprocess)


def test_a_file_of_ours_keeps_its_own(model_file: Path, preprocess: str) -> None:
    with pytest.raises(ModelError, match="its own labels"):
        Classifier(model_file, "cpu", labels=LABELS, preprocess=preprocess)


def test_one_without_the_other(tmp_path: Path, preprocess: str) -> None:
    path = write(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="give --labels FILE and --preprocess"):
        Classifier(path, "cpu")
    with pytest.raises(UsageError, match="go together"):
        Classifier(path, "cpu", labels=LABELS)
    with pytest.raises(UsageError, match="go together"):
        Classifier(path, "cpu", preprocess=preprocess)


def test_labels_are_lines(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_bytes("\ufefftench\r\ngreat white shark, man-eater\r\n\r\nhen\n\n".encode())
    assert read_labels(file) == ["tench", "great white shark, man-eater", "", "hen"]
    for order in ("utf-16-le", "utf-16-be"):
        file.write_bytes("\ufeffschön\r\n猫\r\n".encode(order))
        assert read_labels(file) == ["schön", "猫"]
    file.write_bytes(b"\xff\xfe\x00")  # half a character
    for bad in (file, tmp_path / "gone", tmp_path):
        with pytest.raises(InputError, match="--labels"):
            read_labels(bad)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mean = 3", "mean"),
        ('mean = "dataset"', "no mean"),
        ("resize = 256", "no mean"),
        ("mean = [1, 2, 3]\nsize = 3", "size"),
        ("mean = [1, 2, 3]\ncrop = 1.5", "crop"),
        ("mean = [1, 2, 3]\ncrop = -1", "crop"),
        ("mean = [1, 2, 3]\nstd = [0, 1, 1]", "std"),
        ("preprocess = 3", "preprocess"),
        ("mean =", "not TOML"),
        ("\udcff", "not TOML"),
    ],
)
def test_a_preprocessing_that_makes_no_sense(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "p.toml"
    file.write_text(text, errors="surrogateescape")
    with pytest.raises(RecipeError, match=words):
        read_preprocess(str(file))


def test_a_preprocessing_that_is_not_there(tmp_path: Path) -> None:
    for name in ("imagenette", str(tmp_path), str(tmp_path / "gone.toml")):
        with pytest.raises(AlexnetError, match="imagenet, caffe or a TOML file"):
            read_preprocess(name)


def test_sigmoids_are_left_as_they_are(tmp_path: Path, preprocess: str, pixels: np.ndarray) -> None:
    """Each label has a probability of its own; they need not make 1."""
    path = write(tmp_path / "m.onnx", end="Sigmoid")
    (record,) = Classifier(path, "cpu", labels=LABELS, preprocess=preprocess).classify([pixels], topk=3)
    means = ((pixels.astype(np.float64).mean(axis=(0, 1)) - [100, 110, 120]) / [50, 60, 70])[::-1]
    want = dict(zip(LABELS, 1 / (1 + np.exp(-means)), strict=True))
    assert dict(zip(record.labels, record.probabilities, strict=True)) == pytest.approx(want, abs=1e-5)


def test_what_is_no_tensor_of_numbers_is_refused(tmp_path: Path, preprocess: str) -> None:
    """As scikit-learn's exports give it."""
    model = onnx.load(write(tmp_path / "m.onnx", end="Softmax"))
    output = model.graph.output[0].name
    model.graph.node.append(helper.make_node("SequenceConstruct", [output], ["several"]))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_sequence_value_info("several", TensorProto.FLOAT, None))
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"gives several as seq\(tensor\(float\)\)"):
        Classifier(tmp_path / "m.onnx", "cpu", labels=LABELS, preprocess=preprocess)


def test_a_file_of_labels_may_be_named_by_text(tmp_path: Path, preprocess: str, pixels: np.ndarray) -> None:
    (tmp_path / "labels.txt").write_text("a\u2028b\nc\x0cd\ne", encoding="utf-8")
    path = write(tmp_path / "m.onnx")
    classifier = Classifier(path, "cpu", labels=str(tmp_path / "labels.txt"), preprocess=preprocess)
    assert classifier.labels == ["a\u2028b", "c\x0cd", "e"], "only the ends of lines part them"


def with_outputs(path: Path, outputs: dict[str, int]) -> Path:
    """Constant outputs of these sizes for pictures (1, 3, 8, 8); the first number of each is its place."""
    nodes, values = [helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0)], []
    constants = [numpy_helper.from_array(np.zeros(1, np.float32), "zero")]
    nodes.append(helper.make_node("Mul", ["sum", "zero"], ["nothing"]))
    for place, (name, size) in enumerate(outputs.items()):
        constants.append(numpy_helper.from_array(np.full((1, size), place + 2, np.float32), f"c_{name}"))
        nodes.append(helper.make_node("Add", ["nothing", f"c_{name}"], [name]))
        values.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]))
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    graph = helper.make_graph(nodes, "g", [image], values, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("outputs", "chosen"),
    [
        ({"features": 7, "y": 3}, "y"),
        ({"y": 3, "features": 7}, "y"),
        ({"aux_logits": 3, "logits": 3}, "logits"),
        ({"logits": 3, "probabilities": 3}, "probabilities"),
        ({"aux": 3, "Logits": 3}, "Logits"),
    ],
)
def test_of_several_outputs_the_one_for_the_labels_is_taken(
    tmp_path: Path, preprocess: str, outputs: dict[str, int], chosen: str
) -> None:
    path = with_outputs(tmp_path / "m.onnx", outputs)
    classifier = Classifier(path, labels=["a", "b", "c"], preprocess=preprocess)
    assert classifier.model.output == chosen


@pytest.mark.parametrize("asked", ["aux_logits", "logits"])
def test_the_output_that_is_asked_for_is_taken(tmp_path: Path, preprocess: str, asked: str) -> None:
    path = with_outputs(tmp_path / "m.onnx", {"aux_logits": 3, "logits": 3})
    classifier = Classifier(path, labels=["a", "b", "c"], preprocess=preprocess, outputs=asked)
    assert classifier.model.output == asked
    # An output file that is resumed holds answers of one of them.
    assert classifier.settings != Classifier(path, labels=["a", "b", "c"], preprocess=preprocess).settings


def test_an_output_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path, preprocess: str) -> None:
    path = with_outputs(tmp_path / "m.onnx", {"a": 3, "b": 3})
    with pytest.raises(ModelError, match=r"no output 'c' .* takes one of a tensor.* b tensor"):
        Classifier(path, labels=["a", "b", "c"], preprocess=preprocess, outputs="c")
    with pytest.raises(ModelError, match="gives 3 numbers for a picture, and there are 2 labels"):
        Classifier(path, labels=["a", "b"], preprocess=preprocess, outputs="a")


def test_outputs_are_for_models_from_elsewhere() -> None:
    with pytest.raises(UsageError, match="--labels and --preprocess go together"):
        Classifier(built_in_model(), outputs="probabilities")


def test_outputs_of_which_none_has_a_number_for_each_label(tmp_path: Path, preprocess: str) -> None:
    path = with_outputs(tmp_path / "m.onnx", {"a": 2, "b": 4})
    with pytest.raises(ModelError, match=r"no output of 3 numbers, one for each label: a tensor.* b tensor"):
        Classifier(path, labels=["a", "b", "c"], preprocess=preprocess)


@pytest.mark.parametrize("outputs", [{"a": 3, "b": 3}])
def test_several_outputs_that_are_not_clear_are_listed(
    tmp_path: Path, preprocess: str, outputs: dict[str, int]
) -> None:
    path = with_outputs(tmp_path / "m.onnx", outputs)
    with pytest.raises(ModelError, match=r"has 2 outputs, a tensor\(float\) .* b tensor\(float\)"):
        Classifier(path, labels=["a", "b", "c"], preprocess=preprocess)


def test_probabilities_stay_as_they_are_where_a_blank_picture_has_none(
    tmp_path: Path, preprocess: str, pixels: np.ndarray
) -> None:
    """A network that divides a picture by its deviation gives no number for a black one."""
    nodes = [
        helper.make_node("ReduceMax", ["data_0"], ["most"], keepdims=0),
        helper.make_node("ReduceMin", ["data_0"], ["least"], keepdims=0),
        helper.make_node("Sub", ["most", "least"], ["range"]),
        helper.make_node("ReduceMean", ["data_0", "axes"], ["means"], keepdims=0),
        helper.make_node("Softmax", ["means"], ["shares"]),
        helper.make_node("Mul", ["shares", "range"], ["scaled"]),
        helper.make_node("Div", ["scaled", "range"], ["prob"]),
    ]
    graph = helper.make_graph(
        nodes,
        "other",
        [helper.make_tensor_value_info("data_0", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("prob", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array([2, 3], dtype=np.int64), "axes")],
    )
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    toml = tmp_path / "plain.toml"
    toml.write_text(f"resize = {SIDE}\nmean = [0, 0, 0]\n")
    (record,) = Classifier(path, "cpu", labels=LABELS, preprocess=str(toml)).classify([pixels], topk=3)
    means = pixels.astype(np.float64).mean(axis=(0, 1))
    powers = np.exp(means - means.max())
    answered = dict(zip(record.labels, record.probabilities, strict=True))
    for label, share in zip(LABELS, powers / powers.sum(), strict=True):
        assert answered[label] == pytest.approx(share, abs=1e-4)
