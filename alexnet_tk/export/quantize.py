"""From a float32 graph to one that computes in 8-bit integers: static, per channel, in QDQ form.

ONNX Runtime's own quantiser does it. Local response normalisation and the softmax stay float32: they
are a hundredth of the arithmetic, and squares and powers suffer most from 256 steps.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

from alexnet_tk.inference.model import INPUT

BATCH = 8

# Convolutions and fully connected layers, and what passes their integers on unchanged.
OPERATORS = ["Conv", "Gemm", "Relu", "MaxPool", "Reshape", "Flatten"]


class _Batches(CalibrationDataReader):  # type: ignore[misc]
    """Calibration pictures, a few at a time."""

    def __init__(self, feed: NDArray[np.uint8 | np.float32], advance: Callable[[int], None]) -> None:
        self._parts = (feed[i : i + BATCH] for i in range(0, len(feed), BATCH))
        self._advance = advance

    def get_next(self) -> dict[str, NDArray[np.uint8 | np.float32]] | None:
        """The next batch by the name of the graph's input, None after the last."""
        part = next(self._parts, None)
        if part is None:
            return None
        self._advance(len(part))
        return {INPUT: part}


def quantize(
    model: Path,
    path: Path,
    feed: NDArray[np.uint8 | np.float32],
    keep: set[str],
    advance: Callable[[int], None],
) -> None:
    """Write the graph in 8 bits.

    Parameters
    ----------
    model
        the file of the float32 graph; its folder holds the quantiser's notes for a while
    path
        the file to write
    feed
        what the graph's input gets from calibration pictures, whose activations give the ranges
    keep
        names of nodes that stay float32
    advance
        called with the number of pictures that were looked at

    """
    with _quiet():
        quantize_static(
            model,
            path,
            _Batches(feed, advance),
            op_types_to_quantize=OPERATORS,
            nodes_to_exclude=sorted(keep),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # Weights in 7 bits: processors without VNNI add two products in 16 bits, which 8-bit weights
            # overflow. The file must be right on all of them.
            reduce_range=True,
            # f6, f7 and f8 give float32: the scores keep their differences.
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Holds back the quantiser's advice on preprocessing, which our graphs don't need."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
