"""Exported files: their nodes, their metadata, their answers."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from onnxruntime.quantization import QuantType, quantize_dynamic

from alexnet_tk import zoo
from alexnet_tk.errors import CheckpointError, ExportError, OutputError
from alexnet_tk.exporting import export, verification
from alexnet_tk.inference.model import open_model
from alexnet_tk.network.alexnet import AlexNet
from alexnet_tk.recipe import Recipe
from alexnet_tk.training.checkpoint import Checkpoint
from alexnet_tk.training.statistics import Statistics
from tests.exporting.lrn import LRN

Make = Callable[..., Checkpoint]


def test_the_graph_has_the_networks_nodes(tmp_path: Path, make: Make) -> None:
    make(tmp_path / "model.pt")
    export(tmp_path / "model.pt")
    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(tmp_path / "model.onnx", full_check=True)
    kinds = [node.op_type for node in model.graph.node]
    assert {kind: kinds.count(kind) for kind in ("LRN", "Conv", "Gemm", "MaxPool", "Softmax")} == {
        "LRN": 2,
        "Conv": 5,
        "Gemm": 3,
        "MaxPool": 3,
        "Softmax": 1,
    }
    assert not {"AveragePool", "Pow", "Pad"} & set(kinds)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 18)]
    (image,), (probabilities,) = model.graph.input, model.graph.output
    shapes = [
        [dim.dim_param or dim.dim_value for dim in each.type.tensor_type.shape.dim]
        for each in (image, probabilities)
    ]
    assert shapes == [["batch", 40, 40, 3], ["batch", 7]]
    assert (image.name, probabilities.name) == ("image", "probabilities")
    assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert str(tmp_path) not in str(model.graph.node)
    assert "alexnet_tk/network" not in str(model)


@pytest.mark.parametrize(
    ("settings", "alpha"),
    [
        (("network.lrn.size=5", "network.lrn.alpha=0.02"), 0.1),
        (("network.lrn.size=3", "network.lrn.alpha=0.02", "network.lrn.convention=divided"), 0.02),
    ],
)
def test_the_attributes_follow_onnxs_convention(
    tmp_path: Path, make: Make, settings: tuple[str, ...], alpha: float
) -> None:
    """ONNX divides alpha by size, so the paper's alpha is multiplied by it and a divided one is unchanged."""
    checkpoint = make(tmp_path / "model.pt", *settings)
    export(tmp_path / "model.pt")
    nodes = [node for node in onnx.load(tmp_path / "model.onnx").graph.node if node.op_type == "LRN"]
    for node in nodes:
        attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        assert attributes == {
            "alpha": pytest.approx(alpha),
            "beta": 0.75,
            "bias": 2.0,
            "size": checkpoint.recipe.network.lrn.size,
        }


VARIANTS = [
    (),
    ("network.order=lrn-pool", "network.lrn.alpha=0.05"),
    ("network.lrn.across_towers=true", "network.lrn.convention=divided", "network.lrn.alpha=0.05"),
    ("network.towers=1",),
    ("network.towers=4", "network.lrn.alpha=0.05"),
    ("network.lrn.enabled=false",),
    ("network.lrn.alpha=0",),
    ("network.pool_ceil=true", "network.pool_kernel=2"),
    (
        'network.c1.then=["lrn", "pool", "relu"]',
        'network.c2.then=["relu", "lrn", "spatial", "pool"]',
        "network.c1.padding=0",
        "network.c1.padding_after=3",
        "network.spatial.alpha=0.1",
        "network.lrn.alpha=0.05",
        "network.dropout_scale=prediction",
        "preprocess.mean=picture",
    ),
    ("network.talk=false", "network.lrn.alpha=0.05"),
    ("preprocess.channel_order=BGR", "preprocess.mean=[123,117,104]"),
]


@pytest.mark.parametrize("settings", VARIANTS, ids=lambda each: " ".join(each) or "default")
def test_every_variant_answers_as_torch_does(tmp_path: Path, make: Make, settings: tuple[str, ...]) -> None:
    checkpoint = make(tmp_path / "model.pt", *settings)
    assert export(tmp_path / "model.pt").largest_difference <= 1e-5
    pictures = np.random.default_rng(0).integers(0, 256, (9, 40, 40, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = checkpoint.classifier()(torch.from_numpy(pictures)).numpy()
    assert expected.std() > 1e-3, "equal answers would prove nothing"
    session = ort.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for batch in (1, 2, 9):
        (answers,) = session.run(None, {"image": pictures[:batch]})
        np.testing.assert_allclose(answers, expected[:batch], atol=1e-5)


@pytest.mark.parametrize("setting", ["network.lrn.alpha=0", "network.lrn.beta=0"])
def test_a_constant_divisor_needs_no_lrn_node_which_cuda_would_refuse(
    tmp_path: Path, make: Make, setting: str
) -> None:
    make(tmp_path / "model.pt", setting)
    export(tmp_path / "model.pt")  # and ONNX Runtime and torch agree, or it raises
    kinds = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert (kinds.count("LRN"), kinds.count("Conv")) == (0, 5)


def test_onnxs_reference_evaluator_agrees(tmp_path: Path, make: Make) -> None:
    checkpoint = make(tmp_path / "model.pt", "network.lrn.alpha=0.05")
    export(tmp_path / "model.pt")
    pictures = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)
    answers: Any
    (answers,) = ReferenceEvaluator(onnx.load(tmp_path / "model.onnx"), new_ops=[LRN]).run(
        None, {"image": pictures}
    )
    with torch.inference_mode():
        expected = checkpoint.classifier()(torch.from_numpy(pictures)).numpy()
    np.testing.assert_allclose(answers, expected, atol=1e-5)


def test_weights_have_no_shapes_written_down_beside_their_own(tmp_path: Path, make: Make) -> None:
    """ONNX Runtime's quantize_dynamic takes such shapes for those of the weights that it has changed."""
    make(tmp_path / "model.pt")
    export(tmp_path / "model.pt")
    for path in (tmp_path / "model.onnx", zoo.default_model()):
        graph = onnx.load(path).graph
        assert not {each.name for each in graph.value_info} & {each.name for each in graph.initializer}
        quantize_dynamic(path, tmp_path / "small.onnx", weight_type=QuantType.QUInt8)
        ort.InferenceSession(tmp_path / "small.onnx", providers=["CPUExecutionProvider"])


def test_the_metadata_is_complete(tmp_path: Path, make: Make) -> None:
    checkpoint = make(tmp_path / "model.pt")
    export(tmp_path / "model.pt", tmp_path / "other.onnx")
    model = onnx.load(tmp_path / "other.onnx")
    metadata = {each.key: json.loads(each.value) for each in model.metadata_props}
    assert metadata["alexnet_tk.labels"] == checkpoint.labels
    assert metadata["alexnet_tk.network"] == checkpoint.recipe.to_dict()["network"]
    assert metadata["alexnet_tk.precision"] == "fp32"
    assert metadata["alexnet_tk.preprocess"]["mean"] == [110, 120, 130]
    assert (metadata["alexnet_tk.preprocess"]["resize"], metadata["alexnet_tk.preprocess"]["crop"]) == (
        44,
        40,
    )
    assert metadata["alexnet_tk.verification"]["pictures"] == 32
    assert metadata["alexnet_tk.verification"]["batch_sizes"] == [1, 32]
    assert metadata["alexnet_tk.verification"]["top1_agreement"] == 1
    assert len(metadata["alexnet_tk.checkpoint_sha256"]) == 64
    opened = open_model(tmp_path / "other.onnx", "cpu")
    assert opened.labels == checkpoint.labels
    assert (opened.preprocess.resize, opened.image_size) == (44, 40)


def test_a_file_with_other_answers_is_not_written(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tolerance is set below the difference that rounding causes."""
    make(tmp_path / "model.pt")
    tolerance = replace(verification.TOLERANCES["fp32"], max_difference=-1.0)
    monkeypatch.setitem(verification.TOLERANCES, "fp32", tolerance)
    with pytest.raises(ExportError, match="nothing was written"):
        export(tmp_path / "model.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_a_file_that_answers_nan_is_not_written(tmp_path: Path, make: Make) -> None:
    checkpoint = make(tmp_path / "model.pt")
    checkpoint.weights["f8.bias"][2] = float("nan")
    checkpoint.save(tmp_path / "model.pt")
    with pytest.raises(ExportError):
        export(tmp_path / "model.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_an_output_that_exists_is_kept(tmp_path: Path, make: Make) -> None:
    make(tmp_path / "model.pt")
    (tmp_path / "model.onnx").write_text("precious")
    with pytest.raises(OutputError, match="--overwrite"):
        export(tmp_path / "model.pt")
    assert (tmp_path / "model.onnx").read_text() == "precious"
    verification = export(str(tmp_path / "model.pt"), str(tmp_path / "model.onnx"), overwrite=True)
    assert open_model(tmp_path / "model.onnx", "cpu").labels[0] == "label 0"
    assert "32 generated pictures at batch sizes 1 and 32: largest difference" in str(verification)


def test_no_checkpoint_no_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        export(tmp_path / "model.pt")
    with pytest.raises(CheckpointError):
        export(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_full_network(tmp_path: Path) -> None:
    """The file of 244 MB has two LRN nodes with the paper's constants and answers as torch does."""
    recipe = Recipe().override("network.init=he", "preprocess.std=[58,57,57]")
    net = AlexNet(recipe.network, 1000)
    net.initialise(0)
    statistics = Statistics.from_lists([123, 117, 104], [1, 2, 3], [[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    labels = [str(i) for i in range(1000)]
    Checkpoint(recipe, labels, statistics, net.state_dict()).save(tmp_path / "model.pt")
    found = export(tmp_path / "model.pt", features=True)
    assert found.largest_difference <= 1e-5
    assert found.feature_difference is not None
    assert found.feature_difference <= 1e-5
    nodes = [node for node in onnx.load(tmp_path / "model.onnx").graph.node if node.op_type == "LRN"]
    values = [{each.name: onnx.helper.get_attribute_value(each) for each in node.attribute} for node in nodes]
    assert values == [{"alpha": pytest.approx(5e-4), "beta": 0.75, "bias": 2.0, "size": 5}] * 2
