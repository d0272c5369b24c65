"""An ONNX file of ours: what it says of itself, and its answers for pictures.

This module also holds the names that export/onnx.py writes and prediction reads.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from alexnet_tk.errors import ModelError, RecipeError
from alexnet_tk.inference.session import Device, open_session, reason
from alexnet_tk.recipe import Preprocess, Recipe

FORMAT = "alexnet-tk.onnx/1"
PREFIX = "alexnet_tk."  # of the names of metadata
INPUT = "image"  # uint8 (batch, S, S, 3) red, green, blue; or float32 (batch, 3, S, S), normalised
OUTPUT = "probabilities"  # float32 (batch, classes)

InputKind = Literal["uint8", "float"]
TYPES: dict[InputKind, str] = {"uint8": "tensor(uint8)", "float": "tensor(float)"}  # ONNX Runtime's names


@dataclass(frozen=True)
class Model:
    """An opened file; calling `run` from several threads at once is safe."""

    session: ort.InferenceSession
    device: Device
    labels: list[str]
    preprocess: Preprocess
    image_size: int
    input: InputKind
    batch: int | None  # the only batch size that the file takes; None: any
    metadata: dict[str, Any]  # all that the file says of itself, without the prefix "alexnet_tk."

    def run(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities (N, classes) of pictures uint8 (N, S, S, 3); raises `ModelError`."""
        step = self.batch or len(pictures)
        answers = [self._run(pictures[i : i + step]) for i in range(0, len(pictures), step)]
        return answers[0] if len(answers) == 1 else np.concatenate(answers)

    def _run(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        count = len(pictures)
        if self.batch is not None and count < self.batch:
            blank = np.zeros((self.batch - count, *pictures.shape[1:]), np.uint8)
            pictures = np.concatenate([pictures, blank])
        feed = pictures if self.input == "uint8" else normalise(pictures, self.preprocess)
        try:
            (probabilities,) = self.session.run([OUTPUT], {INPUT: feed})
        except Exception as error:
            raise ModelError(
                f"the network could not answer for {count} pictures: {reason(error)}; "
                "a smaller --batch-size needs less memory"
            ) from error
        return probabilities[:count]  # type: ignore[no-any-return]


def open_model(path: Path, device: str = "auto") -> Model:
    """Open an exported file.

    Parameters
    ----------
    path
        what `alexnet-tk export` wrote
    device
        "auto": CUDA where it is proven to work, else the CPU; "cpu", "cuda" or "cuda:N": that or an error

    Raises
    ------
    ModelError
        no such file, no ONNX file, or one without our metadata
    DeviceError
        CUDA was asked for and does not work; the message names what is missing

    """
    if not path.exists():
        raise ModelError(f"{path} does not exist; `alexnet-tk export model.pt` makes an ONNX file")
    if path.is_dir():
        raise ModelError(f"{path} is a folder; name an ONNX file, as `alexnet-tk export model.pt` makes it")
    session, chosen = open_session(path, device)
    try:
        metadata = {
            key.removeprefix(PREFIX): json.loads(value)
            for key, value in session.get_modelmeta().custom_metadata_map.items()
            if key.startswith(PREFIX)
        }
        if metadata["format"] != FORMAT:
            raise ModelError(
                f"{path} has the format {metadata['format']!r}, this version reads {FORMAT!r}; "
                "export it again"
            )
        labels, preprocess = metadata["labels"], metadata["preprocess"]
        if preprocess["crop"] != metadata["network"]["image_size"]:
            raise ValueError("its preprocessing and its network disagree on the size of a picture")
        kind: InputKind = "uint8" if preprocess["in_graph"] else "float"
        recipe = Recipe.from_dict(
            {
                "network": metadata["network"],
                "preprocess": {key: preprocess[key] for key in ("resize", "filter", "color", "mean", "std")},
            }
        )
        if recipe.preprocess.mean == "dataset":
            raise ValueError("its mean is no number")
    except KeyError as error:
        raise ModelError(
            f"{path} has no metadata of alexnet-tk ({error.args[0]} is missing), so its preprocessing and "
            "labels are unknown; export it with `alexnet-tk export`"
        ) from None
    except (ValueError, TypeError, RecursionError, RecipeError) as error:
        raise ModelError(f"{path} has broken metadata: {error}; export it again") from error
    size = recipe.network.image_size
    _check_shapes(path, session, labels, size, kind)
    batch = session.get_inputs()[0].shape[0]
    return Model(
        session,
        chosen,
        labels,
        recipe.preprocess,
        size,
        kind,
        batch if isinstance(batch, int) else None,
        metadata,
    )


def preprocess_metadata(preprocess: Preprocess, size: int, kind: InputKind) -> dict[str, Any]:
    """What a file says of its preprocessing, whose mean is numbers; `open_model` reads it back."""
    assert preprocess.mean != "dataset"
    return {
        "resize": preprocess.resize,
        "crop": size,
        "filter": preprocess.filter,
        "orientation": "exif",
        "color": preprocess.color,
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
        # What the graph does itself. With "float" all of it is the caller's, in this order: subtract the mean
        # and divide by std (red, green, blue, 0..255), order the channels, move them to the front.
        "in_graph": ["mean", "std", "color"] if kind == "uint8" else [],
    }


def normalise(pictures: NDArray[np.uint8], preprocess: Preprocess) -> NDArray[np.float32]:
    """Pictures uint8 (N, S, S, 3) as a file of the input "float" takes them: float32 (N, 3, S, S)."""
    x = (pictures - np.asarray(preprocess.mean, np.float32)) / np.asarray(preprocess.std, np.float32)
    if preprocess.color == "BGR":
        x = x[..., ::-1]
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def _check_shapes(
    path: Path, session: ort.InferenceSession, labels: object, size: int, kind: InputKind
) -> None:
    """Raise `ModelError` unless input, output and labels fit together."""
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ModelError(f"{path} has broken metadata: its labels are no list of names; export it again")
    takes = [(each.name, each.type, each.shape[1:]) for each in session.get_inputs()]
    shape = [size, size, 3] if kind == "uint8" else [3, size, size]
    if takes != [(INPUT, TYPES[kind], shape)]:
        raise ModelError(
            f"{path} does not take {kind} pictures (batch, {', '.join(map(str, shape))}) as {INPUT!r}, as it "
            "says it does; export it again"
        )
    gives = [(each.name, each.type, each.shape[1:]) for each in session.get_outputs()]
    if gives != [(OUTPUT, "tensor(float)", [len(labels)])]:
        raise ModelError(
            f"{path} does not give {OUTPUT!r} (batch, {len(labels)}) for its {len(labels)} labels; "
            "export it again"
        )
