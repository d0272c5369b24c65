"""torch's exporter takes seconds for a graph, so tests that export the same network the same way share it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import onnx
import pytest

from alexnet_tk.exporting import quantization, run
from alexnet_tk.exporting.graph import Variant, add_features, build_graph
from alexnet_tk.training.checkpoint import Checkpoint

_built: dict[str, bytes] = {}


def _shared(checkpoint: Checkpoint, variant: Variant) -> onnx.ModelProto:
    weights = {name: hash(each.numpy().tobytes()) for name, each in checkpoint.weights.items()}
    half = variant.precision == "fp16"  # int8 is made from float32
    key = repr((checkpoint.recipe, weights, checkpoint.statistics, half, variant.lrn, variant.input))
    if key not in _built:
        _built[key] = build_graph(checkpoint, replace(variant, features=False)).SerializeToString()
    model = onnx.ModelProto()
    model.ParseFromString(_built[key])
    if variant.features:
        add_features(model)
    return model


@contextmanager
def shared_graphs() -> Iterator[None]:
    """Inside, `export` builds each graph once; all else of it is done every time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "build_graph", _shared)
        patch.setattr(quantization, "build_graph", _shared)
        yield
