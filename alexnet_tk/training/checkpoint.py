"""The file `model.pt`: a recipe, its weights and everything needed to use them."""

import argparse
import reprlib
import warnings
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import ZipFile, is_zipfile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alexnet_tk.errors import AlexnetError, CheckpointError, OutputError, RecipeError
from alexnet_tk.files import model_placeholder, replacing
from alexnet_tk.network.alexnet import AlexNet
from alexnet_tk.network.classifier import PictureClassifier
from alexnet_tk.preprocess import Preprocess
from alexnet_tk.recipe import Recipe
from alexnet_tk.text import one_line
from alexnet_tk.training.statistics import Statistics

CHECKPOINT_FORMAT = "alexnet-tk.checkpoint/1"
ADVICE = "`alexnet-tk train` makes a checkpoint"


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint; `weights` are the canonical c1 … f8, both towers in each tensor."""

    recipe: Recipe
    labels: list[str]
    statistics: Statistics
    weights: dict[str, Tensor]
    label_ids: list[str] = field(default_factory=list)
    training: dict[str, Any] = field(default_factory=dict)  # epoch, figures, history: plain values
    temperature: float = 1.0  # divides the logits, but not in training; see evaluation/calibration.py

    @property
    def preprocess(self) -> Preprocess:
        """The recipe's preprocessing with numbers for the mean."""
        return self.recipe.resolve(self.statistics.mean)

    @property
    def first_kernels(self) -> NDArray[np.float32]:
        """c1's kernels with their channels as red, green, blue, (M, 3, K, K)."""
        kernels: NDArray[np.float32] = self.weights["c1.weight"].numpy()
        return kernels[:, ::-1] if self.recipe.preprocess.channel_order == "BGR" else kernels

    def classifier(self) -> PictureClassifier:
        """The network with its preprocessing, in evaluation mode, on the CPU; shares the weights' memory."""
        with torch.device("meta"):  # allocates nothing: the checkpoint's own tensors are assigned
            alexnet = AlexNet(self.recipe.network, len(self.labels))
        weights = dict(self.weights)
        if self.temperature != 1:  # in the weights of the last layer, so that no runtime has more to do
            for name in ("f8.weight", "f8.bias"):
                weights[name] = weights[name] / self.temperature
        alexnet.load_state_dict(weights, assign=True)
        picture = self.statistics.subtracted(self.recipe) if self.preprocess.mean_picture else None
        return PictureClassifier(alexnet, self.preprocess, picture).eval()

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all; raises `OutputError`."""
        content = {
            "format": CHECKPOINT_FORMAT,
            "recipe": self.recipe.to_dict(),
            "labels": self.labels,
            "label_ids": self.label_ids,
            "statistics": self.statistics.to_plain(),
            "weights": self.weights,
            "training": self.training,
            "temperature": self.temperature,
        }
        save_plain(content, path)

    @classmethod
    def load(cls, path: Path) -> "Checkpoint":
        """Read a checkpoint; only tensors and plain values are ever unpickled.

        Raises
        ------
        CheckpointError
            no such file, another kind of file, a broken one

        """
        content = read_plain(path)
        if not isinstance(content, dict) or content.get("format") != CHECKPOINT_FORMAT:
            found = reprlib.repr(content.get("format") if isinstance(content, dict) else None)
            raise CheckpointError(
                f"{path} is not an alexnet-tk checkpoint: its format is {found}, not {CHECKPOINT_FORMAT!r}; "
                f"{ADVICE}"
            )
        try:
            checkpoint = cls(
                Recipe.from_dict(content["recipe"]),
                _require_list(content["labels"]),
                Statistics.from_lists(**content["statistics"]),
                dict(content["weights"]),
                _require_list(content["label_ids"]),
                dict(content["training"]),
                float(content.get("temperature", 1.0)),  # version 0.1.0 had none
            )
            checkpoint._check()
        except (KeyError, TypeError, ValueError, ArithmeticError, RuntimeError, RecipeError) as error:
            raise CheckpointError(
                f"{path} is a broken checkpoint: {one_line(error)}; train it again"
            ) from error
        return checkpoint

    def _check(self) -> None:
        """Raise `ValueError` unless labels, ids and weights belong to one network."""
        if not 0 < self.temperature < inf:
            raise ValueError(f"its temperature is {self.temperature}")
        for names in (self.labels, self.label_ids):
            if not all(isinstance(name, str) for name in names):
                raise ValueError("its labels are not all strings")
        if len(self.label_ids) not in (0, len(self.labels)):
            raise ValueError(f"it has {len(self.labels)} labels and {len(self.label_ids)} ids")
        self._check_picture()
        with torch.device("meta"):
            network = AlexNet(self.recipe.network, len(self.labels)).state_dict()
        for name in sorted(network.keys() | self.weights.keys()):
            expected, found = network.get(name), self.weights.get(name)
            if isinstance(found, Tensor) and found.dtype != torch.float32:
                raise ValueError(f"{name} is not a dense float32 tensor")
            if isinstance(found, Tensor):
                require_numbers(name, found)
            if expected is None or not isinstance(found, Tensor) or found.shape != expected.shape:
                shapes = [
                    None if each is None else tuple(getattr(each, "shape", ())) for each in (expected, found)
                ]
                raise ValueError(f"{name} should have the shape {shapes[0]} and has {shapes[1]}")

    def _check_picture(self) -> None:
        """Raise `ValueError` unless there is a mean picture where the recipe asks for one."""
        size, picture = self.recipe.preprocess.resize, self.statistics.picture
        if picture is None and not self.preprocess.mean_picture:
            return
        if not isinstance(picture, Tensor) or picture.dtype != torch.float32:
            raise ValueError("its mean picture is not a dense float32 tensor")
        require_numbers("its mean picture", picture)
        if picture.shape != (size, size, 3):
            raise ValueError(f"its mean picture has the shape {tuple(picture.shape)}, not {(size, size, 3)}")


def require_numbers(name: str, tensor: Tensor) -> None:
    """Raise `ValueError` unless a tensor from a file stores a floating-point number for every element."""
    if (tensor.layout, tensor.device.type) != (torch.strided, "cpu") or not tensor.is_floating_point():
        raise ValueError(f"{name} is not a dense float32 tensor")
    if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.itemsize:
        raise ValueError(f"{name} has a larger shape than its data")


def save_plain(content: object, path: Path) -> None:
    """Write tensors and plain values, whole or not at all; raises `OutputError`."""
    with replacing(path) as part:
        try:
            torch.save(content, part)
        except RuntimeError as error:  # torch's writer raises it on a full disk
            raise OutputError(f"{path} can't be written, is the disk full? {one_line(error)}") from error


def read_plain(path: Path, advice: str = ADVICE, legacy: bool = False) -> object:
    """The tensors and plain values in a file; nothing else is unpickled.

    Parameters
    ----------
    path
        a file that torch wrote
    advice
        the end of error messages: what to do instead
    legacy
        also read the pickles that torch wrote before its zip archives

    Raises
    ------
    CheckpointError
        no such file, another kind of file, a broken one, one that would run code or fill the memory

    """
    try:
        if not path.exists():
            raise CheckpointError(f"{path} does not exist; {advice}")
        if path.is_file() and (kind := model_placeholder(path)) is not None:
            raise CheckpointError(f"{path} is {kind}")
        if is_zipfile(path):
            _refuse_bomb(path)
        elif path.is_file() and _begins_as_zip(path):
            raise CheckpointError(f"{path} is cut off, its end is missing; {advice}")
        elif not legacy:
            raise CheckpointError(
                f"{path} is not an alexnet-tk checkpoint (not the zip archive that torch writes); {advice}"
            )
        # Training scripts save the arguments that they were given beside the weights, as plain values.
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.simplefilter("ignore")  # torch guesses at length what other kind of file it may be
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path} can't be read: {error.strerror or error}") from error
    except UnpicklingError as error:
        raise CheckpointError(
            f"{path} asks to run code or build objects; nothing of it was run; {advice}"
        ) from error
    except AlexnetError:
        raise
    except Exception as error:  # torch's reader raises RuntimeError, EOFError, KeyError, … on garbage
        raise CheckpointError(f"{path} is a broken checkpoint: {one_line(error)}; {advice}") from error


def _begins_as_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _refuse_bomb(path: Path) -> None:
    """Raise `CheckpointError` where an archive would unpack to more than its size; torch never compresses."""
    with ZipFile(path) as archive:
        unpacked = sum(each.file_size for each in archive.infolist())
    if unpacked > path.stat().st_size:
        raise CheckpointError(
            f"{path} would unpack to {unpacked:,} bytes, more than torch writes; nothing of it was read"
        )


def _require_list(value: object) -> list[str]:
    if not isinstance(value, list):
        raise TypeError(f"the list of labels is {reprlib.repr(value)}")
    return value
