"""Files of the public weights' structure with random numbers, whose answers must survive the import."""

import argparse
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from torch import nn

from alexnet_tk import zoo
from alexnet_tk.errors import CheckpointError, OutputError
from alexnet_tk.exporting import export
from alexnet_tk.importing import import_weights
from alexnet_tk.importing.torchvision import MODULES, _state_dict
from alexnet_tk.inference.model import open_model
from alexnet_tk.training import train
from alexnet_tk.training.checkpoint import Checkpoint

CHANNELS, HIDDEN, CLASSES = (8, 16, 24, 24, 16), 20, 1000  # the zoo's files have 96 to 256 and 4096
Graph = Callable[..., onnx.ModelProto]


def torchvision_network() -> nn.Sequential:
    """torchvision's AlexNet written out: features, pooling to 6×6, classifier."""
    features = nn.Sequential(
        nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
    )  # fmt: skip
    classifier = nn.Sequential(
        nn.Dropout(), nn.Linear(9216, 4096), nn.ReLU(),
        nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000),
    )  # fmt: skip
    parts: Any = OrderedDict(
        features=features, avgpool=nn.AdaptiveAvgPool2d(6), flat=nn.Flatten(), classifier=classifier
    )
    return nn.Sequential(parts).eval()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy pickle"])
def test_torchvisions_file(tmp_path: Path, zipped: bool) -> None:
    network = torchvision_network()
    assert sum(each.numel() for each in network.parameters()) == 61_100_840
    for layer in network.modules():  # answers that differ
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    source = tmp_path / "alexnet-owt-0.pth"
    torch.save(network.state_dict(), source, _use_new_zipfile_serialization=zipped)
    checkpoint = import_weights(source, tmp_path / "model.pt")
    name = checkpoint.training["network"]
    assert name == "torchvision-alexnet"
    assert checkpoint.recipe == zoo.recipe(name)
    assert (checkpoint.labels[0], checkpoint.label_ids[0]) == ("tench", "n01440764")

    pictures = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    floats = ((pictures / 255 - mean) / std).transpose(0, 3, 1, 2).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(floats)).softmax(dim=1).numpy()
        answers = Checkpoint.load(tmp_path / "model.pt").classifier()(torch.from_numpy(pictures)).numpy()
    assert expected.std() > 1e-3
    np.testing.assert_allclose(answers, expected, atol=1e-5)
    if zipped:  # once is enough: the checkpoint is the same
        export(tmp_path / "model.pt")
        np.testing.assert_allclose(open_model(tmp_path / "model.onnx").run(pictures), expected, atol=1e-5)


@pytest.fixture
def caffe() -> Graph:
    """A function that makes a graph like the model zoo's: pool or LRN first, in an old or a new opset."""

    def make(order: str = "lrn-pool", opset: int = 8, size: int = 104, **changes: Any) -> onnx.ModelProto:
        random = np.random.default_rng(1)
        nodes: list[onnx.NodeProto] = []
        constants: list[onnx.TensorProto] = []
        at = "data_0"

        def weigh(name: str, *shape: int) -> list[str]:
            deviation = np.sqrt(2 / np.prod(shape[1:]))
            for suffix, value in (
                ("w_0", random.normal(0, deviation, shape)),
                ("b_0", random.normal(0, 0.1, shape[0])),
            ):
                constants.append(numpy_helper.from_array(value.astype(np.float32), f"{name}_{suffix}"))
            return [f"{name}_w_0", f"{name}_b_0"]

        def add(kind: str, *inputs: str, **attributes: Any) -> None:
            nonlocal at
            output = f"{kind.lower()}_{len(nodes)}"
            nodes.append(helper.make_node(kind, [at, *inputs], [output], **attributes))
            at = output

        def pool() -> None:
            add("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=changes.get("pads", [0, 0, 1, 1]))

        def norm() -> None:
            add("LRN", size=5, alpha=changes.get("alpha", 1e-4), beta=0.75, bias=1.0)

        before = 3
        for i, (maps, kernel, pad, group) in enumerate(
            zip(CHANNELS, (11, 5, 3, 3, 3), (0, 2, 1, 1, 1), (1, 2, 1, 2, 2), strict=True), 1
        ):
            weights = weigh(f"conv{i}", maps, before // group, kernel, kernel)
            add(
                "Conv", *weights, kernel_shape=[kernel] * 2, strides=[4 if i == 1 else 1] * 2,
                pads=[pad] * 4, group=group,
            )  # fmt: skip
            add("Relu")
            if i <= 2:
                for step in (norm, pool) if order == "lrn-pool" else (pool, norm):
                    step()
            before = maps
        pool()
        last = {104: 3, 224: 6}[size]
        constants.append(numpy_helper.from_array(np.array([-1, CHANNELS[4] * last**2]), "shape"))
        if opset >= 5:
            nodes.append(helper.make_node("Reshape", [at, "shape"], ["flat"]))
        else:
            nodes.append(helper.make_node("Reshape", [at], ["flat"], shape=[-1, CHANNELS[4] * last**2]))
        at, before = "flat", CHANNELS[4] * last**2
        for i, width in ((6, HIDDEN), (7, HIDDEN), (8, changes.get("classes", CLASSES))):
            add("Gemm", *weigh(f"fc{i}", width, before), transB=1, **changes.get("gemm", {}))
            if i < 8:
                add("Relu")
                nodes.append(helper.make_node("Dropout", [at], [f"drop{i}", f"mask{i}"]))
                at = f"drop{i}"
            before = width
        add(*changes.get("last", ("Softmax",)))
        nodes[-1].output[0] = "prob_1"
        image = helper.make_tensor_value_info("data_0", TensorProto.FLOAT, [1, 3, size, size])
        scores = helper.make_tensor_value_info("prob_1", TensorProto.FLOAT, [1, before])
        inputs = [image]
        if opset < 9:  # the old files name their weights among the inputs
            inputs += [
                helper.make_tensor_value_info(each.name, each.data_type, each.dims) for each in constants
            ]
        graph = helper.make_graph(nodes, "net", inputs, [scores], constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=4)

    return make


@pytest.mark.parametrize(("opset", "size"), [(7, 104), (9, 224), (12, 104)])
@pytest.mark.parametrize(("order", "name"), [("lrn-pool", "bvlc-alexnet"), ("pool-lrn", "caffenet")])
def test_the_model_zoos_files(
    tmp_path: Path, caffe: Graph, order: str, name: str, opset: int, size: int
) -> None:
    """alpha is large, so that the sum, its divisor and its crossing of the towers all matter."""
    source = tmp_path / "zoo.onnx"
    onnx.save(caffe(order, opset, size, alpha=0.05), source)
    checkpoint = import_weights(source, tmp_path / "model.pt")
    assert checkpoint.training == {"source": "zoo.onnx", "network": name}
    assert len(checkpoint.labels) == len(checkpoint.label_ids) == 1000

    pictures = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    original = ort.InferenceSession(source, providers=["CPUExecutionProvider"])
    expected = np.concatenate([original.run(None, {"data_0": each})[0] for each in blue_first(pictures)])
    with torch.inference_mode():
        answers = Checkpoint.load(tmp_path / "model.pt").classifier()(torch.from_numpy(pictures)).numpy()
    assert expected.std() > 1e-4
    np.testing.assert_allclose(answers, expected, atol=1e-5)
    if opset == 9:
        variants: tuple[dict[str, Any], ...] = ({}, {"lrn": "decomposed", "input": "float"})
        for variant in variants:
            export(tmp_path / "model.pt", **variant, overwrite=True)
            exported = open_model(tmp_path / "model.onnx", "cpu").run(pictures)
            np.testing.assert_allclose(exported, expected, atol=1e-5)


def blue_first(pictures: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """The input of Caffe's models, one picture at a time: BGR, minus 104, 117 and 123, channels first."""
    floats = pictures[..., ::-1].astype(np.float32) - np.array([104, 117, 123], np.float32)
    return [np.ascontiguousarray(each.transpose(2, 0, 1)[None]) for each in floats]


@pytest.mark.parametrize(("order", "name"), [("lrn-pool", "bvlc-alexnet"), ("pool-lrn", "caffenet")])
def test_the_recipes_match_the_files(tmp_path: Path, caffe: Graph, order: str, name: str) -> None:
    """The recipe in models/ is that of a file, except for the widths, which are small in this test."""
    onnx.save(caffe(order, 12, 224), tmp_path / "zoo.onnx")
    checkpoint = import_weights(tmp_path / "zoo.onnx", tmp_path / "model.pt")
    widths = (f"network.channels={list(CHANNELS)}", f"network.hidden=[{HIDDEN},{HIDDEN}]")
    assert checkpoint.recipe == zoo.recipe(name).override(*widths)


def test_the_authors_network_begins_with_caffes_weights(tmp_path: Path, caffe: Graph) -> None:
    """Red first, and twice as large where dropout halves what a layer reads; for other labels f8 is new."""
    onnx.save(caffe(size=224), tmp_path / "zoo.onnx")
    imported = import_weights(tmp_path / "zoo.onnx", tmp_path / "caffe.pt")
    for number, path in enumerate(("train/a", "train/b", "val/a", "val/b")):
        (tmp_path / path).mkdir(parents=True)
        Image.new("RGB", (256, 256), (60 * number, 9, 200)).save(tmp_path / path / "1.png")
    widths = (f"network.channels={list(CHANNELS)}", f"network.hidden=[{HIDDEN},{HIDDEN}]")
    trained = train(
        tmp_path,
        recipe="krizhevsky-2012",
        settings=(*widths, "train.epochs=1", "train.lr=1e-12", "train.bias_lr=1e-6"),
        initial=tmp_path / "caffe.pt",
        output=tmp_path / "model.pt",
        device="cpu",
    )
    for name, weight in imported.weights.items():
        now = trained.weights[name]
        if name.startswith("f8."):
            assert len(now) == 2
            continue
        expected = weight.flip(1) if name == "c1.weight" else 2 * weight if name == "f7.weight" else weight
        torch.testing.assert_close(now, expected, rtol=0, atol=1e-6)


def test_a_constant_node_is_a_constant(tmp_path: Path, caffe: Graph) -> None:
    model = caffe(opset=12)
    weight = next(each for each in model.graph.initializer if each.name == "conv3_w_0")
    model.graph.node.insert(0, helper.make_node("Constant", [], ["conv3_w_0"], value=weight))
    model.graph.initializer.remove(weight)
    onnx.save(model, tmp_path / "zoo.onnx")
    checkpoint = import_weights(tmp_path / "zoo.onnx", tmp_path / "model.pt")
    np.testing.assert_array_equal(checkpoint.weights["c3.weight"].numpy(), numpy_helper.to_array(weight))


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.", "module._orig_mod.", "backbone."])
@pytest.mark.parametrize("key", [None, "state_dict", "model_state_dict", "model", "model_state", "weights"])
def test_training_checkpoints_of_other_tools(prefix: str, key: str | None) -> None:
    tensors = {"features.0.weight": torch.ones(2), "classifier.6.bias": torch.zeros(2)}
    content: Any = {f"{prefix}{name}": value for name, value in tensors.items()}
    if key is not None:
        content = {"epoch": 3, key: content, "optimizer": {"lr": 0.1}}
    assert _state_dict(content) == tensors


def test_other_classes_take_their_labels(tmp_path: Path, caffe: Graph) -> None:
    onnx.save(caffe(classes=3), tmp_path / "a.onnx")
    (tmp_path / "labels.txt").write_text("ant\nbee\ncat\n")
    given: list[Any] = [tmp_path / "labels.txt", ["ant", "bee", "cat"]]
    for number, labels in enumerate(given):
        checkpoint = import_weights(tmp_path / "a.onnx", tmp_path / f"{number}.pt", labels=labels)
        assert (checkpoint.labels, checkpoint.label_ids) == (["ant", "bee", "cat"], [])
        assert Checkpoint.load(tmp_path / f"{number}.pt").labels == ["ant", "bee", "cat"]
    with pytest.raises(CheckpointError, match="3 classes and there are 2 labels; give --labels"):
        import_weights(tmp_path / "a.onnx", tmp_path / "model.pt", labels=["ant", "bee"])


class TestOtherFiles:
    """The error describes the file in one line, and nothing is written."""

    def refuse(self, source: Path, words: str) -> None:
        before = sorted(source.parent.iterdir())
        with pytest.raises(CheckpointError, match=words) as caught:
            import_weights(source, source.parent / "model.pt")
        assert "\n" not in str(caught.value)
        assert source.name in str(caught.value)
        assert sorted(source.parent.iterdir()) == before

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"pads": [1, 1, 1, 1]}, r"MaxPool has pads = \[1, 1, 1, 1\]"),
            ({"classes": 10}, "10 classes"),
            ({"last": ("Sigmoid",)}, "Sigmoid"),
            ({"gemm": {"alpha": 2.0}}, "alpha = 2.0"),
        ],
    )
    def test_almost_alike(self, tmp_path: Path, caffe: Graph, changes: Any, words: str) -> None:
        onnx.save(caffe(**changes), tmp_path / "a.onnx")
        self.refuse(tmp_path / "a.onnx", words)

    @pytest.mark.parametrize(
        ("kind", "index", "name", "value", "words"),
        [
            ("Conv", 1, "pads", [1, 1, 1, 1], r"Conv has pads = \[1, 1, 1, 1\], expected \[2, 2, 2, 2\]"),
            ("Conv", 2, "group", 2, "Conv has group = 2, expected 1"),
            ("Conv", 3, "group", 1, "Conv has group = 1, expected 2"),
            ("Conv", 4, "strides", [2, 2], r"Conv has strides = \[2, 2\], expected \[1, 1\]"),
            ("Conv", 0, "dilations", [2, 2], r"Conv has dilations = \[2, 2\]"),
            ("Conv", 0, "kernel_shape", [9, 9], r"Conv has kernel_shape = \[9, 9\], expected \[11, 11\]"),
            ("MaxPool", 2, "kernel_shape", [2, 2], r"MaxPool has kernel_shape = \[2, 2\], expected \[3, 3\]"),
            ("MaxPool", 0, "strides", [3, 3], r"MaxPool has strides = \[3, 3\], expected \[2, 2\]"),
            ("LRN", 1, "beta", 0.5, "two LRN layers differ"),
        ],
    )
    def test_another_geometry(
        self, tmp_path: Path, caffe: Graph, kind: str, index: int, name: str, value: Any, words: str
    ) -> None:
        model = caffe()
        node = [each for each in model.graph.node if each.op_type == kind][index]
        attributes = [each for each in node.attribute if each.name != name]
        del node.attribute[:]
        node.attribute.extend([*attributes, helper.make_attribute(name, value)])
        onnx.save(model, tmp_path / "a.onnx")
        self.refuse(tmp_path / "a.onnx", words)

    def test_a_missing_layer(self, tmp_path: Path, caffe: Graph) -> None:
        model = caffe()
        index, relu = next((i, n) for i, n in enumerate(model.graph.node) if n.op_type == "Relu")
        model.graph.node[index + 1].input[0] = relu.input[0]
        del model.graph.node[index]
        onnx.save(model, tmp_path / "a.onnx")
        self.refuse(tmp_path / "a.onnx", "layer 2 is LRN, expected Relu")

    def test_a_branch(self, tmp_path: Path, caffe: Graph) -> None:
        model = caffe()
        model.graph.node.append(helper.make_node("Relu", ["conv_0"], ["aside"]))
        onnx.save(model, tmp_path / "a.onnx")
        self.refuse(tmp_path / "a.onnx", "branches at 'conv_0'")

    def test_a_cycle(self, tmp_path: Path) -> None:
        image, scores = (helper.make_tensor_value_info(name, 1, [1, 3, 9, 9]) for name in ("x", "y"))
        nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Relu", ["y"], ["x"])]
        onnx.save(helper.make_model(helper.make_graph(nodes, "g", [image], [scores])), tmp_path / "a.onnx")
        self.refuse(tmp_path / "a.onnx", "cycle")

    def test_weights_in_another_file(self, tmp_path: Path, caffe: Graph) -> None:
        model = caffe()
        weight = model.graph.initializer[0]
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value="../../etc/passwd")
        (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
        self.refuse(tmp_path / "a.onnx", "in another file, which is not opened")

    def test_our_own(self, fashion_mini: Path, tmp_path: Path) -> None:
        (tmp_path / "own.pt").write_bytes(fashion_mini.read_bytes())
        (tmp_path / "own.onnx").write_bytes(zoo.default_model().read_bytes())
        self.refuse(tmp_path / "own.pt", "already a checkpoint of alexnet-tk; use it as it is")
        self.refuse(tmp_path / "own.onnx", "export of alexnet-tk")

    def test_other_tensors(self, tmp_path: Path) -> None:
        torch.save({"layer.weight": torch.zeros(2)}, tmp_path / "a.pth")
        self.refuse(tmp_path / "a.pth", r"1 tensor, .* it has layer.weight and lacks")
        state = dict(torchvision_network().state_dict())
        state["features.3.weight"] = torch.zeros(3, 3)
        torch.save(state, tmp_path / "b.pth")
        self.refuse(tmp_path / "b.pth", r"c2.weight has the shape \(3, 3\)")
        torch.save([1, 2], tmp_path / "c.pth")
        self.refuse(tmp_path / "c.pth", "a list")
        torch.save({"model": {"a": torch.zeros(2)}}, tmp_path / "d.pth")
        self.refuse(tmp_path / "d.pth", "it has a and lacks")
        # As torchvision's reference scripts save it: the arguments beside the weights don't matter.
        content = {"model": {"b": torch.zeros(2)}, "args": argparse.Namespace(lr=0.1, epoch=3)}
        torch.save(content, tmp_path / "args.pth")
        self.refuse(tmp_path / "args.pth", "it has b and lacks")
        torch.save({"epoch": 1}, tmp_path / "e.pth")
        self.refuse(tmp_path / "e.pth", "a dictionary of other values")

    @pytest.mark.parametrize(
        ("more", "fewer", "words"),
        [
            (["epoch"], [], "17 tensors, not the 16 of torchvision's AlexNet: it has epoch; give"),
            ([], ["features.0.bias"], "15 tensors, .* it lacks features.0.bias; give"),
            (
                ["a", "b", "c", "d"],
                ["classifier.6.bias"],
                "it has a, b, c, … and lacks classifier.6.bias; give",
            ),
        ],
    )
    def test_other_names_are_named(
        self, tmp_path: Path, more: list[str], fewer: list[str], words: str
    ) -> None:
        names = [f"{module}.{kind}" for module in MODULES.values() for kind in ("weight", "bias")]
        tensors = {name: torch.zeros(2) for name in [*names, *more] if name not in fewer}
        torch.save(tensors, tmp_path / "a.pth")
        with pytest.raises(CheckpointError, match=words):
            import_weights(tmp_path / "a.pth", tmp_path / "model.pt")

    def test_code_is_not_executed(self, tmp_path: Path) -> None:
        for zipped in (True, False):
            torch.save(nn.Linear(2, 2), tmp_path / "whole.pth", _use_new_zipfile_serialization=zipped)
            self.refuse(tmp_path / "whole.pth", "asks to run code")

    @pytest.mark.parametrize(
        "content", [b"", b"rubbish\0", b"PK\x03\x04rubbish", b"\x80\x02rubbish", b"\x08"]
    )
    def test_rubbish(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "a.onnx").write_bytes(content)
        self.refuse(tmp_path / "a.onnx", "give torchvision's")

    def test_truncated(self, tmp_path: Path, caffe: Graph) -> None:
        whole = caffe().SerializeToString()
        for length in (10, len(whole) // 2, len(whole) - 1):
            (tmp_path / "a.onnx").write_bytes(whole[:length])
            self.refuse(tmp_path / "a.onnx", "give torchvision's")

    def test_attributes_of_a_wrong_kind(self, tmp_path: Path, caffe: Graph) -> None:
        whole = caffe().SerializeToString()
        nothing = helper.make_attribute("", [], attr_type=onnx.AttributeProto.INTS)
        for kind, name in (("Conv", "strides"), ("Conv", "pads"), ("MaxPool", "pads"), ("LRN", "size")):
            for wrong in (nothing, helper.make_attribute("", "many"), None):
                model = onnx.ModelProto.FromString(whole)
                node = next(each for each in model.graph.node if each.op_type == kind)
                attributes = [each for each in node.attribute if each.name != name]
                if wrong is not None:
                    wrong.name = name
                    attributes.append(wrong)
                elif name == "pads":  # both may lack them
                    continue
                del node.attribute[:]
                node.attribute.extend(attributes)
                onnx.save(model, tmp_path / "a.onnx")
                self.refuse(tmp_path / "a.onnx", "give torchvision's")

    def test_no_file(self, tmp_path: Path) -> None:
        self.refuse(tmp_path / "missing.pth", "not a file")
        self.refuse(tmp_path, "not a file")


def test_an_output_that_exists_is_kept(tmp_path: Path, caffe: Graph) -> None:
    onnx.save(caffe(), tmp_path / "zoo.onnx")
    (tmp_path / "model.pt").write_text("precious")
    with pytest.raises(OutputError, match="--overwrite"):
        import_weights(tmp_path / "zoo.onnx", tmp_path / "model.pt")
    with pytest.raises(OutputError, match="itself"):
        import_weights(tmp_path / "zoo.onnx", tmp_path / "zoo.onnx", overwrite=True)
    assert (tmp_path / "model.pt").read_text() == "precious"
    import_weights(tmp_path / "zoo.onnx", tmp_path / "model.pt", overwrite=True)
    assert len(Checkpoint.load(tmp_path / "model.pt").labels) == 1000


def test_tensors_without_their_numbers(tmp_path: Path) -> None:
    """A few bytes that claim to be 20 GB, and tensors without numbers."""
    shapes = {"weight": (50_000, 100_000), "bias": (10,)}
    for name, tensor in (
        ("larger", torch.zeros(1).expand(shapes["weight"])),
        ("not a dense float32", torch.zeros(3, dtype=torch.complex64)),
        ("not a dense float32", torch.zeros(3, device="meta")),
    ):
        keys = [f"{layer}.{part}" for layer in MODULES.values() for part in shapes]
        torch.save(dict.fromkeys(keys, tensor), tmp_path / "w.pth")
        with pytest.raises(CheckpointError, match=name):
            import_weights(tmp_path / "w.pth", tmp_path / "m.pt")
    assert not (tmp_path / "m.pt").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, caffe: Graph, value: float) -> None:
    model = caffe()
    weights = next(each for each in model.graph.initializer if len(each.dims) == 4)
    broken = numpy_helper.to_array(weights).copy()
    broken[0, 0, 0, 0] = value
    weights.CopyFrom(numpy_helper.from_array(broken, weights.name))
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(CheckpointError, match=r"c\d\.weight holds NaN or infinite numbers"):
        import_weights(tmp_path / "a.onnx", tmp_path / "model.pt")
    assert not (tmp_path / "model.pt").exists()
