"""ONNX's LRN for onnx's reference evaluator."""

from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun


class LRN(OpRun):
    """The operator as ONNX specifies it; that of onnx 1.23 uses the batch size as the number of maps."""

    def _run(self, x: Any, alpha: float, beta: float, bias: float, size: int) -> tuple[Any]:
        sums = np.zeros_like(x)
        for c in range(x.shape[1]):
            low, high = max(0, c - (size - 1) // 2), min(x.shape[1] - 1, c + -(-(size - 1) // 2))
            sums[:, c] = (x[:, low : high + 1] ** 2).sum(axis=1)
        return ((x / (bias + alpha / size * sums) ** beta).astype(x.dtype),)
