"""An open ONNX file: its metadata, and its answers for pictures.

This module also holds the names that exporting/graph.py writes and prediction reads.
"""

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from alexnet_tk.choices import ChannelOrder, InputKind, Math
from alexnet_tk.errors import ModelError, RecipeError
from alexnet_tk.geometry import pool5_places
from alexnet_tk.inference.cuda import is_half
from alexnet_tk.inference.heat_map import Places
from alexnet_tk.inference.openvino_session import OpenVinoSession, can_be_faster
from alexnet_tk.inference.pinned import pinned
from alexnet_tk.inference.runtime import TYPES, is_out_of_memory, own_metadata, reason
from alexnet_tk.inference.session import Device
from alexnet_tk.inference.session_pool import Session, as_one, open_sessions
from alexnet_tk.preprocess import RGB, Preprocess
from alexnet_tk.recipe import Recipe
from alexnet_tk.text import counted

ONNX_FORMAT = "alexnet-tk.onnx/1"
INPUT_NAME = "image"  # uint8 (batch, S, S, 3) red, green, blue; or float32 (batch, 3, S, S), normalised
OUTPUT_NAME = "probabilities"  # float32 (batch, classes)
# Where `export` was asked for them: float32 (batch, units of the last hidden layer), and
# float32 (batch, side of pool5's maps, the same).
FEATURES_NAME = "features"
EXPLANATION_NAME = "explanation"

# Of the metadata "preprocess", a published contract; recipes read "color" as their "channel_order".
PREPROCESS_KEYS = ("resize", "filter", "color", "mean", "std")


@dataclass(frozen=True)
class Input:
    """The input of a file, and how pictures become it."""

    name: str
    type: str  # ONNX Runtime's name of it, one of `TYPES`
    layout: Literal["NHWC", "NCHW"]
    channel_order: ChannelOrder
    mean: RGB = (0.0, 0.0, 0.0)  # subtracted where the input is float; with uint8 the file does it
    std: RGB = (1.0, 1.0, 1.0)

    @classmethod
    def ours(cls, kind: InputKind, preprocess: Preprocess) -> "Input":
        """The input of a file of ours: pictures as they are, or with all of the preprocessing done."""
        if kind == "uint8":
            return cls(INPUT_NAME, "tensor(uint8)", "NHWC", "RGB")
        return cls(
            INPUT_NAME, "tensor(float)", "NCHW", preprocess.channel_order, preprocess.mean, preprocess.std
        )

    def shape(self, size: int) -> list[int]:
        """Of one picture."""
        return [size, size, 3] if self.layout == "NHWC" else [3, size, size]

    def feed(self, pictures: NDArray[np.uint8]) -> NDArray[Any]:
        """The input for pictures uint8 (N, S, S, 3), red, green, blue."""
        x: NDArray[Any] = pictures
        if self.type != "tensor(uint8)":
            x = (x - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
            x = x.astype(TYPES[self.type], copy=False)
        if self.channel_order == "BGR":
            x = x[..., ::-1]
        return np.ascontiguousarray(x if self.layout == "NHWC" else x.transpose(0, 3, 1, 2))


@dataclass(frozen=True)
class Model:
    """An open file; calling `run` from several threads at once is safe."""

    session: Session
    device: Device
    labels: list[str]
    preprocess: Preprocess
    input: Input
    batch: int | None  # the only batch size that the file takes; None: any
    metadata: dict[str, Any]  # of the file, without the prefix "alexnet_tk."
    output: str = OUTPUT_NAME
    softmax: bool = False  # whether the output is scores, still to be made probabilities
    features: int | None = None  # units of the last hidden layer; None: the file does not give them
    places: Places | None = None  # of the map that an answer rests on; None: the file does not give it

    @property
    def image_size(self) -> int:
        """The side of a picture as the network takes it, pixels."""
        return self.preprocess.crop

    def prepare(self, batch_size: int) -> None:
        """Do now what the first batch of this size would wait for; raises `ModelError`."""
        count = self.batch or batch_size
        if isinstance(self.session, OpenVinoSession):
            try:
                self.session.prepare((count, *self.input.shape(self.image_size)))
            except Exception as error:
                raise ModelError(self._failure(error, count)) from error

    @property
    def is_half(self) -> bool:
        """Whether its products are computed in half precision."""
        return is_half(self.metadata.get("precision"), self.input.type)

    @property
    def faster(self) -> tuple[str, ...]:
        """What would make a file of ours faster on this processor, in words; measured: docs/benchmarks.md."""
        if self.device.is_cuda or "precision" not in self.metadata:
            return ()
        ways = []
        if self.device.name == "cpu" and can_be_faster() and find_spec("openvino") is None:
            ways.append("`pip install openvino`")
        # ONNX Runtime's own LRN takes a power of every element; to rewrite it when the file is opened costs
        # more than three hundred pictures gain.
        network = Recipe.from_dict({"network": self.metadata.get("network", {})}).network
        if self.device.name == "cpu" and self.metadata.get("lrn") == "native" and network.has_lrn:
            ways.append("a file of --lrn decomposed")
        if self.metadata["precision"] != "int8":
            ways.append("a file of --precision int8 --lrn decomposed")
        return tuple(ways)

    def run(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities (N, classes) of pictures uint8 (N, S, S, 3); raises `ModelError`."""
        return self.run_with(pictures)[0]

    def run_with(self, pictures: NDArray[np.uint8], *extras: str) -> list[NDArray[np.float32]]:
        """As `run`, and each of these further outputs, float32 (N, …)."""
        outputs = [self.output, *extras]
        step = self.batch or len(pictures)
        runs = [self._run_batch(pictures[i : i + step], outputs) for i in range(0, len(pictures), step)]
        return runs[0] if len(runs) == 1 else [np.concatenate(each) for each in zip(*runs, strict=True)]

    def _run_batch(self, pictures: NDArray[np.uint8], outputs: list[str]) -> list[NDArray[np.float32]]:
        count = len(pictures)
        if self.batch is not None and count < self.batch:
            blank = np.zeros((self.batch - count, *pictures.shape[1:]), np.uint8)
            pictures = np.concatenate([pictures, blank])
        try:
            answers = self.session.run(outputs, {self.input.name: self.input.feed(pictures)})
        except Exception as error:
            raise ModelError(self._failure(error, count)) from error
        answers[0] = answers[0].reshape(len(pictures), -1)
        rows = [each[:count].astype(np.float32, copy=False) for each in answers]
        if self.softmax:
            rows[0] = softmax(rows[0])
        return rows

    def _failure(self, error: Exception, count: int) -> str:
        """What went wrong with a batch of `count` pictures, and the next step."""
        if not is_out_of_memory(error):
            return (
                f"the network could not answer for {counted(count, 'picture')} on {self.device.name}: "
                f"{reason(error)}; `alexnet-tk doctor` tests the device"
            )
        cure = f"try --batch-size {count // 2}"
        if count < 2 or self.batch is not None:
            others = "`nvidia-smi` lists the programs that use it, " if self.device.is_cuda else ""
            cure = f"{others}a file of --precision fp16 needs less"
        return f"{self.device.name} has no memory left for {counted(count, 'picture')} at once; {cure}"


def open_model(path: Path, device: str = "auto", math: Math = "exact", latency: bool = False) -> Model:
    """Open an exported file.

    Parameters
    ----------
    path
        what `alexnet-tk export` wrote
    device
        "auto": CUDA where it is proven to work, else OpenVINO where it is installed and was measured to be
        faster, else ONNX Runtime on the CPU; "cpu", "openvino", "cuda", "cuda:N" or, for all GPUs of the
        machine, "cuda:all": that or an error
    math
        "exact", or "fast": products of float32 may be in TF32 on CUDA, in bfloat16 in OpenVINO
    latency
        compute a batch on all usable cores, and not one on each

    Raises
    ------
    ModelError
        no such file, no ONNX file, or one without our metadata
    DeviceError
        CUDA or OpenVINO was asked for and does not work; the message names what is missing
    MissingExtraError
        OpenVINO was asked for and is not installed

    """
    sessions, chosen = open_sessions(path, device, math, latency=latency)
    session = sessions[0]
    try:
        metadata = {key: json.loads(value) for key, value in own_metadata(session).items()}
        if metadata["format"] != ONNX_FORMAT:
            raise ModelError(
                f"{path} has the format {metadata['format']!r}, this version reads {ONNX_FORMAT!r}; "
                "export it again"
            )
        labels, saved = metadata["labels"], metadata["preprocess"]
        if saved["crop"] != metadata["network"]["image_size"]:
            raise ValueError("its preprocessing and its network disagree on the size of a picture")
        kind: InputKind = "uint8" if saved["in_graph"] else "float"
        table = {key: saved[key] for key in PREPROCESS_KEYS}
        recipe = Recipe.from_dict({"network": metadata["network"], "preprocess": table})
        if isinstance(recipe.preprocess.mean, str):
            raise ValueError("its mean is not a number")
        preprocess = recipe.resolve(recipe.preprocess.mean)
    except KeyError as error:
        raise ModelError(
            f"{path} has no metadata of alexnet-tk ({error.args[0]} is missing), so its preprocessing and "
            "labels are unknown; give --labels FILE and --preprocess imagenet, caffe or FILE.toml, or export "
            "it with `alexnet-tk export`"
        ) from None
    except (ValueError, TypeError, RecursionError, RecipeError) as error:
        raise ModelError(f"{path} has broken metadata: {error}; export it again") from error
    takes = Input.ours(kind, preprocess)
    units = recipe.network.hidden[-1]
    _check_shapes(path, session, labels, metadata.get("label_ids", []), preprocess.crop, takes, units)
    batch = session.get_inputs()[0].shape[0]
    outputs = [each.name for each in session.get_outputs()]
    return Model(
        as_one([pinned(each) for each in sessions] if chosen.is_cuda else sessions),
        chosen,
        labels,
        preprocess,
        takes,
        batch if isinstance(batch, int) else None,
        metadata,
        features=units if FEATURES_NAME in outputs else None,
        places=Places(*pool5_places(recipe.network)) if EXPLANATION_NAME in outputs else None,
    )


def preprocess_metadata(preprocess: Preprocess, kind: InputKind) -> dict[str, Any]:
    """What a file says of its preprocessing; `open_model` reads it back."""
    metadata = {
        "resize": preprocess.resize,
        "crop": preprocess.crop,
        "filter": preprocess.filter,
        "orientation": "exif",
        "color": preprocess.channel_order,
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
        # What the graph does itself. With "float" all of it is the caller's, in this order: subtract the mean
        # and divide by std (red, green, blue, 0..255), order the channels, move them to the front.
        "in_graph": ["mean", "std", "color"] if kind == "uint8" else [],
    }
    # With either input the graph subtracts what the mean picture has beyond the mean.
    return metadata | {"mean_picture": True} if preprocess.mean_picture else metadata


def softmax(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities (N, classes) of scores (N, classes)."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]


def _check_shapes(
    path: Path,
    session: ort.InferenceSession | OpenVinoSession,
    labels: object,
    ids: object,
    size: int,
    input: Input,
    units: int,
) -> None:
    """Raise `ModelError` unless input, outputs, labels and the last hidden layer's units fit together."""
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ModelError(f"{path} has broken metadata: its labels are no list of names; export it again")
    if not isinstance(ids, list) or len(ids) not in (0, len(labels)):
        raise ModelError(f"{path} has broken metadata: its label_ids are no list of ids; export it again")
    takes = [(each.name, each.type, each.shape[1:]) for each in session.get_inputs()]
    shape = input.shape(size)
    if takes != [(INPUT_NAME, input.type, shape)]:
        raise ModelError(
            f"{path} does not take {input.type} (batch, {', '.join(map(str, shape))}) as {INPUT_NAME!r}, "
            "though its metadata says so; export it again"
        )
    first, *others = [(each.name, each.type, each.shape[1:]) for each in session.get_outputs()]
    if first != (OUTPUT_NAME, "tensor(float)", [len(labels)]):
        raise ModelError(
            f"{path} does not give {OUTPUT_NAME!r} (batch, {len(labels)}) for its {len(labels)} labels; "
            "export it again"
        )
    for name, kind, sides in others:
        is_known = (name == FEATURES_NAME and sides == [units]) or (
            name == EXPLANATION_NAME and len(sides) == 2 and sides[0] == sides[1]
        )
        if kind != "tensor(float)" or not is_known:
            raise ModelError(
                f"{path} gives {name!r} (batch, {', '.join(map(str, sides))}), which is neither "
                f"{FEATURES_NAME!r} (batch, {units}) nor {EXPLANATION_NAME!r} (batch, side, side); "
                "export it again"
            )
