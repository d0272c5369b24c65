"""Public weights as checkpoints of ours: torchvision's AlexNet, the ONNX zoo's bvlcalexnet and caffenet.

torchvision's file is a dictionary of tensors, known by its names. An ONNX file is read along its graph: the
layers' attributes, not their names, say what is computed, so all versions of the zoo's files are understood.
"""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from torch import Tensor

from alexnet_tk import zoo
from alexnet_tk.errors import CheckpointError, OutputError, RecipeError
from alexnet_tk.files import refuse_existing
from alexnet_tk.inference.model import PREFIX
from alexnet_tk.network.alexnet import AlexNet
from alexnet_tk.recipe import LRN, Convolution, Network, Recipe
from alexnet_tk.training.checkpoint import FORMAT, Checkpoint, read_plain, require_numbers
from alexnet_tk.training.statistics import Statistics

LAYERS = ("c1", "c2", "c3", "c4", "c5", "f6", "f7", "f8")
PARTS = ("weight", "bias")

# Where torchvision keeps them.
TORCHVISION = {
    "c1": "features.0",
    "c2": "features.3",
    "c3": "features.6",
    "c4": "features.8",
    "c5": "features.10",
    "f6": "classifier.1",
    "f7": "classifier.4",
    "f8": "classifier.6",
}

# Of ImageNet's training pictures, on the scale 0..255: the mean as Caffe's models use it, and the principal
# components that fb.resnet.torch published (eigenvalues of the covariance on the scale 0..1).
IMAGENET = Statistics.from_lists(
    [123.0, 117.0, 104.0],
    [each * 255**2 for each in (0.0045, 0.0188, 0.2175)],
    [[0.4009, 0.7192, -0.5675], [-0.8140, -0.0045, -0.5808], [0.4203, -0.6948, -0.5836]],
)

# The layers of an ONNX file, those that do nothing in inference left out.
_BLOCK = {
    "pool-lrn": ["Conv", "Relu", "MaxPool", "LRN"],
    "lrn-pool": ["Conv", "Relu", "LRN", "MaxPool"],
}
_REST = ["Conv", "Relu"] * 3 + ["MaxPool"] + ["Gemm", "Relu"] * 2 + ["Gemm"]
_PASSING = {"Dropout", "Reshape", "Flatten", "Identity"}
_ZOO_NAMES = {"lrn-pool": "bvlc-alexnet", "pool-lrn": "caffenet"}
KNOWN = "torchvision's alexnet-owt-*.pth, or bvlcalexnet-*.onnx and caffenet-*.onnx of the ONNX model zoo"


def import_weights(source: Path, output: Path, *, overwrite: bool = False) -> tuple[str, Checkpoint]:
    """Write public weights as a checkpoint.

    Parameters
    ----------
    source
        one of the files that `KNOWN` names
    output
        the checkpoint to write
    overwrite
        replace an output that exists

    Returns
    -------
    the name of the network's recipe in models/, and the checkpoint

    Raises
    ------
    CheckpointError
        the file is something else, which the message names, or broken
    OutputError
        the output exists or can't be written

    """
    if not source.is_file():
        raise CheckpointError(f"{source} is no file; give {KNOWN}")
    if output.exists() and output.samefile(source):
        raise OutputError(f"{output} is the file with the weights itself; name another --output")
    refuse_existing(output, overwrite)
    with source.open("rb") as file:
        first = file.read(4)
    # What torch writes is a zip archive or, before 2020, a pickle.
    from_torch = first.startswith((b"PK\x03\x04", b"\x80")) or zipfile.is_zipfile(source)
    name, recipe, weights = _from_torchvision(source) if from_torch else _from_onnx(source)
    labels, label_ids = zoo.labels("alexnet-2012")
    classes = weights["f8.bias"].shape[0]
    if classes != len(labels):
        raise CheckpointError(
            f"{source} has {classes:,} classes, not ImageNet's {len(labels):,}, and does not name them; "
            f"give {KNOWN}"
        )
    checkpoint = Checkpoint(
        recipe, labels, IMAGENET, weights, label_ids, {"source": source.name, "network": name}
    )
    _check_shapes(source, recipe.network, weights)
    checkpoint.save(output)
    return name, checkpoint


def _check_shapes(source: Path, network: Network, weights: dict[str, Tensor]) -> None:
    with torch.device("meta"):
        wanted = AlexNet(network, weights["f8.bias"].shape[0]).state_dict()
    for name, want in wanted.items():
        if weights[name].shape != want.shape:
            raise CheckpointError(
                f"{source}: {name} has the shape {tuple(weights[name].shape)} and should have "
                f"{tuple(want.shape)}; give {KNOWN}"
            )


def _from_torchvision(source: Path) -> tuple[str, Recipe, dict[str, Tensor]]:
    content = read_plain(source, f"give {KNOWN}", legacy=True)
    if isinstance(content, dict) and content.get("format") == FORMAT:
        raise CheckpointError(f"{source} is a checkpoint of alexnet-tk already; use it as it is")
    names = {f"{theirs}.{part}": f"{ours}.{part}" for ours, theirs in TORCHVISION.items() for part in PARTS}
    if not isinstance(content, dict) or not all(isinstance(each, Tensor) for each in content.values()):
        raise CheckpointError(f"{source} holds {_kind(content)}, not a dictionary of weights; give {KNOWN}")
    if set(content) != set(names):
        some = ", ".join(map(str, list(content)[:3]))
        raise CheckpointError(
            f"{source} holds {len(content)} tensors ({some}, …), not the {len(names)} of torchvision's "
            f"AlexNet; give {KNOWN}"
        )
    for key, value in content.items():
        try:
            require_numbers(key, value)
        except ValueError as error:
            raise CheckpointError(f"{source} is broken: {error}") from error
    weights = {names[key]: value.detach().float().contiguous() for key, value in content.items()}
    return "torchvision-alexnet", zoo.recipe("torchvision-alexnet"), weights


def _kind(content: object) -> str:
    return "other things than tensors" if isinstance(content, dict) else f"a {type(content).__name__}"


def _from_onnx(source: Path) -> tuple[str, Recipe, dict[str, Tensor]]:
    try:
        model = onnx.load(source, load_external_data=False)
    except DecodeError:
        model = onnx.ModelProto()
    if not model.graph.node:  # nearly every short file is a message of some kind
        raise CheckpointError(f"{source} is neither torch's nor an ONNX file; give {KNOWN}")
    if any(prop.key.startswith(PREFIX) for prop in model.metadata_props):
        raise CheckpointError(f"{source} is an export of alexnet-tk: `alexnet-tk predict` takes it as it is")
    try:
        network, weights = _Graph(model.graph).read()
    except (_UnknownError, RecipeError, LookupError, TypeError, ValueError) as reason:
        raise CheckpointError(
            f"{source} is an ONNX file of another network: {reason}; give {KNOWN}"
        ) from None
    name = _ZOO_NAMES[network.order]
    recipe = zoo.recipe(name)
    return name, replace(recipe, network=network), weights


class _UnknownError(Exception):
    """A graph is not an AlexNet of Caffe's kind; the message says where."""


@dataclass
class _Layer:
    """A node that computes, with its attributes and its constant inputs."""

    kind: str
    attributes: dict[str, Any]
    constants: list[np.ndarray[Any, Any]]


class _Graph:
    """A graph that is one chain of layers, as all three networks are."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.constants: dict[str, onnx.TensorProto] = {each.name: each for each in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant":
                for each in node.attribute:
                    if each.name == "value":
                        self.constants[node.output[0]] = each.t

    def read(self) -> tuple[Network, dict[str, Tensor]]:
        """The network as a recipe has it, and the canonical weights."""
        layers = list(self._chain())
        kinds = [layer.kind for layer in layers]
        if kinds[-1:] == ["Softmax"]:
            kinds.pop()
        order = "lrn-pool" if kinds[2:3] == ["LRN"] else "pool-lrn"
        wanted = _BLOCK[order] * 2 + _REST
        for place, (have, want) in enumerate(zip(kinds + [""] * len(wanted), wanted, strict=False), 1):
            if have != want:
                raise _UnknownError(f"its layer {place} is {have or 'missing'} where {want} should be")
        if len(kinds) > len(wanted):
            raise _UnknownError(f"after its last layer stands {kinds[len(wanted)]}")

        convolutions = [layer for layer in layers if layer.kind == "Conv"]
        weighted = convolutions + [layer for layer in layers if layer.kind == "Gemm"]
        weights: dict[str, Tensor] = {}
        for name, layer in zip(LAYERS, weighted, strict=True):
            weight, bias = layer.constants
            if layer.kind == "Gemm":
                _only(layer, transA=0, alpha=1.0, beta=1.0)
                weight = weight if layer.attributes.get("transB", 0) else weight.T
            weights |= {f"{name}.weight": _tensor(weight), f"{name}.bias": _tensor(bias.reshape(-1))}

        towers = convolutions[1].attributes.get("group", 1)
        for layer, group, pad in zip(
            convolutions[1:], (towers, 1, towers, towers), (2, 1, 1, 1), strict=True
        ):
            _only(layer, group=group, pads=[pad] * 4, strides=[1, 1], dilations=[1, 1])
        pools = [layer for layer in layers if layer.kind == "MaxPool"]
        for layer in pools:
            _only(layer, kernel_shape=[3, 3], strides=[2, 2])
        network = Network(
            image_size=self._image_size(),
            towers=towers,
            channels=tuple(weights[f"c{i}.bias"].shape[0] for i in range(1, 6)),  # type: ignore[arg-type]
            hidden=(weights["f6.bias"].shape[0], weights["f7.bias"].shape[0]),
            c1=_geometry(convolutions[0], weights["c1.weight"]),
            pool_ceil=any(_rounds_up(layer) for layer in pools),
            order=order,  # type: ignore[arg-type]
            init="caffe",
            lrn=_normalisation([layer for layer in layers if layer.kind == "LRN"]),
        )
        sizes = network.sizes()
        for layer, before, name in zip(
            pools, ("c1", "pool1", "pool2"), ("pool1", "pool2", "pool5"), strict=True
        ):
            halves = (sizes[before] - 3) / 2
            if sizes[name] != (ceil(halves) if _rounds_up(layer) else floor(halves)) + 1:
                raise _UnknownError(f"{name} rounds its size in another way than other pools")
        return network, weights

    def _chain(self) -> Iterator[_Layer]:
        """The layers from the picture to the scores; raises where the graph branches."""
        inputs = [each.name for each in self.graph.input if each.name not in self.constants]
        if len(inputs) != 1:
            raise _UnknownError(f"it has {len(inputs)} inputs")
        at, passed = inputs[0], {inputs[0]}
        while takers := [node for node in self.graph.node if at in node.input]:
            if len(takers) > 1 or takers[0].input[0] != at:
                raise _UnknownError(f"it branches at {at!r}")
            (node,) = takers
            at = node.output[0]
            if at in passed:
                raise _UnknownError("it runs in a circle")
            passed.add(at)
            if node.op_type in _PASSING:
                continue
            constants = [self._constant(name) for name in node.input[1:] if name]
            if len(constants) != (2 if node.op_type in ("Conv", "Gemm") else 0):
                raise _UnknownError(f"the {node.op_type} before {at!r} has no constant weights and biases")
            attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
            if attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
                raise _UnknownError(f"the {node.op_type} before {at!r} pads by itself")
            yield _Layer(node.op_type, attributes, constants)

    def _constant(self, name: str) -> np.ndarray[Any, Any]:
        if name not in self.constants:
            raise _UnknownError(f"{name!r} is no constant")
        tensor = self.constants[name]
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise _UnknownError(f"{name!r} lies in another file, which is not opened")
        return np.asarray(onnx.numpy_helper.to_array(tensor))

    def _image_size(self) -> int:
        (shape,) = (
            each.type.tensor_type.shape.dim for each in self.graph.input if each.name not in self.constants
        )
        sizes = [each.dim_value for each in shape][2:]
        if len(sizes) != 2 or sizes[0] != sizes[1]:
            raise _UnknownError(f"its pictures have the size {sizes}")
        return int(sizes[0])


def _tensor(value: np.ndarray[Any, Any]) -> Tensor:
    return torch.from_numpy(np.array(value, np.float32))


def _only(layer: _Layer, **wanted: object) -> None:
    """Raise unless the layer's attributes are these; one that is left out has ONNX's default."""
    defaults = {"group": 1, "pads": [0] * 4, "strides": [1, 1], "dilations": [1, 1]}
    defaults |= {"transA": 0, "alpha": 1.0, "beta": 1.0}
    for name, want in wanted.items():
        have = layer.attributes.get(name, defaults.get(name))
        if have != want:
            raise _UnknownError(f"a {layer.kind} has {name} = {have} and not {want}")


def _geometry(layer: _Layer, weight: Tensor) -> Convolution:
    """c1's kernel, stride and padding."""
    stride = layer.attributes.get("strides", [1, 1])
    padding = layer.attributes.get("pads", [0] * 4)
    _only(layer, group=1, strides=[stride[0]] * 2, pads=[padding[0]] * 4, dilations=[1, 1])
    return Convolution(weight.shape[-1], stride[0], padding[0])


def _rounds_up(layer: _Layer) -> bool:
    """Whether pooled sizes are rounded up: as such or, which is the same, by a border below and right."""
    pads = layer.attributes.get("pads", [0] * 4)
    if pads not in ([0, 0, 0, 0], [0, 0, 1, 1]):
        raise _UnknownError(f"a MaxPool has pads = {pads}")
    return bool(pads[2] == 1 or layer.attributes.get("ceil_mode", 0) == 1)


def _normalisation(layers: list[_Layer]) -> LRN:
    """ONNX's attributes: alpha is divided by size, and the sum crosses the towers."""
    first, second = ({"alpha": 1e-4, "beta": 0.75, "bias": 1.0, **layer.attributes} for layer in layers)
    if first != second:
        raise _UnknownError("its two LRN layers differ")
    return LRN(
        size=first["size"],
        # ONNX keeps float32, of which 1e-4 and 0.75 are printed with more digits than were written.
        alpha=float(f"{first['alpha']:.7g}"),
        beta=float(f"{first['beta']:.7g}"),
        k=float(f"{first['bias']:.7g}"),
        convention="divided",
        across_towers=True,
    )
