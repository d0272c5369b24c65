"""From a checkpoint to one self-contained ONNX file.

The output gets its name only after ONNX Runtime and torch have answered alike.
"""

import json
from importlib.metadata import version
from os import PathLike
from pathlib import Path

import onnx

from alexnet_tk.choices import InputKind, LrnForm, Precision
from alexnet_tk.errors import UsageError
from alexnet_tk.exporting.graph import Variant, build_graph
from alexnet_tk.exporting.pictures import Pictures, has_sample_labels
from alexnet_tk.exporting.quantization import write_quantized
from alexnet_tk.exporting.verification import TOLERANCES, Verification, verify
from alexnet_tk.files import refuse_existing, replacing, sha256
from alexnet_tk.inference.model import ONNX_FORMAT, preprocess_metadata
from alexnet_tk.inference.runtime import METADATA_PREFIX
from alexnet_tk.progress import SILENCE, Progress
from alexnet_tk.training.checkpoint import Checkpoint

MAX_CALIBRATION_PICTURES = 200


def export(
    checkpoint: str | PathLike[str],
    output: str | PathLike[str] | None = None,
    *,
    precision: Precision = "fp32",
    lrn: LrnForm = "native",
    input: InputKind = "uint8",
    features: bool = False,
    explain: bool = False,
    calibrate: str | PathLike[str] | None = None,
    verify_on: str | PathLike[str] | None = None,
    overwrite: bool = False,
    progress: Progress = SILENCE,
) -> Verification:
    """Write a checkpoint's network as an ONNX file, once its answers are verified.

    Parameters
    ----------
    checkpoint
        what `alexnet-tk train` wrote
    output
        the file to write; None: the checkpoint's name with the ending .onnx
    precision
        of weights and arithmetic; "int8" is the smallest and the fastest on a CPU, "fp16" is for GPUs
    lrn
        "native": one `LRN` node for each normalisation; "decomposed": operators that every runtime has
    input
        "uint8": pictures (batch, S, S, 3); "float": normalised float32 (batch, 3, S, S)
    features
        give the last hidden layer's activations as an output, too, as `alexnet-tk features` reads it
    explain
        give a map of what the most probable answer rests on, too, as `alexnet-tk predict --explain` reads it;
        for "fp32" only
    calibrate
        for "int8", a folder of pictures like those that the network will classify; None: the built-in ones,
        if the network was trained on them
    verify_on
        a folder of pictures on which the answers are compared; None: that of `calibrate`, else the built-in
        ones if the network was trained on them, else generated ones
    overwrite
        replace an existing output
    progress
        receives the number of pictures that were calibrated and verified on

    Returns
    -------
    what was compared, and how close the answers are

    Raises
    ------
    CheckpointError
        not a checkpoint of alexnet-tk
    UsageError
        "int8" without calibration pictures, or the reverse; `explain` of another precision than "fp32"
    InputError
        a folder without a readable picture
    ExportError
        the answers differ too much from the checkpoint's; no file is written
    OutputError
        the output exists or can't be written

    """
    checkpoint = Path(checkpoint)
    loaded = Checkpoint.load(checkpoint)
    output = checkpoint.with_suffix(".onnx") if output is None else Path(output)
    refuse_existing(output, overwrite, source=[checkpoint])
    if explain and precision != "fp32":
        raise UsageError(f"--explain is for --precision fp32, not {precision}: a gradient needs float32")
    if explain and not loaded.recipe.network.talk:
        raise UsageError("--explain is for towers that read each other in f6 and f7; leave it out")
    variant = Variant(precision, lrn, input, features, explain)
    calibration = _calibration_pictures(loaded, variant, calibrate)
    pictures = _verification_pictures(loaded, variant, calibrate if verify_on is None else verify_on)
    with replacing(output) as part:
        if calibration is None:
            part.write_bytes(build_graph(loaded, variant).SerializeToString())
        else:
            progress.begin("calibrating", len(calibration.pixels))
            write_quantized(part, loaded, variant, calibration.pixels, progress)
        onnx.checker.check_model(part, full_check=True)
        progress.begin("verifying", len(pictures.pixels))
        verification = verify(part, loaded, variant, pictures, progress)
        metadata = _metadata(loaded, variant, calibration, verification, sha256(checkpoint))
        with part.open("ab") as file:  # protobuf merges the fields of messages that follow each other
            file.write(metadata)
    return verification


def _calibration_pictures(
    checkpoint: Checkpoint, variant: Variant, folder: str | PathLike[str] | None
) -> Pictures | None:
    square = checkpoint.preprocess
    if variant.precision != "int8":
        if folder is not None:
            raise UsageError("--calibrate is only for --precision int8; leave it out")
        return None
    if folder is not None:
        return Pictures.from_folder(Path(folder), square, MAX_CALIBRATION_PICTURES)
    if has_sample_labels(checkpoint):
        return Pictures.from_sample("train", square, MAX_CALIBRATION_PICTURES)
    raise UsageError(
        "int8 needs a hundred or more pictures like those that the network will classify; "
        "give them with --calibrate DIR"
    )


def _verification_pictures(
    checkpoint: Checkpoint, variant: Variant, folder: str | PathLike[str] | None
) -> Pictures:
    square, limit = checkpoint.preprocess, TOLERANCES[variant.precision].max_pictures
    if folder is not None:
        return Pictures.from_folder(Path(folder), square, limit)
    if has_sample_labels(checkpoint):
        return Pictures.from_sample("val", square, limit)
    return Pictures.generated(square, limit)


def _metadata(
    checkpoint: Checkpoint,
    variant: Variant,
    calibration: Pictures | None,
    verification: Verification,
    checkpoint_sha256: str,
) -> bytes:
    """A serialised `ModelProto` with nothing but the metadata, each value as JSON."""
    metadata = {
        "format": ONNX_FORMAT,
        "labels": checkpoint.labels,
        "label_ids": checkpoint.label_ids,
        "preprocess": preprocess_metadata(checkpoint.preprocess, variant.input),
        "network": checkpoint.recipe.to_dict()["network"],
        "precision": variant.precision,
        "lrn": variant.lrn,
        "calibration": calibration and {"pictures": len(calibration.pixels), "source": calibration.source},
        "verification": verification.to_dict(),
        "temperature": checkpoint.temperature,
        "checkpoint_sha256": checkpoint_sha256,
    }
    model = onnx.ModelProto(producer_name="alexnet-tk", producer_version=version("alexnet-tk"))
    onnx.helper.set_model_props(
        model, {METADATA_PREFIX + key: json.dumps(value) for key, value in metadata.items()}
    )
    return bytes(model.SerializeToString())
