"""An ONNX Runtime session on a device that is proven to work."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import onnxruntime as ort

from alexnet_tk.choices import Arithmetic, Math
from alexnet_tk.errors import DeviceError, ModelError, UsageError
from alexnet_tk.files import model_placeholder
from alexnet_tk.inference.cuda import open_on_cuda
from alexnet_tk.inference.runtime import create_session

RUNS_IN_FLIGHT = 2  # on each GPU, so that one batch is copied while another is computed


@dataclass(frozen=True)
class Device:
    """Where a session computes, why there, and how: "cpu", "cuda:N", or several GPUs as "cuda:0, cuda:1"."""

    name: str
    why: str
    arithmetic: Arithmetic = "exact"

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

    def __str__(self) -> str:
        how = f"; {self.arithmetic} arithmetic" if self.is_cuda else ""
        return f"{self.name} ({self.why}{how})"


def open_session(
    path: Path, device: str = "auto", math: Math = "exact", side: int = 0
) -> tuple[ort.InferenceSession, Device]:
    """A session of an ONNX file, and where it computes.

    Parameters
    ----------
    path
        an ONNX file
    device
        "auto": CUDA where it is proven to work, else the CPU; "cpu", "cuda" or "cuda:N": that or an error
    math
        "exact", or "fast": on CUDA, products of float32 may be in TF32
    side
        of a picture, pixels, for a file that leaves it open

    Raises
    ------
    ModelError
        no ONNX file, or one that this ONNX Runtime can't compute
    DeviceError
        CUDA was asked for and does not work; the message names what is missing
    UsageError
        no such device or math

    """
    if not path.exists():
        raise ModelError(f"{path} does not exist; `alexnet-tk export model.pt` makes an ONNX file")
    if path.is_dir():
        raise ModelError(f"{path} is a folder; name an ONNX file, as `alexnet-tk export model.pt` makes it")
    if (kind := model_placeholder(path)) is not None:
        raise ModelError(f"{path} is {kind}")
    check_device(device, math)
    why = "asked for"
    if device != "cpu":
        index = int(device.partition(":")[2] or 0)
        try:
            session, arithmetic = open_on_cuda(path, index, math, side)
            return session, Device(f"cuda:{index}", "CUDA works" if device == "auto" else why, arithmetic)
        except DeviceError as error:
            why = str(error)
    options = ort.SessionOptions()
    # One thread for each run of the session: there are as many workers that call it as cores.
    options.intra_op_num_threads = 1
    session = create_session(path, options, ["CPUExecutionProvider"])  # raises if the file is at fault
    if device not in ("auto", "cpu"):
        raise DeviceError(f"--device {device}: {why}; --device cpu works everywhere")
    return session, Device("cpu", why)


def check_device(device: str, math: Math) -> None:
    """Raise `UsageError` for a word that is no device or no math."""
    if device != "auto" and re.fullmatch(r"cpu|cuda(:\d+)?", device) is None:
        raise UsageError(f"--device is {device!r}; it must be auto, cpu, cuda, cuda:N or cuda:all")
    if math not in get_args(Math):
        raise UsageError(f"--math is {math!r}; it must be {' or '.join(get_args(Math))}")
