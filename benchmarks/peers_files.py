"""The files of a network that the peers in benchmarks/peers.py can read."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from alexnet_tk.choices import Precision
from alexnet_tk.exporting import export
from alexnet_tk.inference.runtime import METADATA_PREFIX


def from_zero_to_one(checkpoint: Path, target: Path, pictures: Path, precision: Precision = "fp32") -> None:
    """Export with the input that ultralytics feeds: pixels of 0..1, float32 (batch, 3, S, S) in RGB.

    The metadata that it reads is in the file, too. The checkpoint's channels must be in that order.
    """
    calibrate = pictures if precision == "int8" else None
    export(checkpoint, target, precision=precision, input="float", calibrate=calibrate, verify_on=pictures)
    model = onnx.load(target)
    metadata = {each.key: each.value for each in model.metadata_props}
    labels, preprocess = (json.loads(metadata[f"{METADATA_PREFIX}{key}"]) for key in ("labels", "preprocess"))
    mean, std = (np.reshape(preprocess[key], (1, 3, 1, 1)).astype(np.float32) for key in ("mean", "std"))
    graph = model.graph
    image = graph.input[0].name
    for node in graph.node:
        node.input[:] = ["normalised" if each == image else each for each in node.input]
    graph.initializer.extend(
        [numpy_helper.from_array(255 / std, "scale"), numpy_helper.from_array(mean / std, "shift")]
    )
    graph.node.insert(0, helper.make_node("Sub", ["scaled", "shift"], ["normalised"]))
    graph.node.insert(0, helper.make_node("Mul", [image, "scale"], ["scaled"]))
    helper.set_model_props(model, ultralytics_metadata(labels, preprocess["crop"]))
    onnx.save(model, target)


def ultralytics_metadata(labels: list[str], side: int) -> dict[str, str]:
    """What ultralytics reads of a file of any batch size; it parses the values as Python's literals."""
    return {
        "task": "classify",
        "stride": "1",
        "batch": "1",
        "channels": "3",
        "imgsz": repr([side, side]),
        "names": repr(dict(enumerate(labels))),
        "args": repr({"dynamic": True}),
    }


def openvino_files(source: Path, batch: int) -> Path:
    """Convert such a file to a folder as ultralytics' exporter leaves it, for one batch size; the folder.

    That exporter itself takes networks of ultralytics alone.
    """
    import openvino

    model = openvino.convert_model(source)
    _, *picture = model.inputs[0].partial_shape
    model.reshape([batch, *picture])
    folder = source.with_name(f"{source.stem}-{batch}_openvino_model")  # the ending names the format
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)
    metadata = {each.key: each.value for each in onnx.load(source).metadata_props}
    metadata |= {"batch": str(batch), "args": repr({"dynamic": False})}
    (folder / "metadata.yaml").write_text(json.dumps(metadata), encoding="utf-8")  # JSON is YAML
    return folder
