"""An ONNX file of ours, opened on a device that is proven to work, with what the file says of itself.

This module also holds the names that export/onnx.py writes and prediction reads.
"""

import contextlib
import ctypes
import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from alexnet_tk.errors import DeviceError, ModelError, RecipeError, UsageError
from alexnet_tk.recipe import Preprocess, Recipe

FORMAT = "alexnet-tk.onnx/1"
INPUT = "image"  # uint8 (batch, S, S, 3), red, green, blue
OUTPUT = "probabilities"  # float32 (batch, classes)


@dataclass(frozen=True)
class Device:
    """Where a session computes: "cpu" or "cuda:N", and why there."""

    name: str
    why: str


@dataclass(frozen=True)
class Model:
    """An opened file; calling `run` from several threads at once is safe."""

    session: ort.InferenceSession
    device: Device
    labels: list[str]
    preprocess: Preprocess
    image_size: int

    def run(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities (N, classes) of pictures uint8 (N, S, S, 3); raises `ModelError`."""
        try:
            (probabilities,) = self.session.run([OUTPUT], {INPUT: pictures})
        except Exception as error:  # ONNX Runtime's exceptions share no class of their own
            raise ModelError(
                f"the network could not answer for {len(pictures)} pictures: {_reason(error)}; "
                "a smaller --batch-size needs less memory"
            ) from error
        return probabilities  # type: ignore[no-any-return]


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
    session, chosen = _open_session(path, device)
    metadata = session.get_modelmeta().custom_metadata_map
    try:
        form = json.loads(metadata["alexnet_tk.format"])
        if form != FORMAT:
            raise ModelError(
                f"{path} has the format {form!r}, this version reads {FORMAT!r}; export it again"
            )
        labels = json.loads(metadata["alexnet_tk.labels"])
        preprocess = json.loads(metadata["alexnet_tk.preprocess"])
        if preprocess["crop"] != json.loads(metadata["alexnet_tk.network"])["image_size"]:
            raise ValueError("its preprocessing and its network disagree on the size of a picture")
        recipe = Recipe.from_dict(
            {
                "network": json.loads(metadata["alexnet_tk.network"]),
                "preprocess": {key: preprocess[key] for key in ("resize", "filter", "color", "mean", "std")},
            }
        )
    except KeyError as error:
        raise ModelError(
            f"{path} has no metadata of alexnet-tk ({error.args[0]} is missing), so its preprocessing and "
            "labels are unknown; export it with `alexnet-tk export`"
        ) from None
    except (ValueError, TypeError, RecursionError, RecipeError) as error:
        raise ModelError(f"{path} has broken metadata: {error}; export it again") from error
    model = Model(session, chosen, labels, recipe.preprocess, recipe.network.image_size)
    _check_shapes(path, model)
    return model


def preprocess_metadata(
    preprocess: Preprocess, mean: tuple[float, float, float], size: int
) -> dict[str, Any]:
    """What a file says of its preprocessing; `open_model` reads it back."""
    return {
        "resize": preprocess.resize,
        "crop": size,
        "filter": preprocess.filter,
        "orientation": "exif",
        "color": preprocess.color,
        "mean": list(mean),
        "std": list(preprocess.std),
        "in_graph": ["color", "mean", "std"],
    }


def _check_shapes(path: Path, model: Model) -> None:
    """Raise `ModelError` unless input, output and labels fit together."""
    if not isinstance(model.labels, list) or not all(isinstance(label, str) for label in model.labels):
        raise ModelError(f"{path} has broken metadata: its labels are no list of names; export it again")
    inputs, outputs = model.session.get_inputs(), model.session.get_outputs()
    size, count = model.image_size, len(model.labels)
    takes = [(each.name, each.type, each.shape[1:]) for each in inputs]
    if len(inputs) == 1 and isinstance(inputs[0].shape[0], int):
        raise ModelError(f"{path} takes batches of {inputs[0].shape[0]} only; export it with a dynamic batch")
    if takes != [(INPUT, "tensor(uint8)", [size, size, 3])]:
        raise ModelError(
            f"{path} does not take uint8 pictures (batch, {size}, {size}, 3) as {INPUT!r}; export it again"
        )
    gives = [(each.name, each.type, each.shape[1:]) for each in outputs]
    if gives != [(OUTPUT, "tensor(float)", [count])]:
        raise ModelError(
            f"{path} does not give {OUTPUT!r} (batch, {count}) for its {count} labels; export it again"
        )


def _open_session(path: Path, device: str) -> tuple[ort.InferenceSession, Device]:
    if device != "auto" and re.fullmatch(r"cpu|cuda(:\d+)?", device) is None:
        raise UsageError(f"--device is {device!r}; it must be auto, cpu, cuda or cuda:N")
    why = "asked for"
    if device != "cpu":
        index = int(device.partition(":")[2] or 0)
        problem = _no_driver() if device == "auto" else None
        if problem is None:
            session, problem = _try_cuda(path, index)
            if session is not None:
                return session, Device(f"cuda:{index}", "CUDA works" if device == "auto" else why)
        if device != "auto":
            raise DeviceError(f"--device {device}: {problem}; --device cpu works everywhere")
        why = str(problem)
    options = _options()
    # One thread a session run: the workers that call it are as many as there are cores.
    options.intra_op_num_threads = 1
    return _session(path, options, ["CPUExecutionProvider"]), Device("cpu", why)


def _try_cuda(path: Path, index: int) -> tuple[ort.InferenceSession | None, str | None]:
    """A session that can't have fallen back to the CPU, or what is missing."""
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        return None, "this onnxruntime has no CUDA provider; pip install onnxruntime-gpu"
    options = _options()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    # Every new input shape costs a search for convolution algorithms; HEURISTIC searches least.
    provider = ("CUDAExecutionProvider", {"device_id": index, "cudnn_conv_algo_search": "HEURISTIC"})
    with _native_log() as log:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints there which libraries it misses
            ort.preload_dlls()
        try:
            return _session(path, options, [provider]), None
        except ModelError as error:
            message = str(error)
    if (missing := re.search(r"error: (\S+): cannot open shared object file", log())) is not None:
        return None, f"{missing[1]} can't be found; pip install 'alexnet-tk[cuda]' brings CUDA's libraries"
    return None, _no_driver() or message


def _no_driver() -> str | None:
    """What to say where there is no NVIDIA driver; asked first, since it costs nothing."""
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        ctypes.CDLL(library)
    except OSError:
        return f"no NVIDIA driver: {library} can't be found"
    return None


def _options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return options


def _session(path: Path, options: ort.SessionOptions, providers: list[Any]) -> ort.InferenceSession:
    try:
        # ONNX Runtime takes paths as UTF-8; a name that is none goes in as bytes.
        odd = any("\ud800" <= each <= "\udfff" for each in os.fspath(path))
        return ort.InferenceSession(path.read_bytes() if odd else path, options, providers=providers)
    except Exception as error:  # ONNX Runtime's exceptions share no class of their own
        raise ModelError(
            f"{path} can't be opened as an ONNX file: {_reason(error)}; `alexnet-tk export` makes one"
        ) from error


def _reason(error: Exception) -> str:
    """The first line of what ONNX Runtime says, without its codes."""
    lines = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__


@contextlib.contextmanager
def _native_log() -> Iterator[Any]:
    """Keeps what native code writes to stderr; the value is a function that returns it afterwards."""
    kept: list[str] = []
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with tempfile.TemporaryFile() as file:
            os.dup2(file.fileno(), 2)
            try:
                yield lambda: kept[0]
            finally:
                os.dup2(saved, 2)
                file.seek(0)
                kept.append(file.read().decode(errors="replace"))
    finally:
        os.close(saved)
