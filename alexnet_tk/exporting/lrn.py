"""Local response normalisation in ONNX: its own operator `LRN`, or operators that every runtime has.

Left alone, torch's exporter breaks the normalisation into ten nodes (Reshape, Pad, AveragePool, Pow, …).
The network computes it by one operator, `alexnet_tk::local_response_norm` or the fused one for CUDA, and
these functions translate it for the exporter: they take its arguments, x is (N, C, H, W), and return a value
of the same shape.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
from onnxscript import opset18 as op

from alexnet_tk.choices import LrnForm


def native_lrn(x: Any, size: int, alpha: float, beta: float, k: float, towers: int) -> Any:
    """The operator `LRN`.

    ONNX divides alpha by size (its specification: Y = X / (bias + alpha / size · Σ X²)^beta) and we do not,
    so it gets alpha · size. It sums over all maps of a picture; folding the towers into the batch axis
    keeps the sum within each tower and copies nothing.

    With an alpha or a beta of zero the divisor is bias^beta everywhere. CUDA refuses such an `LRN`, so it is
    a division by a constant.
    """
    _, maps, height, width = x.shape
    y = _in_float32(x)
    if alpha == 0 or beta == 0:
        return _in_type_of(x, op.Div(y, _constant(np.array(k**beta, np.float32))))
    if towers > 1:
        y = op.Reshape(y, op.Constant(value_ints=[-1, maps // towers, height, width]))  # type: ignore[arg-type]
    y = op.LRN(y, alpha=alpha * size, beta=beta, bias=k, size=size)
    if towers > 1:
        y = op.Reshape(y, op.Constant(value_ints=[-1, maps, height, width]))  # type: ignore[arg-type]
    return _in_type_of(x, y)


def decomposed_lrn(x: Any, size: int, alpha: float, beta: float, k: float, towers: int) -> Any:
    """Mul, Conv, Sqrt and Div, for runtimes without `LRN`; also faster on the CPU.

    k + α Σ X² is a 1×1 convolution of the squares: its matrix has α in a band around the diagonal, its
    bias is k, and its groups keep the sum within a tower. Square roots replace the power: d^0.75 = √d · √√d.
    """
    maps, a = x.shape[1], _in_float32(x)
    index = np.arange(maps // towers)
    near = np.abs(index[:, None] - index) <= size // 2
    band = np.tile(np.float32(alpha) * near.astype(np.float32), (towers, 1))[:, :, None, None]
    d = op.Conv(op.Mul(a, a), _constant(band), _constant(np.full(maps, k, np.float32)), group=towers)
    return _in_type_of(x, op.Div(a, _power(d, beta)))


def spatial_norm(x: Any, size: int, alpha: float, beta: float, k: float) -> Any:
    """Mul, Conv and Div, with roots between them: ONNX has no operator for it.

    k + α Σ X² is a convolution of the squares, with a group for each map: every weight is α, the bias is k.
    """
    maps, a = x.shape[1], _in_float32(x)
    square = np.full((maps, 1, size, size), alpha, np.float32)
    bias, pads = np.full(maps, k, np.float32), [size // 2] * 4
    d = op.Conv(op.Mul(a, a), _constant(square), _constant(bias), group=maps, pads=pads)
    return _in_type_of(x, op.Div(a, _power(d, beta)))


LRN_TRANSLATIONS: dict[LrnForm, Callable[..., Any]] = {"native": native_lrn, "decomposed": decomposed_lrn}


def translation_table(form: LrnForm) -> dict[Any, Callable[..., Any]]:
    """What the exporter makes of the operator; the fused one exists only where it was imported."""
    names = ("local_response_norm", "fused_local_response_norm")
    operators = [getattr(torch.ops.alexnet_tk, each) for each in names if hasattr(torch.ops.alexnet_tk, each)]
    table = {operator.default: LRN_TRANSLATIONS[form] for operator in operators}
    return table | {torch.ops.alexnet_tk.spatial_response_norm.default: spatial_norm}


def normalising_convolutions(model: onnx.ModelProto) -> set[str]:
    """The names of the convolutions that `decomposed_lrn` and `spatial_norm` made: those of no layer."""
    return {
        node.name
        for node in model.graph.node
        if node.op_type == "Conv" and not node.input[1].endswith(".weight")
    }


def _power(d: Any, beta: float) -> Any:
    if beta == 0.75:
        root = op.Sqrt(d)
        return op.Mul(root, op.Sqrt(root))
    return op.Pow(d, _constant(np.array(beta, np.float32)))


def _in_float32(x: Any) -> Any:
    """The value in float32, because the squares of values above 256 overflow half precision."""
    return x if x.dtype == onnx.TensorProto.FLOAT else op.Cast(x, to=onnx.TensorProto.FLOAT)


def _in_type_of(x: Any, y: Any) -> Any:
    return y if x.dtype == onnx.TensorProto.FLOAT else op.Cast(y, to=int(x.dtype))


def _constant(value: Any) -> Any:
    return op.Constant(value=onnx.numpy_helper.from_array(value))
