"""A session on an NVIDIA GPU that has answered a blank picture, or the reason why there is none."""

import contextlib
import ctypes
import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from alexnet_tk.choices import Arithmetic, Math
from alexnet_tk.errors import DeviceError, ModelError
from alexnet_tk.inference.runtime import (
    ERRORS,
    SILENT,
    TYPES,
    create_session,
    is_out_of_memory,
    native_log,
    own_metadata,
    reason,
)

PROVIDER = "CUDAExecutionProvider"
DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
INT8 = "int8 is for CPUs; export --precision fp16 makes a file for GPUs"
NO_MEMORY = "the GPU has no memory left for the network; `nvidia-smi` lists the programs that use it"
INSTALL = "pip install 'alexnet-tk[cuda]' brings CUDA's libraries"
# Where these compute decides the speed; ONNX Runtime puts arithmetic of shapes on the CPU on purpose.
PRODUCTS = ("Conv", "Gemm", "MatMul")
INTEGERS = re.compile(r"(Q|Deq|DynamicQ)uantizeLinear|QLinear\w+|\w+Integer\w*")
# What ONNX Runtime logs before it computes in TF32 after all.
NO_EXACT_PLAN = "No execution plans support the graph"

# Messages of ONNX Runtime, CUDA and the loader, and what they mean; the first that fits counts.
CAUSES = (
    (
        r"CUDA driver version is insufficient",
        "the NVIDIA driver is too old for this onnxruntime-gpu, which needs that of CUDA "
        f"{getattr(ort, 'cuda_version', '')}; install a newer driver",
    ),
    (
        r"CUDA failure 100\b|no CUDA-capable device",
        "the driver finds no GPU; `nvidia-smi` must list one, and CUDA_VISIBLE_DEVICES must not hide it",
    ),
    (
        r"(CUDA failure|error) (?P<name>802)\b",
        "the GPUs' fabric manager does not run; start nvidia-fabricmanager",
    ),
    (
        r"(CUDA failure|error) (?P<name>803|804)\b",
        "the parts of the NVIDIA driver are of different releases, as after an update; restart the machine",
    ),
    (
        r"(CUDA failure|error) (?P<name>46|999)\b",
        "the GPU is busy or in a bad state (CUDA error {name}); `nvidia-smi` lists who uses it",
    ),
    (
        r"Invalid device ID: (?P<name>\d+), must be between 0 \(inclusive\) and (?P<count>\d+)",
        "there is no cuda:{name}; the number of GPUs here is {count}, and the first one is cuda:0",
    ),
    (
        r"no kernel image is available",
        "this GPU is older than those that onnxruntime-gpu has code for; "
        "a release of it for an older CUDA may support it",
    ),
    (r"(?P<name>[^\s/]+): cannot open shared object file", "{name} can't be found; " + INSTALL),
    (r'depends on "(?P<name>[^"]+)" which is missing', "{name} can't be found; " + INSTALL),
    (
        r"undefined symbol: (?P<name>\w+), version (?P<library>\S+)",
        "{library} lacks {name}, so it is of another release than onnxruntime-gpu needs; " + INSTALL,
    ),
    (
        r"undefined symbol: (?P<name>\w+)|version `(?P<library>[^']+)' not found",
        "one of CUDA's libraries is of another release than onnxruntime-gpu needs ({found}); " + INSTALL,
    ),
)


def is_half(precision: str | None, input_type: str) -> bool:
    """Whether a file of this precision, or with this input, computes its products in half precision."""
    return precision == "fp16" or input_type == "tensor(float16)"


def arithmetic(device: str, math: Math, half: bool) -> Arithmetic:
    """How products are computed on a device, "cpu", "openvino" or "cuda…"; "tf32" and "bf16" mean allowed.

    In half precision TF32 stays allowed, for the few sums in float32: without it, ONNX Runtime would take no
    tensor cores for half precision either.
    """
    if device == "openvino" and math == "fast":
        return "bf16"
    return "tf32" if device.startswith("cuda") and (half or math == "fast") else "exact"


def open_on_cuda(path: Path, index: int, math: Math, side: int) -> tuple[ort.InferenceSession, Arithmetic]:
    """A session whose convolutions and products are on CUDA, once a blank picture was answered there.

    Parameters
    ----------
    path
        an ONNX file
    index
        which GPU
    math
        "exact": float32 is computed in float32; "fast": products may be in TF32
    side
        of a picture, pixels, where the file leaves it open

    Raises
    ------
    DeviceError
        the message is the reason, and the cure where there is one

    """
    if (problem := no_driver()) is not None:
        raise DeviceError(problem)
    if PROVIDER not in ort.get_available_providers():
        raise DeviceError("this onnxruntime has no CUDA provider; pip install onnxruntime-gpu")
    failure: BaseException | None = None
    ort.set_default_logger_severity(ERRORS)  # why a library can't be loaded is logged and not raised
    try:
        with native_log() as log:
            with contextlib.redirect_stdout(io.StringIO()):  # it prints which libraries are missing
                ort.preload_dlls()
            try:
                opened = _open_and_try(path, index, math, side)
            except ModelError as error:
                failure = error.__cause__ or error
            except Exception as error:  # ONNX Runtime's exceptions share no class of their own
                failure = error
    finally:
        ort.set_default_logger_severity(SILENT)
    if failure is not None:
        raise (
            failure if isinstance(failure, DeviceError) else DeviceError(_cause(failure, log()))
        ) from failure
    if opened is None:  # ONNX Runtime went on without CUDA
        raise DeviceError(_cause(None, log()))
    session, chosen = opened
    if chosen == "exact" and NO_EXACT_PLAN in log():
        raise DeviceError("cuDNN can't compute this network in exact float32; --math fast allows TF32")
    return session, chosen


def no_driver(load: Callable[[str], Any] = ctypes.CDLL) -> str | None:
    """The problem where there is no NVIDIA driver to load, else None; it costs nothing to ask."""
    try:
        load(DRIVER)
    except OSError:
        return f"no NVIDIA driver: {DRIVER} can't be found"
    return None


def _open_and_try(
    path: Path, index: int, math: Math, side: int
) -> tuple[ort.InferenceSession, Arithmetic] | None:
    """The session and its arithmetic after a blank picture; None where ONNX Runtime has left out CUDA."""
    session, chosen = _create(path, index, math), arithmetic("cuda", math, False)
    if session.get_providers()[0] != PROVIDER:
        return None
    precision = json.loads(own_metadata(session).get("precision", "null"))
    if chosen == "exact" and is_half(precision, session.get_inputs()[0].type):
        del session  # and its memory
        session, chosen = _create(path, index, "fast"), "tf32"
    _refuse_cpu_nodes(session, precision)
    if (inputs := _blank(session, side)) is not None:
        session.run(None, inputs)
    return session, chosen


def _create(path: Path, index: int, math: Math) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    provider = {
        "device_id": index,
        # Every new input shape costs a search for convolution algorithms; HEURISTIC is the cheapest.
        "cudnn_conv_algo_search": "HEURISTIC",
        "use_tf32": int(math == "fast"),
        # If cuDNN lacks a convolution with a bias in exact float32, ONNX Runtime takes one in TF32 without a
        # bias: in exact arithmetic the bias stays an addition of its own.
        "fuse_conv_bias": int(math == "fast"),
    }
    return create_session(path, options, [(PROVIDER, provider)])


def _refuse_cpu_nodes(session: ort.InferenceSession, precision: str | None) -> None:
    """Raise `DeviceError` where a part of the network that matters is on the CPU."""
    on_cpu = {
        node.op_type
        for subgraph in session.get_provider_graph_assignment_info()
        if subgraph.ep_name != PROVIDER
        for node in subgraph.get_nodes()
    }
    if precision == "int8" or any(map(INTEGERS.fullmatch, on_cpu)):
        raise DeviceError(INT8)
    if not own_metadata(session):
        on_cpu = {each for each in on_cpu if any(product in each for product in PRODUCTS)}
    if on_cpu:
        raise DeviceError(f"this onnxruntime-gpu has no CUDA kernel for {', '.join(sorted(on_cpu))}")


def _blank(session: ort.InferenceSession, side: int) -> dict[str, Any] | None:
    """A black picture, or a whole batch where its size is fixed; None where the file takes no pictures."""
    taken, *others = session.get_inputs()
    shape = [each if isinstance(each, int) else side if axis else 1 for axis, each in enumerate(taken.shape)]
    if others or taken.type not in TYPES or 3 not in shape or 0 in shape:
        return None
    return {taken.name: np.zeros(shape, TYPES[taken.type])}


def _cause(error: BaseException | None, log: str) -> str:
    """Why CUDA does not work, in a line."""
    for text in (f"{error}\n{log}", _cudnn_problem()):
        if (known := meaning(text)) is not None:
            return known
    if error is not None and is_out_of_memory(error):
        return NO_MEMORY
    return "ONNX Runtime left out CUDA without a reason" if error is None else reason(error)


def meaning(text: str) -> str | None:
    """What a message of ONNX Runtime, CUDA or the loader means, by `CAUSES`; None where it is not known."""
    for pattern, words in CAUSES:
        if (found := re.search(pattern, text)) is not None:
            return words.format(**found.groupdict(), found=found[0])
    return None


def _cudnn_problem() -> str:
    """Why cuDNN can't be loaded; ONNX Runtime opens it when it first needs it, and may hide the reason."""
    try:
        ctypes.CDLL("cudnn64_9.dll" if sys.platform == "win32" else "libcudnn.so.9")
    except OSError as error:
        return str(error)
    return ""
