"""From a checkpoint to one self-contained ONNX file with true `LRN` nodes.

torch's exporter breaks local response normalisation into ten nodes (Reshape, Pad, AveragePool, Pow, …).
Ours is one operator, `alexnet_tk::local_response_norm`, and `lrn_node` tells the exporter what it is
in ONNX. The file holds its preprocessing, too: uint8 pictures go in, probabilities come out. No file
gets its name before ONNX Runtime and torch have answered alike.
"""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxscript import opset18 as op

from alexnet_tk.errors import ExportError, OutputError, UsageError
from alexnet_tk.export.pictures import Pictures, knows_the_sample
from alexnet_tk.export.quantize import quantize
from alexnet_tk.export.verify import BOUNDS, Precision, Verification, verify
from alexnet_tk.files import refuse_existing, replacing, sha256
from alexnet_tk.inference.model import (
    FORMAT,
    INPUT,
    OUTPUT,
    PREFIX,
    Input,
    InputKind,
    preprocess_metadata,
)
from alexnet_tk.network.alexnet import TensorClassifier
from alexnet_tk.training.checkpoint import Checkpoint
from alexnet_tk.training.progress import Progress, Silence

OPSET = 18
CALIBRATION = 200  # pictures, at most


@dataclass(frozen=True)
class Form:
    """In which form a network is written."""

    precision: Precision = "fp32"
    lrn: Literal["native", "decomposed"] = "native"  # one LRN node, or operators that every runtime has
    input: InputKind = "uint8"  # pictures, or the float32 (batch, 3, S, S) that other tools make of them


def lrn_node(x: Any, size: int, alpha: float, beta: float, k: float, towers: int) -> Any:
    """`alexnet_tk::local_response_norm` as ONNX's `LRN`.

    ONNX's LRN divides alpha by size (its specification: Y = X / (bias + alpha / size · Σ X²)^beta), ours
    does not, so it is handed alpha · size. Its sum runs over all maps of a picture; folding the
    towers into the batch axis keeps it within each, and costs no copy.
    """
    _, maps, height, width = x.shape
    y = _in_float32(x)
    if towers > 1:
        y = op.Reshape(y, op.Constant(value_ints=[-1, maps // towers, height, width]))  # type: ignore[arg-type]
    y = op.LRN(y, alpha=alpha * size, beta=beta, bias=k, size=size)
    if towers > 1:
        y = op.Reshape(y, op.Constant(value_ints=[-1, maps, height, width]))  # type: ignore[arg-type]
    return _in_dtype_of(x, y)


def lrn_decomposed(x: Any, size: int, alpha: float, beta: float, k: float, towers: int) -> Any:
    """`alexnet_tk::local_response_norm` for runtimes without `LRN`; on the CPU also faster.

    k + α Σ X² is a 1×1 convolution of the squares with a matrix of α in a band around the diagonal and
    the bias k; grouped convolution keeps the sum within a tower. d^0.75 = √d · √√d spares the power.
    """
    maps, a = x.shape[1], _in_float32(x)
    index = np.arange(maps // towers)
    near = np.abs(index[:, None] - index) <= size // 2
    band = np.tile(np.float32(alpha) * near.astype(np.float32), (towers, 1))[:, :, None, None]
    d = op.Conv(op.Mul(a, a), _constant(band), _constant(np.full(maps, k, np.float32)), group=towers)
    if beta == 0.75:
        root = op.Sqrt(d)
        y = op.Div(a, op.Mul(root, op.Sqrt(root)))
    else:
        y = op.Div(a, op.Pow(d, _constant(np.array(beta, np.float32))))
    return _in_dtype_of(x, y)


def _in_float32(x: Any) -> Any:
    """Half precision widened: squares overflow it above 256."""
    return x if x.dtype == onnx.TensorProto.FLOAT else op.Cast(x, to=onnx.TensorProto.FLOAT)


def _in_dtype_of(x: Any, y: Any) -> Any:
    return y if x.dtype == onnx.TensorProto.FLOAT else op.Cast(y, to=int(x.dtype))


def _constant(value: Any) -> Any:
    return op.Constant(value=onnx.numpy_helper.from_array(value))


LRN_MAPPINGS = {"native": lrn_node, "decomposed": lrn_decomposed}


def export(
    checkpoint: Path,
    output: Path | None = None,
    form: Form = Form(),
    *,
    calibrate: Path | None = None,
    verify_on: Path | None = None,
    overwrite: bool = False,
    progress: Progress = Silence(),  # noqa: B008  without state
) -> Verification:
    """Write a checkpoint's network as an ONNX file, once its answers are proven.

    Parameters
    ----------
    checkpoint
        what `alexnet-tk train` wrote
    output
        the file to write; None: the checkpoint's name with the ending .onnx
    form
        precision, LRN's mapping and the kind of input
    calibrate
        a folder of pictures like those the network will meet, for int8; None: the built-in ones, if the
        network was trained on them
    verify_on
        a folder of pictures on which the answers are compared; None: those of `calibrate`, else the built-in
        ones if the network was trained on them, else generated ones
    overwrite
        replace an output that exists
    progress
        told of the pictures that were looked at

    Returns
    -------
    what was compared, and how close it came

    Raises
    ------
    CheckpointError
        no checkpoint of ours
    UsageError
        int8 without pictures to calibrate on
    InputError
        a folder without a picture that can be read
    ExportError
        ONNX Runtime's answers are not close enough to torch's; no file is written
    OutputError
        the output exists or can't be written

    """
    loaded = Checkpoint.load(checkpoint)
    output = output or checkpoint.with_suffix(".onnx")
    if output.exists() and output.samefile(checkpoint):
        raise OutputError(f"{output} is the checkpoint itself; name another --output")
    refuse_existing(output, overwrite)
    calibration = _calibration_pictures(loaded, form, calibrate)
    proof = _proof_pictures(loaded, form, verify_on or calibrate)
    with replacing(output) as part:
        if calibration is None:
            part.write_bytes(build(loaded, form).SerializeToString())
        else:
            progress.begin("calibrating", len(calibration.pixels))
            _write_quantized(part, loaded, form, calibration.pixels, progress)
        onnx.checker.check_model(part, full_check=True)
        progress.begin("verifying", len(proof.pixels))
        verification = verify(part, loaded, proof, form.precision, form.input, progress.advance)
        with part.open("ab") as file:  # in protobuf, a message's fields that come later are its fields, too
            file.write(_metadata(loaded, form, calibration, verification, sha256(checkpoint)))
    return verification


def build(checkpoint: Checkpoint, form: Form = Form()) -> onnx.ModelProto:
    """The checkpoint's graph in a form; for "int8" the float32 graph, which `quantize` takes.

    `image`, uint8 (batch, S, S, 3) or float32 (batch, 3, S, S), to `probabilities`, float32 (batch, classes).

    Raises
    ------
    ExportError
        the network is too large for a file

    """
    size = checkpoint.recipe.network.image_size
    classifier: TensorClassifier = checkpoint.classifier()
    pictures = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    if form.input == "float":
        classifier = TensorClassifier(classifier.alexnet).eval()
        pictures = torch.zeros(2, 3, size, size)
    if form.precision == "fp16":
        classifier.alexnet.half()
    with _quiet():
        program = torch.onnx.export(
            classifier,
            (pictures,),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            custom_translation_table={
                torch.ops.alexnet_tk.local_response_norm.default: LRN_MAPPINGS[form.lrn]
            },
        )
    assert program is not None
    model = program.model_proto
    _forget_origins(model)
    if model.ByteSize() >= onnx.checker.MAXIMUM_PROTOBUF:
        raise ExportError(
            "the network is larger than 2 GB, more than one ONNX file can hold; take a smaller network.hidden"
        )
    return model


def _write_quantized(
    path: Path, checkpoint: Checkpoint, form: Form, pixels: NDArray[np.uint8], progress: Progress
) -> None:
    model = build(checkpoint, form)
    keep = lrn_convolutions(model)
    with TemporaryDirectory(prefix="alexnet-tk-") as folder:
        # The quantiser makes copies enough of its own; the graph is handed over on the disk.
        floats = Path(folder) / "float32.onnx"
        floats.write_bytes(model.SerializeToString())
        del model
        feed = Input.ours(form.input, checkpoint.exact_preprocess).feed(pixels)
        quantize(floats, path, feed, keep, progress.advance)


def lrn_convolutions(model: onnx.ModelProto) -> set[str]:
    """The names of the convolutions that sum for a decomposed LRN: those without the weights of a layer."""
    return {
        node.name
        for node in model.graph.node
        if node.op_type == "Conv" and not node.input[1].endswith(".weight")
    }


def _calibration_pictures(checkpoint: Checkpoint, form: Form, folder: Path | None) -> Pictures | None:
    if form.precision != "int8":
        if folder is not None:
            raise UsageError("--calibrate is for --precision int8")
        return None
    if folder is not None:
        return Pictures.from_folder(folder, checkpoint, CALIBRATION)
    if knows_the_sample(checkpoint):
        return Pictures.from_sample("train", checkpoint, CALIBRATION)
    raise UsageError(
        "int8 needs pictures like those that the network will meet, a hundred or more: give --calibrate DIR"
    )


def _proof_pictures(checkpoint: Checkpoint, form: Form, folder: Path | None) -> Pictures:
    most = BOUNDS[form.precision].pictures
    if folder is not None:
        return Pictures.from_folder(folder, checkpoint, most)
    if knows_the_sample(checkpoint):
        return Pictures.from_sample("val", checkpoint, most)
    return Pictures.generated(checkpoint, most)


def _metadata(
    checkpoint: Checkpoint,
    form: Form,
    calibration: Pictures | None,
    verification: Verification,
    sha256: str,
) -> bytes:
    """What a user of the file needs to know, each value as JSON, as a part of a `ModelProto`."""
    recipe = checkpoint.recipe
    metadata = {
        "format": FORMAT,
        "labels": checkpoint.labels,
        "label_ids": checkpoint.label_ids,
        "preprocess": preprocess_metadata(checkpoint.exact_preprocess, recipe.network.image_size, form.input),
        "network": recipe.to_dict()["network"],
        "precision": form.precision,
        "lrn": form.lrn,
        "calibration": calibration and {"pictures": len(calibration.pixels), "source": calibration.source},
        "verification": asdict(verification),
        "checkpoint_sha256": sha256,
    }
    told = onnx.ModelProto(producer_name="alexnet-tk", producer_version=version("alexnet-tk"))
    onnx.helper.set_model_props(told, {PREFIX + key: json.dumps(value) for key, value in metadata.items()})
    return bytes(told.SerializeToString())


def _forget_origins(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes on every node: stack traces with the paths of the machine it ran on."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.ClearField("doc_string")
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]


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
