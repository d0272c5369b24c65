"""Every precision, translation of LRN and input: the graph, and the answers in several runtimes."""

import json
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

from alexnet_tk import images, sample
from alexnet_tk.description import first_kernels
from alexnet_tk.errors import ExportError, InputError, UsageError
from alexnet_tk.exporting import export, verification
from alexnet_tk.exporting.graph import Variant
from alexnet_tk.inference import Classifier
from alexnet_tk.inference.model import open_model
from alexnet_tk.preprocess import Square
from alexnet_tk.training.checkpoint import Checkpoint
from tests.exporting.lrn import LRN

Make = Callable[..., Checkpoint]

# Every pair of choices occurs in one of them.
VARIANTS = [
    Variant(),
    Variant("fp32", "decomposed", "float"),
    Variant("fp16", "native", "float"),
    Variant("fp16", "decomposed"),
    Variant("int8", "native", "float"),
    Variant("int8", "decomposed"),
]
LRNS: tuple[Any, ...] = ("native", "decomposed")
SQUARE = Square(100, 96, "bilinear")  # of fashion-mini
# The largest difference of a probability from the network in float32.
CLOSE = {"fp32": 1e-5, "fp16": 4e-3, "int8": 0.15}


@pytest.fixture(scope="module")
def files(fashion_mini: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Variant, Path]:
    """The trained network in every variant."""
    folder = tmp_path_factory.mktemp("variants")
    for i, variant in enumerate(VARIANTS):
        export(fashion_mini, folder / f"{i}.onnx", **asdict(variant))
    return {variant: folder / f"{i}.onnx" for i, variant in enumerate(VARIANTS)}


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.uint8]:
    """Coloured pictures, which reveal swapped channels: uint8 (9, 96, 96, 3)."""
    random = np.random.default_rng(0)
    grey, _ = sample.pictures("val")
    tinted = [(each[:, :, None] * random.uniform(0.3, 1, 3)).astype(np.uint8) for each in grey[:9]]
    return np.stack([images.load(each, SQUARE) for each in tinted])


@pytest.fixture(scope="module")
def expected(fashion_mini: Path, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The answers of torch in float32."""
    with torch.inference_mode():
        answers: NDArray[np.float32] = (
            Checkpoint.load(fashion_mini).classifier()(torch.from_numpy(pictures)).numpy()
        )
    return answers


def feed(variant: Variant, pictures: NDArray[np.uint8]) -> NDArray[Any]:
    """The input of a file, with the preprocessing of fashion-mini written out."""
    if variant.input == "uint8":
        return pictures
    mean = sample.pictures("train")[0].mean()
    floats: NDArray[np.float32] = (pictures.astype(np.float32) - np.float32(mean)) / np.float32(90)
    return floats.transpose(0, 3, 1, 2)


def named(variant: Variant) -> str:
    return f"{variant.precision}-{variant.lrn}-{variant.input}"


@pytest.mark.parametrize("variant", VARIANTS, ids=named)
class TestEveryVariant:
    def test_our_own_reader_answers_as_torch_does(
        self, variant: Variant, files: Any, pictures: NDArray[np.uint8], expected: NDArray[np.float32]
    ) -> None:
        model = open_model(files[variant], "cpu")
        assert (model.input.type, model.batch) == (f"tensor({variant.input})", None)
        np.testing.assert_allclose(model.run(pictures), expected, atol=CLOSE[variant.precision])
        np.testing.assert_allclose(model.run(pictures[:1]), expected[:1], atol=CLOSE[variant.precision])

    def test_openvino_agrees(
        self,
        variant: Variant,
        files: Any,
        pictures: NDArray[np.uint8],
        expected: NDArray[np.float32],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        pytest.importorskip("openvino", exc_type=ImportError)
        model, onnx_runtime = (open_model(files[variant], device) for device in ("openvino", "cpu"))
        assert (model.device.name, model.device.arithmetic) == ("openvino", "exact")
        assert (model.input, model.batch, model.labels) == (onnx_runtime.input, None, onnx_runtime.labels)
        for some in (pictures, pictures[:2]):
            answers = model.run(some)
            np.testing.assert_allclose(answers, expected[: len(some)], atol=CLOSE[variant.precision])
            if variant.precision == "fp32":
                np.testing.assert_allclose(answers, onnx_runtime.run(some), atol=1e-5)
        monkeypatch.setattr("alexnet_tk.inference.openvino_session.SMALLEST", 0)
        assert open_model(files[variant]).device.name in ("openvino", "cuda:0")
        if variant.precision == "int8":
            assert open_model(files[variant], "openvino", "fast").device.arithmetic == "exact"

    def test_opencv_agrees(
        self, variant: Variant, files: Any, pictures: NDArray[np.uint8], expected: NDArray[np.float32]
    ) -> None:
        cv2 = pytest.importorskip("cv2", exc_type=ImportError)
        network = cv2.dnn.readNetFromONNX(str(files[variant]))
        for some in (pictures, pictures[:2]):
            network.setInput(feed(variant, some))
            np.testing.assert_allclose(
                network.forward(), expected[: len(some)], atol=CLOSE[variant.precision]
            )

    def test_cuda_has_a_kernel_for_every_node(self, variant: Variant, files: Any) -> None:
        """By rule, without a GPU: 32-bit integers to floats have none, and shapes go to the CPU."""
        graph = onnx.load(files[variant]).graph
        integers = {each.name for each in graph.initializer if each.data_type == onnx.TensorProto.INT32}
        refused = [
            node
            for node in graph.node
            if node.op_type == "Shape" or (node.op_type == "DequantizeLinear" and node.input[0] in integers)
        ]
        assert bool(refused) == (variant.precision == "int8")

    def test_the_file_says_what_it_is(self, variant: Variant, files: Any) -> None:
        model = onnx.load(files[variant])
        onnx.checker.check_model(model, full_check=True)
        kinds = [node.op_type for node in model.graph.node]
        assert kinds.count("LRN") == (2 if variant.lrn == "native" else 0)
        assert kinds.count("Conv") == (5 if variant.lrn == "native" else 7)
        assert model.producer_name == "alexnet-tk"
        metadata = {
            each.key: json.loads(each.value)
            for each in model.metadata_props
            if each.key.startswith("alexnet_tk.")
        }
        assert metadata["alexnet_tk.precision"] == variant.precision
        assert metadata["alexnet_tk.lrn"] == variant.lrn
        assert bool(metadata["alexnet_tk.preprocess"]["in_graph"]) == (variant.input == "uint8")
        assert bool(metadata["alexnet_tk.calibration"]) == (variant.precision == "int8")
        assert str(files[variant].parent) not in str(model.metadata_props)
        (image,), (probabilities,) = model.graph.input, model.graph.output
        types = [each.type.tensor_type.elem_type for each in (image, probabilities)]
        assert types == [2 if variant.input == "uint8" else 1, 1]


@pytest.mark.parametrize("variant", VARIANTS[:4], ids=named)
def test_onnxs_reference_evaluator_agrees(
    variant: Variant, files: Any, pictures: NDArray[np.uint8], expected: NDArray[np.float32]
) -> None:
    answers: Any
    evaluator = ReferenceEvaluator(onnx.load(files[variant]), new_ops=[LRN])
    (answers,) = evaluator.run(None, {"image": feed(variant, pictures[:2])})
    np.testing.assert_allclose(answers, expected[:2], atol=CLOSE[variant.precision])


def test_sizes(files: Any) -> None:
    whole = files[Variant()].stat().st_size
    for variant in VARIANTS:
        most = {"fp32": 1.01, "fp16": 0.51, "int8": 0.27}[variant.precision]
        assert files[variant].stat().st_size < most * whole


def test_the_first_kernels_are_found_in_every_variant(files: Any) -> None:
    whole = first_kernels(files[Variant()])
    for variant in VARIANTS:
        close = np.abs(whole).max() * {"fp32": 0, "fp16": 1e-3, "int8": 1 / 100}[variant.precision]
        np.testing.assert_allclose(first_kernels(files[variant]), whole, atol=close)


def test_int8_loses_little_accuracy(files: Any) -> None:
    """On the built-in pictures 98 % of the answers stay and at most a point of accuracy is lost."""
    grey, classes = sample.pictures("val")
    pixels = np.stack([images.load(each, SQUARE) for each in grey])
    whole, *small = (
        open_model(files[variant], "cpu").run(pixels).argmax(axis=1)
        for variant in VARIANTS[::4] + VARIANTS[5:]
    )
    assert (whole == classes).mean() > 0.85
    assert len(small) == 2
    for answers in small:
        assert (whole == answers).mean() >= 0.98
        assert (answers == classes).mean() >= (whole == classes).mean() - 0.01


def test_int8_in_openvino_agrees_with_onnx_runtime(files: Any) -> None:
    """In 99.5 % of the labels of the built-in pictures."""
    pytest.importorskip("openvino", exc_type=ImportError)
    grey, _ = sample.pictures("val")
    pixels = np.stack([images.load(each, SQUARE) for each in grey])
    for variant in VARIANTS[4:]:
        labels = [
            open_model(files[variant], device).run(pixels).argmax(axis=1) for device in ("cpu", "openvino")
        ]
        assert (labels[0] == labels[1]).mean() >= 0.995


def test_half_precision_bears_activations_of_a_thousand(tmp_path: Path, make: Make) -> None:
    """Their squares overflow it, so LRN must be float32, which an evaluator that keeps all types shows."""
    checkpoint = make(tmp_path / "model.pt", "preprocess.std=[1,1,1]", "network.lrn.alpha=0.001")
    checkpoint.weights["c1.weight"] *= 8
    checkpoint.weights["c2.weight"] *= 8
    checkpoint.save(tmp_path / "model.pt")
    pictures = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)
    classifier = checkpoint.classifier()
    largest = verification.record_peaks(classifier.alexnet)
    with torch.inference_mode():
        expected = classifier(torch.from_numpy(pictures)).numpy()
    assert largest["c1"] > 1000
    for lrn in LRNS:
        path = tmp_path / f"{lrn}.onnx"
        export(tmp_path / "model.pt", path, precision="fp16", lrn=lrn)
        answers: Any
        (answers,) = ReferenceEvaluator(onnx.load(path), new_ops=[LRN]).run(None, {"image": pictures})
        np.testing.assert_allclose(answers, expected, atol=0.02)
        np.testing.assert_allclose(open_model(path, "cpu").run(pictures), expected, atol=0.02)


def test_half_precision_that_overflows_is_refused(tmp_path: Path, make: Make) -> None:
    checkpoint = make(tmp_path / "model.pt")
    checkpoint.weights["f6.weight"] *= 1e6
    checkpoint.save(tmp_path / "model.pt")
    with pytest.raises(ExportError, match=r"f6 reaches .* --precision fp32"):
        export(tmp_path / "model.pt", precision="fp16")
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize(("beta", "across"), [(0.75, "true"), (0.6, "false")])
def test_decomposed_and_native_agree(tmp_path: Path, make: Make, beta: float, across: str) -> None:
    """A large alpha makes the sums matter; only beta = 0.75 is computed by square roots."""
    settings = (f"network.lrn.beta={beta}", f"network.lrn.across_towers={across}", "network.lrn.alpha=0.05")
    make(tmp_path / "model.pt", *settings)
    pictures = np.random.default_rng(0).integers(0, 256, (5, 40, 40, 3), dtype=np.uint8)
    answers = []
    for lrn in LRNS:
        export(tmp_path / "model.pt", tmp_path / f"{lrn}.onnx", lrn=lrn)
        answers.append(open_model(tmp_path / f"{lrn}.onnx", "cpu").run(pictures))
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-5)
    assert answers[0].std() > 1e-3


def test_a_float_input_wants_the_channels_in_the_networks_order(tmp_path: Path, make: Make) -> None:
    checkpoint = make(tmp_path / "model.pt", "preprocess.channel_order=BGR", "preprocess.mean=[123,117,104]")
    export(tmp_path / "model.pt", input="float")
    pictures = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = checkpoint.classifier()(torch.from_numpy(pictures)).numpy()
    model = open_model(tmp_path / "model.onnx", "cpu")
    np.testing.assert_allclose(model.run(pictures), expected, atol=1e-5)
    # By hand: blue, green, red; minus the mean; divided by the deviation; channels first.
    blue_first = (pictures[..., ::-1] - np.array([104.0, 117, 123])) / np.array([11.0, 10, 9])
    (answers,) = model.session.run(
        ["probabilities"], {"image": blue_first.transpose(0, 3, 1, 2).astype(np.float32)}
    )
    np.testing.assert_allclose(answers, expected, atol=1e-5)


class TestVerificationPictures:
    def test_a_folder(self, fashion_mini: Path, tmp_path: Path) -> None:
        sample.write_pictures(tmp_path / "all")
        (tmp_path / "all" / "Bag").rename(tmp_path / "some pictures")
        for path in sorted((tmp_path / "some pictures").iterdir())[32:]:
            path.unlink()
        (tmp_path / "some pictures" / "0003.png").write_bytes(b"rubbish")
        found = export(fashion_mini, tmp_path / "a.onnx", verify_on=tmp_path / "some pictures")
        assert (found.source, found.pictures) == ("pictures of the folder some pictures", 31)

    def test_other_classes_are_verified_on_generated_pictures(self, tmp_path: Path, make: Make) -> None:
        make(tmp_path / "model.pt")
        assert export(tmp_path / "model.pt").source == "generated pictures"

    def test_a_folder_without_pictures(self, fashion_mini: Path, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(InputError, match="empty"):
            export(fashion_mini, tmp_path / "a.onnx", verify_on=tmp_path / "empty")
        with pytest.raises(InputError, match="missing"):
            export(fashion_mini, tmp_path / "a.onnx", verify_on=tmp_path / "missing")
        (tmp_path / "empty" / "x.png").write_bytes(b"rubbish")
        with pytest.raises(InputError, match=r"x\.png: not a picture"):
            export(fashion_mini, tmp_path / "a.onnx", verify_on=tmp_path / "empty")
        assert not (tmp_path / "a.onnx").exists()

    def test_int8_for_other_classes_needs_pictures(self, tmp_path: Path, make: Make) -> None:
        make(tmp_path / "model.pt")
        with pytest.raises(UsageError, match="--calibrate DIR"):
            export(tmp_path / "model.pt", precision="int8")

    def test_calibration_is_for_int8(self, fashion_mini: Path, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="--precision int8"):
            export(fashion_mini, tmp_path / "a.onnx", calibrate=tmp_path)

    def test_calibrated_on_a_folder(self, fashion_mini: Path, tmp_path: Path) -> None:
        sample.write_pictures(tmp_path / "mine")
        found = export(fashion_mini, tmp_path / "a.onnx", precision="int8", calibrate=tmp_path / "mine")
        assert (found.pictures, found.source) == (1000, "pictures of the folder mine")
        metadata = open_model(tmp_path / "a.onnx", "cpu").metadata
        assert metadata["calibration"] == {"pictures": 200, "source": "pictures of the folder mine"}


@pytest.mark.parametrize(
    ("precision", "advice"), [("int8", "--calibrate DIR.*--precision fp16"), ("fp16", "--precision fp32")]
)
def test_answers_that_change_too_often_are_refused(
    fashion_mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: Any, advice: str
) -> None:
    monkeypatch.setitem(
        verification.TOLERANCES,
        precision,
        replace(verification.TOLERANCES[precision], min_top1_agreement=1.01),
    )
    with pytest.raises(ExportError, match=advice):
        export(fashion_mini, tmp_path / "a.onnx", precision=precision)
    assert list(tmp_path.iterdir()) == []


def test_a_weight_that_is_changed_is_noticed(
    fashion_mini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file itself is compared: if one number in it is wrong, nothing is written."""
    check = onnx.checker.check_model

    def tamper(path: Path, full_check: bool) -> None:
        check(path, full_check=full_check)
        model = onnx.load(path)
        (bias,) = (each for each in model.graph.initializer if each.name == "alexnet.f8.bias")
        values = onnx.numpy_helper.to_array(bias).copy()
        values[3] += 1
        bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
        onnx.save(model, path)

    monkeypatch.setattr(onnx.checker, "check_model", tamper)
    with pytest.raises(ExportError, match="differ"):
        export(fashion_mini, tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_fixed_batch_is_honoured(fashion_mini: Path, tmp_path: Path) -> None:
    """A file with a fixed batch of 4 answers all pictures as the file with a free batch does."""
    export(fashion_mini, tmp_path / "any.onnx")
    model = onnx.load(tmp_path / "any.onnx")
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 4
    del model.graph.value_info[:]
    onnx.save(model, tmp_path / "four.onnx")
    assert open_model(tmp_path / "four.onnx", "cpu").batch == 4
    sample.write_pictures(tmp_path / "images")
    paths = [str(path) for path in sorted((tmp_path / "images").rglob("*.png"))[:11]]
    for batch_size in (None, 1, 3, 32):
        one, other = (
            list(Classifier(tmp_path / name, "cpu").classify(paths, 3, batch_size=batch_size))
            for name in ("any.onnx", "four.onnx")
        )
        assert [each.labels for each in one] == [each.labels for each in other]
        np.testing.assert_allclose(
            [each.probabilities for each in one], [each.probabilities for each in other], atol=1e-6
        )
