"""What a model's file holds, without computing anything: for `alexnet-tk show`."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alexnet_tk.errors import ModelError, OutputError
from alexnet_tk.files import refuse_existing, sha256
from alexnet_tk.opening import is_checkpoint
from alexnet_tk.recipe import Network, Recipe


@dataclass(frozen=True)
class Description:
    """A checkpoint or an ONNX file of ours, in values to print."""

    kind: str
    size: int  # bytes
    sha256: str
    network: Network
    labels: list[str]
    facts: dict[str, Any]  # recipe, training, verification, …: nested tables of plain values

    def parameters(self) -> dict[str, tuple[tuple[int, ...], int]]:
        """For each layer the shape of its weight, and how many weights and biases it has."""
        return {
            name: (shape, int(np.prod(shape)) + shape[0])
            for name, shape in weight_shapes(self.network, len(self.labels)).items()
        }


def describe(path: Path) -> Description:
    """Look into a checkpoint, which needs torch, or into an ONNX file, which does not.

    Raises
    ------
    CheckpointError, ModelError
        no such file, or none of ours; the ending .pt decides what it should be

    """
    return _checkpoint(path) if is_checkpoint(path) else _onnx_file(path)


def weight_shapes(network: Network, classes: int) -> dict[str, tuple[int, ...]]:
    """The shape of every layer's weight; its bias has as many numbers as the first dimension."""
    towers, (m1, m2, m3, m4, m5), (h6, h7) = network.towers, network.channels, network.hidden
    return {
        "c1": (m1, 3, network.c1.kernel, network.c1.kernel),
        "c2": (m2, m1 // towers, 5, 5),
        "c3": (m3, m2, 3, 3),
        "c4": (m4, m3 // towers, 3, 3),
        "c5": (m5, m4 // towers, 3, 3),
        "f6": (h6, m5 * network.sizes()["pool5"] ** 2),
        "f7": (h7, h6),
        "f8": (classes, h7),
    }


def draw_first_kernels(path: Path, picture: Path, *, overwrite: bool = False) -> None:
    """Draw c1's kernels of a checkpoint or an ONNX file as PNG, tower above tower; needs the extra "train".

    Raises
    ------
    CheckpointError, ModelError
        no such file, or none of ours
    OutputError
        the picture exists or can't be written

    """
    from alexnet_tk.training.plots import draw_filters

    if picture.exists() and picture.samefile(path):
        raise OutputError(f"{picture} is the model itself; name another file for the picture")
    refuse_existing(picture, overwrite)
    draw_filters(first_kernels(path), describe(path).network.towers, picture)


def first_kernels(path: Path) -> NDArray[np.float32]:
    """c1's kernels in RGB, float (M, 3, K, K), of a checkpoint or an ONNX file; needs torch or onnx."""
    if is_checkpoint(path):
        from alexnet_tk.training.checkpoint import Checkpoint

        return Checkpoint.load(path).first_kernels
    from alexnet_tk.inference.model import open_model

    color = open_model(path, "cpu").preprocess.color
    kernels = _onnx_kernels(path)
    return kernels[:, ::-1] if color == "BGR" else kernels


def _checkpoint(path: Path) -> Description:
    from alexnet_tk.training.checkpoint import Checkpoint

    checkpoint = Checkpoint.load(path)
    facts = checkpoint.recipe.to_dict()
    facts["preprocess"]["mean"] = list(checkpoint.mean)
    facts["statistics"] = asdict(checkpoint.statistics)
    facts["training"] = {key: value for key, value in checkpoint.training.items() if key != "history"}
    return Description(
        "checkpoint", path.stat().st_size, sha256(path), checkpoint.recipe.network, checkpoint.labels, facts
    )


def _onnx_file(path: Path) -> Description:
    from alexnet_tk.inference.model import open_model

    model = open_model(path, "cpu")
    network = Recipe.from_dict({"network": model.metadata["network"]}).network
    told = ("precision", "lrn", "network", "preprocess", "verification", "calibration", "checkpoint_sha256")
    facts: dict[str, Any] = {
        "input": model.input.type.removeprefix("tensor(").removesuffix(")"),
        "batch_size": model.batch or "any",
    }
    facts |= {key: model.metadata[key] for key in told if model.metadata.get(key) is not None}
    return Description("ONNX file", path.stat().st_size, sha256(path), network, model.labels, facts)


def _onnx_kernels(path: Path) -> NDArray[np.float32]:
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    tensors = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    name = "alexnet.c1.weight"
    if name in tensors:
        return np.asarray(tensors[name], np.float32)
    try:  # int8: a scale for each kernel
        scale = tensors[f"{name}_scale"].reshape(-1, 1, 1, 1)
        return np.asarray(tensors[f"{name}_quantized"] * scale, np.float32)
    except KeyError:
        raise ModelError(f"{path} has no kernels of the name {name}; export it again") from None
