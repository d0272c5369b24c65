"""From a public file to a checkpoint."""

import zipfile
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from alexnet_tk import zoo
from alexnet_tk.errors import CheckpointError
from alexnet_tk.files import model_placeholder, refuse_existing
from alexnet_tk.geometry import layers
from alexnet_tk.importing.model_zoo import read_model_zoo
from alexnet_tk.importing.public_model import SUPPORTED_FILES, PublicModel
from alexnet_tk.importing.torchvision import read_torchvision
from alexnet_tk.inference.other_models import read_labels
from alexnet_tk.training.checkpoint import Checkpoint
from alexnet_tk.training.statistics import Statistics

# ImageNet's training pictures on the scale 0..255: the mean that Caffe's models subtract, and the principal
# components that fb.resnet.torch published (eigenvalues of the covariance on the scale 0..1).
IMAGENET = Statistics.from_lists(
    [123.0, 117.0, 104.0],
    [eigenvalue * 255**2 for eigenvalue in (0.0045, 0.0188, 0.2175)],
    [[0.4009, 0.7192, -0.5675], [-0.8140, -0.0045, -0.5808], [0.4203, -0.6948, -0.5836]],
)


def import_weights(
    source: str | PathLike[str],
    output: str | PathLike[str],
    *,
    labels: Sequence[str] | str | PathLike[str] | None = None,
    overwrite: bool = False,
) -> Checkpoint:
    """Write public weights as a checkpoint with their recipe and ImageNet's labels.

    Parameters
    ----------
    source
        torchvision's AlexNet, or bvlcalexnet or caffenet of the ONNX model zoo
    output
        the checkpoint to write
    labels
        the class names of a network that was trained on other classes, in the order of its outputs, or a
        file with one on each line; None: ImageNet's
    overwrite
        replace an existing output

    Returns
    -------
    the checkpoint; its `training` holds the name of the source and, as "network", of the model in models/

    Raises
    ------
    CheckpointError
        an unsupported file, which the message describes, or a broken one; another number of labels
    InputError
        the file of labels can't be read
    OutputError
        the output exists or can't be written

    """
    source, output = Path(source), Path(output)
    if not source.is_file():
        raise CheckpointError(f"{source} is not a file; give {SUPPORTED_FILES}")
    if (kind := model_placeholder(source)) is not None:
        raise CheckpointError(f"{source} is {kind}")
    refuse_existing(output, overwrite, source=[source])
    public = read_torchvision(source) if _is_from_torch(source) else read_model_zoo(source)
    names, label_ids = _labels(labels)
    _require_shapes(source, public, len(names))
    checkpoint = Checkpoint(
        public.recipe,
        names,
        IMAGENET,
        public.weights,
        label_ids,
        {"source": source.name, "network": public.name},
    )
    checkpoint.save(output)
    return checkpoint


def _labels(given: Sequence[str] | str | PathLike[str] | None) -> tuple[list[str], list[str]]:
    """The labels and their ids; other labels than ImageNet's have none."""
    if given is None:
        return zoo.labels("alexnet-2012")
    return (read_labels(Path(given)) if isinstance(given, (str, PathLike)) else list(given)), []


def _is_from_torch(source: Path) -> bool:
    """Whether the file is a zip archive or a pickle, which torch wrote before its version 1.6."""
    with source.open("rb") as file:
        first_bytes = file.read(4)
    return first_bytes.startswith((b"PK\x03\x04", b"\x80")) or zipfile.is_zipfile(source)


def _require_shapes(source: Path, public: PublicModel, num_classes: int) -> None:
    """Raise `CheckpointError` unless the weights are numbers that fit the network and its classes."""
    outputs = public.weights["f8.bias"].numel()
    if outputs != num_classes:
        raise CheckpointError(
            f"{source} has {outputs:,} classes and there are {num_classes:,} labels; "
            "give --labels a file with one on each line, in the order of the outputs"
        )
    for name, layer in layers(public.recipe.network, num_classes).items():
        for parameter, expected in (("weight", layer.weight_shape), ("bias", (layer.outputs,))):
            found = tuple(public.weights[f"{name}.{parameter}"].shape)
            if found != expected:
                raise CheckpointError(
                    f"{source}: {name}.{parameter} has the shape {found}, expected {expected}; "
                    f"give {SUPPORTED_FILES}"
                )
            if not bool(public.weights[f"{name}.{parameter}"].isfinite().all()):
                raise CheckpointError(
                    f"{source}: {name}.{parameter} holds NaN or infinite numbers; give {SUPPORTED_FILES}"
                )
