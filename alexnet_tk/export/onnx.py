"""From a checkpoint to one self-contained ONNX file with true `LRN` nodes.

torch's exporter breaks local response normalisation into ten nodes (Reshape, Pad, AveragePool, Pow, …).
Ours is one operator, `alexnet_tk::local_response_norm`, and `lrn_node` tells the exporter what it is
in ONNX. The file holds its preprocessing, too: uint8 pictures go in, probabilities come out.
"""

import hashlib
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxscript import opset18 as op

from alexnet_tk.errors import ExportError, OutputError
from alexnet_tk.export.verify import Verification, verify
from alexnet_tk.files import refuse_existing, replacing
from alexnet_tk.inference.session import FORMAT, INPUT, OUTPUT, preprocess_metadata
from alexnet_tk.training.checkpoint import Checkpoint

OPSET = 18


def lrn_node(x: Any, size: int, alpha: float, beta: float, k: float, towers: int) -> Any:
    """`alexnet_tk::local_response_norm` in ONNX's operators.

    ONNX's LRN divides alpha by size (its specification: Y = X / (bias + alpha / size · Σ X²)^beta), ours
    does not, so it is handed alpha · size. Its sum runs over all maps of a picture; folding the
    towers into the batch axis keeps it within each, and costs no copy.
    """
    _, maps, height, width = x.shape
    if towers > 1:
        x = op.Reshape(x, op.Constant(value_ints=[-1, maps // towers, height, width]))  # type: ignore[arg-type]
    y = op.LRN(x, alpha=alpha * size, beta=beta, bias=k, size=size)
    if towers > 1:
        y = op.Reshape(y, op.Constant(value_ints=[-1, maps, height, width]))  # type: ignore[arg-type]
    return y


def export(checkpoint: Path, output: Path | None = None, *, overwrite: bool = False) -> Verification:
    """Write a checkpoint's network as an ONNX file, once its answers are proven equal.

    Parameters
    ----------
    checkpoint
        what `alexnet-tk train` wrote
    output
        the file to write; None: the checkpoint's name with the ending .onnx
    overwrite
        replace an output that exists

    Returns
    -------
    what was compared, and how close it came

    Raises
    ------
    CheckpointError
        no checkpoint of ours
    ExportError
        ONNX Runtime's answers differ from torch's; no file is written
    OutputError
        the output exists or can't be written

    """
    loaded = Checkpoint.load(checkpoint)
    output = output or checkpoint.with_suffix(".onnx")
    if output.exists() and output.samefile(checkpoint):
        raise OutputError(f"{output} is the checkpoint itself; name another --output")
    refuse_existing(output, overwrite)
    model = build(loaded)
    verification = verify(model.SerializeToString(), loaded)
    _describe(model, loaded, verification, _sha256(checkpoint))
    with replacing(output) as part:
        part.write_bytes(model.SerializeToString())
    return verification


def build(checkpoint: Checkpoint) -> onnx.ModelProto:
    """The checkpoint's graph: `image` uint8 (batch, S, S, 3) to `probabilities` float32 (batch, classes)."""
    size = checkpoint.recipe.network.image_size
    pictures = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    with _quiet():
        program = torch.onnx.export(
            checkpoint.classifier(),
            (pictures,),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            custom_translation_table={torch.ops.alexnet_tk.local_response_norm.default: lrn_node},
        )
    assert program is not None
    model = program.model_proto
    _forget_origins(model)
    if model.ByteSize() >= onnx.checker.MAXIMUM_PROTOBUF:
        raise ExportError(
            "the network is larger than 2 GB, more than one ONNX file can hold; take a smaller network.hidden"
        )
    onnx.checker.check_model(model, full_check=True)
    return model


def _describe(
    model: onnx.ModelProto, checkpoint: Checkpoint, verification: Verification, sha256: str
) -> None:
    """Write what a user of the file needs to know into its metadata, each value as JSON."""
    recipe = checkpoint.recipe
    preprocess = preprocess_metadata(recipe.preprocess, checkpoint.mean, recipe.network.image_size)
    metadata = {
        "format": FORMAT,
        "labels": checkpoint.labels,
        "label_ids": checkpoint.label_ids,
        "preprocess": preprocess,
        "network": recipe.to_dict()["network"],
        "verification": asdict(verification),
        "checkpoint_sha256": sha256,
        "precision": "fp32",
    }
    model.producer_name = "alexnet-tk"
    model.producer_version = version("alexnet-tk")
    onnx.helper.set_model_props(
        model, {f"alexnet_tk.{key}": json.dumps(value) for key, value in metadata.items()}
    )


def _forget_origins(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes on every node: stack traces with the paths of the machine it ran on."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.ClearField("doc_string")
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _quiet() -> Iterator[None]:
    """Holds back what torch's exporter says of itself: steps, missing torchvision, its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
