"""Caffe's two AlexNets from the ONNX model zoo, bvlcalexnet and caffenet, in any version of their files."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from torch import Tensor

from alexnet_tk import zoo
from alexnet_tk.choices import Stage
from alexnet_tk.errors import CheckpointError, RecipeError
from alexnet_tk.geometry import (
    LAYERS,
    LRN,
    POOL_KERNEL,
    POOL_STRIDE,
    POOLS,
    FirstConvolution,
    Network,
    SecondConvolution,
    Stages,
    convolutions,
    map_sizes,
)
from alexnet_tk.importing.onnx_graph import Graph, GraphLayer, UnexpectedGraphError
from alexnet_tk.importing.public_model import SUPPORTED_FILES, PublicModel
from alexnet_tk.inference.runtime import METADATA_PREFIX

MODEL_NAMES: dict[Stages, str] = {
    ("relu", "lrn", "pool"): "bvlc-alexnet",
    ("relu", "pool", "lrn"): "caffenet",
}
OPERATORS: dict[Stage, str] = {"relu": "Relu", "pool": "MaxPool", "lrn": "LRN"}
AFTER_BLOCKS = ["Conv", "Relu"] * 3 + ["MaxPool"] + ["Gemm", "Relu"] * 2 + ["Gemm"]


def read_model_zoo(source: Path) -> PublicModel:
    """The network in an ONNX file.

    Raises
    ------
    CheckpointError
        another file, or a broken one

    """
    try:
        model = onnx.load(source, load_external_data=False)
    except DecodeError:
        model = onnx.ModelProto()
    if not model.graph.node:  # nearly every short file parses as some protobuf message
        raise CheckpointError(f"{source} is neither a PyTorch nor an ONNX file; give {SUPPORTED_FILES}")
    if any(entry.key.startswith(METADATA_PREFIX) for entry in model.metadata_props):
        raise CheckpointError(f"{source} is an export of alexnet-tk; use it with `alexnet-tk predict`")
    try:
        network, weights = _read_network(Graph(model.graph))
    except (UnexpectedGraphError, RecipeError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{source} is an ONNX file of another network: {error}; give {SUPPORTED_FILES}"
        ) from None
    name = MODEL_NAMES[network.c1.then]
    return PublicModel(name, replace(zoo.recipe(name), network=network), weights)


def _read_network(graph: Graph) -> tuple[Network, dict[str, Tensor]]:
    """The graph's network as a recipe describes it, and its canonical weights."""
    layers = list(graph.layers())
    then = _stages([layer.kind for layer in layers])
    by_kind = {
        kind: [layer for layer in layers if layer.kind == kind] for kind in ("Conv", "MaxPool", "LRN", "Gemm")
    }
    convolution_layers, pool_layers = by_kind["Conv"], by_kind["MaxPool"]
    weights: dict[str, Tensor] = {}
    for name, layer in zip(LAYERS, [*convolution_layers, *by_kind["Gemm"]], strict=True):
        weights |= _weights(name, layer)
    m1, m2, m3, m4, m5, h6, h7 = (len(weights[f"{name}.bias"]) for name in LAYERS[:-1])
    network = Network(
        image_size=graph.image_size,
        towers=convolution_layers[1].attributes["group"],
        channels=(m1, m2, m3, m4, m5),
        hidden=(h6, h7),
        c1=_first_convolution(convolution_layers[0], weights["c1.weight"], then),
        c2=SecondConvolution(then),
        pool_ceil=any(_rounds_up(pool) for pool in pool_layers),
        init="caffe",
        lrn=_normalisation(by_kind["LRN"]),
    )
    _require_convolutions(network, convolution_layers)
    _require_pooling(network, pool_layers)
    return network, weights


def _stages(kinds: list[str]) -> Stages:
    """What follows c1 and c2; raises unless the layers are AlexNet's, with or without a softmax."""
    then: Stages = ("relu", "lrn", "pool") if kinds[2:3] == ["LRN"] else ("relu", "pool", "lrn")
    if kinds[-1:] == ["Softmax"]:
        kinds = kinds[:-1]
    expected = [*["Conv", *(OPERATORS[stage] for stage in then)] * 2, *AFTER_BLOCKS]
    for place, (found, want) in enumerate(zip_longest(kinds, expected, fillvalue="none"), 1):
        if found != want:
            raise UnexpectedGraphError(f"layer {place} is {found}, expected {want}")
    return then


def _weights(name: str, layer: GraphLayer) -> dict[str, Tensor]:
    weight, bias = layer.constants
    if layer.kind == "Gemm":
        layer.require(transA=0, alpha=1.0, beta=1.0)
        weight = weight if layer.attributes["transB"] else weight.T
    return {f"{name}.weight": _tensor(weight), f"{name}.bias": _tensor(bias.reshape(-1))}


def _tensor(value: np.ndarray[Any, Any]) -> Tensor:
    return torch.from_numpy(np.array(value, np.float32))


def _first_convolution(layer: GraphLayer, weight: Tensor, then: Stages) -> FirstConvolution:
    stride, padding = layer.attributes["strides"][0], layer.attributes["pads"][0]
    layer.require(strides=[stride] * 2, pads=[padding] * 4)
    return FirstConvolution(weight.shape[-1], stride, padding, then=then)


def _require_convolutions(network: Network, layers: Sequence[GraphLayer]) -> None:
    for expected, layer in zip(convolutions(network).values(), layers, strict=True):
        layer.require(
            group=expected.groups,
            pads=[expected.padding] * 4,
            strides=[expected.stride] * 2,
            dilations=[1, 1],
        )
        if "kernel_shape" in layer.attributes:  # else the weight's shape decides
            layer.require(kernel_shape=[expected.kernel] * 2)


def _require_pooling(network: Network, pools: Sequence[GraphLayer]) -> None:
    sizes = map_sizes(network)
    for pool, size_before, name in zip(
        pools, (sizes["c1"], sizes["pool1"], sizes["pool2"]), POOLS, strict=True
    ):
        pool.require(kernel_shape=[POOL_KERNEL] * 2, strides=[POOL_STRIDE] * 2, dilations=[1, 1])
        steps = (size_before - POOL_KERNEL) / POOL_STRIDE
        if sizes[name] != (ceil(steps) if _rounds_up(pool) else floor(steps)) + 1:
            raise UnexpectedGraphError(f"{name} rounds its size in another direction than other pools")


def _rounds_up(pool: GraphLayer) -> bool:
    """Whether pooled sizes are rounded up: by ceil_mode or, with the same result, by padding at the end."""
    pads = pool.attributes["pads"]
    if pads not in ([0, 0, 0, 0], [0, 0, 1, 1]):
        raise UnexpectedGraphError(f"a MaxPool has pads = {pads}")
    return bool(pads[2] == 1 or pool.attributes["ceil_mode"] == 1)


def _normalisation(layers: Sequence[GraphLayer]) -> LRN:
    """The recipe of ONNX's LRN, which divides alpha by size and sums across the towers."""
    first, second = (layer.attributes for layer in layers)
    if first != second:
        raise UnexpectedGraphError("its two LRN layers differ")
    # ONNX stores float32, which prints 1e-4 and 0.75 with more digits than were written.
    alpha, beta, k = (float(f"{first[name]:.7g}") for name in ("alpha", "beta", "bias"))
    return LRN(size=first["size"], alpha=alpha, beta=beta, k=k, convention="divided", across_towers=True)
