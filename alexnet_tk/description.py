"""The contents of a model's file, read without computing anything: for `alexnet-tk show`."""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet_tk.errors import ModelError
from alexnet_tk.files import refuse_existing, sha256
from alexnet_tk.geometry import Layer, Network, layers
from alexnet_tk.model_files import is_checkpoint
from alexnet_tk.recipe import Recipe

# Metadata of an ONNX file that is described, in this order.
ONNX_FACTS = (
    "precision",
    "lrn",
    "network",
    "preprocess",
    "verification",
    "calibration",
    "temperature",
    "checkpoint_sha256",
)


@dataclass(frozen=True)
class Description:
    """The contents of a checkpoint or of an exported ONNX file."""

    kind: str  # "checkpoint" or "ONNX file"
    size: int  # bytes
    sha256: str
    network: Network
    labels: list[str]
    facts: dict[str, Any]  # recipe, training, verification, …: nested tables of plain values

    @property
    def layers(self) -> dict[str, Layer]:
        """The eight layers by name, with their shapes and numbers of parameters."""
        return layers(self.network, len(self.labels))


def describe(path: str | PathLike[str]) -> Description:
    """Read a checkpoint, which needs torch, or an ONNX file, which does not; the ending decides.

    Raises
    ------
    CheckpointError, ModelError
        no such file, or not a file of alexnet-tk

    """
    path = Path(path)
    return _describe_checkpoint(path) if is_checkpoint(path) else _describe_onnx_file(path)


def draw_first_kernels(
    path: str | PathLike[str], picture: str | PathLike[str], *, overwrite: bool = False
) -> None:
    """Draw c1's kernels as a PNG, one tower above the other; needs the extra "train".

    Raises
    ------
    CheckpointError, ModelError
        no such file, or not a file of alexnet-tk
    OutputError
        the picture exists or can't be written

    """
    from alexnet_tk.training.plots import draw_filters

    path, picture = Path(path), Path(picture)
    refuse_existing(picture, overwrite, source=[path])
    draw_filters(first_kernels(path), describe(path).network.towers, picture)


def first_kernels(path: Path) -> NDArray[np.float32]:
    """The kernels of c1, float32 (M, 3, K, K) in red, green, blue; needs torch or onnx."""
    if is_checkpoint(path):
        from alexnet_tk.training.checkpoint import Checkpoint

        return Checkpoint.load(path).first_kernels
    from alexnet_tk.inference.model import open_model

    order = open_model(path, "cpu").preprocess.channel_order
    kernels = _onnx_kernels(path)
    return kernels[:, ::-1] if order == "BGR" else kernels


def _describe_checkpoint(path: Path) -> Description:
    from alexnet_tk.training.checkpoint import Checkpoint

    checkpoint = Checkpoint.load(path)
    facts = checkpoint.recipe.to_dict()
    if not checkpoint.preprocess.mean_picture:
        facts["preprocess"]["mean"] = list(checkpoint.preprocess.mean)
    facts["statistics"] = checkpoint.statistics.to_plain()
    if checkpoint.statistics.picture is not None:
        facts["statistics"]["picture"] = list(checkpoint.statistics.picture.shape)
    facts["temperature"] = checkpoint.temperature
    facts["training"] = {key: value for key, value in checkpoint.training.items() if key != "history"}
    return Description(
        "checkpoint", path.stat().st_size, sha256(path), checkpoint.recipe.network, checkpoint.labels, facts
    )


def _describe_onnx_file(path: Path) -> Description:
    from alexnet_tk.inference.model import open_model

    model = open_model(path, "cpu")
    network = Recipe.from_dict({"network": model.metadata["network"]}).network
    facts: dict[str, Any] = {
        "input": model.input.type.removeprefix("tensor(").removesuffix(")"),
        "batch_size": model.batch or "any",
    }
    if model.features is not None:
        facts["features"] = model.features
    facts |= {key: model.metadata[key] for key in ONNX_FACTS if model.metadata.get(key) is not None}
    return Description("ONNX file", path.stat().st_size, sha256(path), network, model.labels, facts)


def _onnx_kernels(path: Path) -> NDArray[np.float32]:
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    tensors = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    name = "alexnet.c1.weight"
    if name in tensors:
        return np.asarray(tensors[name], np.float32)
    try:  # int8 has a scale for each kernel
        scale = tensors[f"{name}_scale"].reshape(-1, 1, 1, 1)
        return np.asarray(tensors[f"{name}_quantized"] * scale, np.float32)
    except KeyError:
        raise ModelError(f"{path} has no tensor {name} with c1's kernels; export it again") from None
