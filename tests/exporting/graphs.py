"""torch's exporter takes seconds for a graph, so tests that export the same network the same way share it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import onnx
import pytest
from torch import Tensor

from alexnet_tk.exporting import quantization, run
from alexnet_tk.exporting.explanation import add_explanation
from alexnet_tk.exporting.graph import Variant, add_features, build_graph
from alexnet_tk.training.checkpoint import Checkpoint

_built: dict[str, bytes] = {}


def _shared(checkpoint: Checkpoint, variant: Variant) -> onnx.ModelProto:
    weights = _hashed(checkpoint.weights)
    half = variant.precision == "fp16"  # int8 is made from float32
    statistics = checkpoint.statistics.to_plain()
    key = repr((checkpoint.recipe, weights, _hashed(statistics), half, variant.lrn, variant.input))
    if key not in _built:
        plain = replace(variant, features=False, explain=False)
        _built[key] = build_graph(checkpoint, plain).SerializeToString()
    model = onnx.ModelProto()
    model.ParseFromString(_built[key])
    if variant.features:
        add_features(model)
    if variant.explain:
        add_explanation(model, checkpoint.recipe.network)
    return model


def _hashed(values: dict[str, Any]) -> dict[str, Any]:
    """The values, and hashes in the place of tensors."""
    return {
        name: hash(each.numpy().tobytes()) if isinstance(each, Tensor) else each
        for name, each in values.items()
    }


@contextmanager
def shared_graphs() -> Iterator[None]:
    """Inside, `export` builds each graph once; all else of it is done every time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "build_graph", _shared)
        patch.setattr(quantization, "build_graph", _shared)
        yield
