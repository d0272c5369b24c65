"""From a float32 graph to one that computes in 8-bit integers: static, per channel, in QDQ form.

ONNX Runtime's own quantiser does it. Local response normalisation and the softmax stay float32: they
are a hundredth of the arithmetic, and squares and powers suffer most from 256 steps.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

from alexnet_tk.exporting.graph import Variant, build_graph, silenced
from alexnet_tk.exporting.lrn import normalising_convolutions
from alexnet_tk.inference.model import INPUT_NAME, Input
from alexnet_tk.progress import Progress
from alexnet_tk.training.checkpoint import Checkpoint

BATCH_SIZE = 8

# Convolutions and fully connected layers, and what passes their integers on unchanged.
OPERATORS = ["Conv", "Gemm", "Relu", "MaxPool", "Reshape", "Flatten"]


def write_quantized(
    path: Path, checkpoint: Checkpoint, variant: Variant, pictures: NDArray[np.uint8], progress: Progress
) -> None:
    """Write the checkpoint's graph in 8 bits.

    The activations of the calibration pictures, uint8 (N, S, S, 3), give the ranges of the integers.
    """
    model = build_graph(checkpoint, variant)
    excluded = sorted(normalising_convolutions(model))
    with TemporaryDirectory(prefix="alexnet-tk-") as folder:
        # The graph is passed as a file because the quantiser makes enough copies in memory as it is.
        float_graph = Path(folder) / "float32.onnx"
        float_graph.write_bytes(model.SerializeToString())
        del model
        inputs = Input.ours(variant.input, checkpoint.preprocess).feed(pictures)
        with silenced("root"):  # the quantiser recommends a preprocessing that our graphs don't need
            quantize_static(
                float_graph,
                path,
                _CalibrationReader(inputs, progress),
                op_types_to_quantize=OPERATORS,
                nodes_to_exclude=excluded,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                # Weights in 7 bits: processors without VNNI add two products in 16 bits, which 8-bit weights
                # overflow. The file must be right on all of them.
                reduce_range=True,
                # f6, f7 and f8 give float32: the scores keep their differences.
                extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
            )


class _CalibrationReader(CalibrationDataReader):  # type: ignore[misc]
    """Calibration inputs, a few at a time."""

    def __init__(self, inputs: NDArray[np.uint8 | np.float32], progress: Progress) -> None:
        self._batches = (inputs[i : i + BATCH_SIZE] for i in range(0, len(inputs), BATCH_SIZE))
        self._progress = progress

    def get_next(self) -> dict[str, NDArray[np.uint8 | np.float32]] | None:
        """The next batch by the name of the graph's input, None after the last."""
        batch = next(self._batches, None)
        if batch is None:
            return None
        self._progress.advance(len(batch))
        return {INPUT_NAME: batch}
