"""An ONNX Runtime session on a device that is proven to work."""

import contextlib
import ctypes
import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime as ort

from alexnet_tk.choices import Arithmetic
from alexnet_tk.errors import DeviceError, ModelError, UsageError
from alexnet_tk.files import placeholder

RUNS_IN_FLIGHT = 2  # on each GPU, so that one batch is copied while another is computed


@dataclass(frozen=True)
class Device:
    """Where a session computes: "cpu", "cuda:N" or, on several GPUs, "cuda:0, cuda:1 …"; and why there."""

    name: str
    why: str

    @property
    def is_cuda(self) -> bool:
        """Whether it is an NVIDIA GPU."""
        return self.name.startswith("cuda")

    @property
    def gpus(self) -> int:
        """How many GPUs it is; 0 on the CPU."""
        return self.name.count("cuda:")

    @property
    def runs(self) -> int:
        """How many runs of the network it is given at once; 0 on the CPU, where every core has its own."""
        return RUNS_IN_FLIGHT * self.gpus

    @property
    def kind(self) -> str:
        """The name without a number: devices of one kind give the same answers."""
        return self.name.partition(":")[0]


def arithmetic(kind: str) -> Arithmetic:
    """How a kind of device computes products of float32: ONNX Runtime's CUDA provider takes TF32."""
    return "tf32" if kind == "cuda" else "exact"


def open_session(path: Path, device: str = "auto") -> tuple[ort.InferenceSession, Device]:
    """A session of an ONNX file, and where it computes.

    Parameters
    ----------
    path
        an ONNX file
    device
        "auto": CUDA where it is proven to work, else the CPU; "cpu", "cuda" or "cuda:N": that or an error

    Raises
    ------
    ModelError
        no ONNX file, or one that this ONNX Runtime can't compute
    DeviceError
        CUDA was asked for and does not work; the message names what is missing

    """
    if not path.exists():
        raise ModelError(f"{path} does not exist; `alexnet-tk export model.pt` makes an ONNX file")
    if path.is_dir():
        raise ModelError(f"{path} is a folder; name an ONNX file, as `alexnet-tk export model.pt` makes it")
    if (kind := placeholder(path)) is not None:
        raise ModelError(f"{path} is {kind}")
    if device != "auto" and re.fullmatch(r"cpu|cuda(:\d+)?", device) is None:
        raise UsageError(f"--device is {device!r}; it must be auto, cpu, cuda, cuda:N or cuda:all")
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
    # One thread for each run of the session: there are as many workers that call it as cores.
    options.intra_op_num_threads = 1
    return _session(path, options, ["CPUExecutionProvider"]), Device("cpu", why)


def _try_cuda(path: Path, index: int) -> tuple[ort.InferenceSession | None, str | None]:
    """A session that can't have fallen back to the CPU, or what is missing."""
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        return None, "this onnxruntime has no CUDA provider; pip install onnxruntime-gpu"
    options = _options()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    # Every new input shape costs a search for convolution algorithms; HEURISTIC is the cheapest.
    provider = ("CUDAExecutionProvider", {"device_id": index, "cudnn_conv_algo_search": "HEURISTIC"})
    with native_log() as log:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints which libraries are missing
            ort.preload_dlls()
        try:
            return _session(path, options, [provider]), None
        except ModelError as error:
            message = str(error)
    if (missing := re.search(r"error: (\S+): cannot open shared object file", log())) is not None:
        return None, f"{missing[1]} can't be found; pip install 'alexnet-tk[cuda]' brings CUDA's libraries"
    return None, _no_driver() or message


def _no_driver() -> str | None:
    """The problem where there is no NVIDIA driver, else None; asked first, since it costs nothing."""
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
        # ONNX Runtime takes paths in UTF-8 only; a file with another name is handed over as bytes.
        odd = any("\ud800" <= each <= "\udfff" for each in os.fspath(path))
        return ort.InferenceSession(path.read_bytes() if odd else path, options, providers=providers)
    except Exception as error:  # ONNX Runtime's exceptions share no class of their own
        raise ModelError(
            f"{path} can't be opened as an ONNX file: {reason(error)}; `alexnet-tk export` makes one"
        ) from error


def reason(error: Exception) -> str:
    """The first line of an ONNX Runtime error, without its codes; its exceptions share no class."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error)).strip()
    text = re.sub(r"/\S+:\d+ [^\n]*?\) (?=[A-Z])", " ", text)  # a line of its source code
    return text.splitlines()[0] if text else type(error).__name__


@contextlib.contextmanager
def native_log() -> Iterator[Any]:
    """Capture what native code writes to stderr; the value is a function that returns it afterwards."""
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
