"""One session for each GPU of the machine, run as if they were one."""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

import onnxruntime as ort

from alexnet_tk.choices import Math
from alexnet_tk.errors import DeviceError
from alexnet_tk.inference.cuda import DRIVER, meaning, no_driver
from alexnet_tk.inference.openvino_session import OpenVinoSession
from alexnet_tk.inference.session import RUNS_IN_FLIGHT, Device, open_session

ALL_GPUS = "cuda:all"
CUDA_ERROR_NO_DEVICE = 100  # of the driver's interface, cuda.h


class Session(Protocol):
    """What computes: ONNX Runtime's session, OpenVINO's, or another with the same method."""

    def run(self, outputs: list[str], inputs: dict[str, Any], /) -> Any:
        """An array for each output."""


class SessionPool:
    """Sessions of the same file on several GPUs: a run takes one that is free."""

    def __init__(self, sessions: Sequence[Session]) -> None:
        self._free: SimpleQueue[Session] = SimpleQueue()
        for session in (*sessions,) * RUNS_IN_FLIGHT:
            self._free.put(session)

    def run(self, outputs: list[str], inputs: dict[str, Any], /) -> Any:
        """As the sessions' own; waits while each of them has `RUNS_IN_FLIGHT` runs."""
        session = self._free.get()
        try:
            return session.run(outputs, inputs)
        finally:
            self._free.put(session)


def open_sessions(
    path: Path,
    device: str = "auto",
    math: Math = "exact",
    side: int = 0,
    *,
    is_ours: bool = True,
    latency: bool = False,
) -> tuple[list[ort.InferenceSession | OpenVinoSession], Device]:
    """The sessions of an ONNX file, one unless the device is "cuda:all", and where they compute.

    The parameters are those of `open_session`.

    Raises
    ------
    ModelError, UsageError, MissingExtraError
        as `open_session`
    DeviceError
        as `open_session`; "cuda:all" and no GPU

    """
    if device != ALL_GPUS:
        session, chosen = open_session(path, device, math, side, is_ours=is_ours, latency=latency)
        return [session], chosen
    opened = [
        open_session(path, f"cuda:{number}", math, side, latency=latency) for number in range(count_gpus())
    ]
    sessions, devices = zip(*opened, strict=True)
    return list(sessions), replace(devices[0], name=", ".join(each.name for each in devices))


def as_one(sessions: Sequence[Session]) -> Session:
    """The session, or a pool of several."""
    return sessions[0] if len(sessions) == 1 else SessionPool(sessions)


def count_gpus(load: Callable[[str], Any] = ctypes.CDLL) -> int:
    """The GPUs that this process may use, by the driver's own count, which heeds CUDA_VISIBLE_DEVICES.

    `load` opens the driver's library. Raises `DeviceError` where there is no GPU.
    """
    count, problem = ctypes.c_int(0), no_driver(load)
    if problem is None:
        driver = load(DRIVER)
        error = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
        if error not in (0, CUDA_ERROR_NO_DEVICE):
            answer = f"the NVIDIA driver answers with error {error}"
            problem = meaning(answer) or f"{answer}; `nvidia-smi` shows whether it works"
        elif count.value == 0:
            problem = (
                "the NVIDIA driver finds no GPU; `nvidia-smi` and CUDA_VISIBLE_DEVICES show which it may use"
            )
    if problem is not None:
        raise DeviceError(f"--device {ALL_GPUS}: {problem}; --device cpu works everywhere")
    return count.value
