"""What an answer rests on, as a part of the graph: the gradient of its logit, without torch.

The map is that of HiResCAM (Draelos and Carin, 2020): ReLU of the sum over pool5's maps of activation times
gradient, the gradient of the most probable class's logit. Between pool5 and the logits are three fully
connected layers and two ReLUs, so the gradient is a row of f8's weights, multiplied by f7's and f6's
weights, with zeros where their units are zero.
"""

from typing import Any

import onnx
from onnx import NodeProto, TensorProto, helper

from alexnet_tk.geometry import Network, map_sizes
from alexnet_tk.inference.model import EXPLANATION_NAME

PREFIX = "explanation_"  # of the names of nodes and values


def add_explanation(model: onnx.ModelProto, network: Network) -> None:
    """Make the map of each picture's most probable answer an output, float32 (batch, 6, 6).

    It is for graphs in float32, whose layers have the names of `AlexNet`, and for towers that talk in f6 and
    f7: elsewhere these are no products of matrices.
    """
    graph = model.graph
    f6, f7, f8 = (_layer(graph, f"alexnet.{name}.weight") for name in ("f6", "f7", "f8"))
    pooled, hidden6, hidden7 = (layer.input[0] for layer in (f6, f7, f8))
    maps, side = network.channels[-1], map_sizes(network)["pool5"]

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        name = PREFIX + output
        graph.node.append(helper.make_node(kind, inputs, [name], name=f"node_{name}", **attributes))
        return name

    def constant(name: str, values: list[int]) -> str:
        name = PREFIX + name
        graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [len(values)], values))
        return name

    best = node("ArgMax", [f8.output[0]], "class", axis=1, keepdims=0)
    gradient = node("Gather", [f8.input[1], best], "f8_gradient", axis=0)  # (N, 4096)
    if network.dropout_scale == "prediction":  # f6 and f7 are multiplied by what dropout keeps
        kept = helper.make_tensor(f"{PREFIX}kept", TensorProto.FLOAT, [], [(1 - network.dropout) ** 2])
        graph.initializer.append(kept)
        gradient = node("Mul", [gradient, kept.name], "f8_scaled")
    for name, layer, hidden in (("f7", f7, hidden7), ("f6", f6, hidden6)):
        active = node("Sign", [hidden], f"{name}_active")  # 1 or, after ReLU, 0
        passed = node("Mul", [gradient, active], f"{name}_passed")
        gradient = node("MatMul", [passed, layer.input[1]], f"{name}_gradient")  # (N, 4096), (N, 9216)
    products = node("Mul", [pooled, gradient], "products")
    by_map = node("Reshape", [products, constant("maps", [0, maps, side * side])], "by_map")
    total = node("ReduceSum", [by_map, constant("axes", [1])], "sum", keepdims=0)
    positive = node("Relu", [total], "positive")
    square = constant("square", [0, side, side])
    graph.node.append(helper.make_node("Reshape", [positive, square], [EXPLANATION_NAME]))
    batch = graph.output[0].type.tensor_type.shape.dim[0].dim_param
    shape = [batch, side, side]
    graph.output.append(helper.make_tensor_value_info(EXPLANATION_NAME, TensorProto.FLOAT, shape))


def _layer(graph: onnx.GraphProto, weight: str) -> NodeProto:
    """The node that multiplies by this weight, transposed."""
    nodes: list[NodeProto] = [node for node in graph.node if node.op_type == "Gemm"]
    return next(node for node in nodes if weight in node.input)
