"""An ONNX graph read as a chain of layers, from the picture to the scores.

Layers are identified by what they compute and not by their names, which differ between versions of a file.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

# Operators that change no value in inference.
PASS_THROUGH = {"Dropout", "Reshape", "Flatten", "Identity"}

# The defaults of ONNX's specification for attributes that a node leaves out.
DEFAULT_ATTRIBUTES: dict[str, dict[str, Any]] = {
    "Conv": {"group": 1, "pads": [0] * 4, "strides": [1, 1], "dilations": [1, 1]},
    "MaxPool": {"pads": [0] * 4, "strides": [1, 1], "dilations": [1, 1], "ceil_mode": 0},
    "Gemm": {"transA": 0, "transB": 0, "alpha": 1.0, "beta": 1.0},
    "LRN": {"alpha": 1e-4, "beta": 0.75, "bias": 1.0},
}
CONSTANT_INPUTS = {"Conv": 2, "Gemm": 2}  # weight and bias; other layers have none


class UnexpectedGraphError(Exception):
    """The graph is not the expected network; the message says where it differs."""


@dataclass
class GraphLayer:
    """A node that computes something, with its attributes and its constant inputs."""

    kind: str  # ONNX's operator
    attributes: dict[str, Any]
    constants: list[np.ndarray[Any, Any]]

    def require(self, **expected: object) -> None:
        """Raise `UnexpectedGraphError` unless the attributes have these values."""
        for name, value in expected.items():
            if (found := self.attributes.get(name)) != value:
                raise UnexpectedGraphError(f"a {self.kind} has {name} = {found}, expected {value}")


class Graph:
    """A graph without branches, with one input: pictures, float (batch, 3, S, S)."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant":
                tensors = {attribute.name: attribute.t for attribute in node.attribute}
                if "value" in tensors:
                    self._constants[node.output[0]] = tensors["value"]
        inputs = [value for value in graph.input if value.name not in self._constants]
        if len(inputs) != 1:
            raise UnexpectedGraphError(f"it has {len(inputs)} inputs, expected 1")
        self._input = inputs[0]

    @property
    def image_size(self) -> int:
        """The side of the square pictures that the graph takes, in pixels."""
        sides = [dimension.dim_value for dimension in self._input.type.tensor_type.shape.dim][2:]
        if len(sides) != 2 or sides[0] != sides[1]:
            raise UnexpectedGraphError(f"its pictures have the size {sides}, expected a square")
        return int(sides[0])

    def layers(self) -> Iterator[GraphLayer]:
        """The layers in order, without those that change no value in inference."""
        value, visited = self._input.name, {self._input.name}
        while readers := [node for node in self._graph.node if value in node.input]:
            if len(readers) > 1 or readers[0].input[0] != value:
                raise UnexpectedGraphError(f"it branches at {value!r}")
            (node,) = readers
            value = node.output[0]
            if value in visited:
                raise UnexpectedGraphError("it contains a cycle")
            visited.add(value)
            if node.op_type not in PASS_THROUGH:
                yield self._layer(node)

    def _layer(self, node: onnx.NodeProto) -> GraphLayer:
        kind, place = node.op_type, f"the {node.op_type} before {node.output[0]!r}"
        constants = [self._constant(name) for name in node.input[1:] if name]
        if len(constants) != CONSTANT_INPUTS.get(kind, 0):
            raise UnexpectedGraphError(f"{place} has {len(constants)} constant inputs")
        given = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        if given.get("auto_pad", b"NOTSET") != b"NOTSET":
            raise UnexpectedGraphError(f"{place} uses auto_pad")
        return GraphLayer(kind, DEFAULT_ATTRIBUTES.get(kind, {}) | given, constants)

    def _constant(self, name: str) -> np.ndarray[Any, Any]:
        if name not in self._constants:
            raise UnexpectedGraphError(f"{name!r} is not a constant")
        tensor = self._constants[name]
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise UnexpectedGraphError(f"{name!r} is stored in another file, which is not opened")
        return np.asarray(onnx.numpy_helper.to_array(tensor))
