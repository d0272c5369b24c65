"""A session of ONNX Runtime or of OpenVINO, on a device that is proven to work."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import onnxruntime as ort

from alexnet_tk.choices import Arithmetic, Math
from alexnet_tk.errors import DeviceError, MissingExtraError, ModelError, UsageError
from alexnet_tk.files import model_placeholder
from alexnet_tk.inference.cuda import open_on_cuda
from alexnet_tk.inference.openvino_session import OpenVinoSession, open_where_faster
from alexnet_tk.inference.runtime import create_session
from alexnet_tk.machine import usable_cores

RUNS_IN_FLIGHT = 2  # on each GPU, so that one batch is copied while another is computed


@dataclass(frozen=True)
class Device:
    """Where a session computes, why there, and how.

    "cpu" is ONNX Runtime's; "openvino" is the same processor; several GPUs are "cuda:0, cuda:1".
    """

    name: str
    why: str
    arithmetic: Arithmetic = "exact"
    latency: bool = False  # whether a processor computes one batch on all of its cores

    @property
    def is_cuda(self) -> bool:
        """Whether it is an NVIDIA GPU."""
        return self.name.startswith("cuda")

    @property
    def gpus(self) -> int:
        """How many GPUs it is; 0 on a processor."""
        return self.name.count("cuda:")

    @property
    def runs(self) -> int:
        """How many runs of the network it is given at once; 0 on a processor whose cores have one each."""
        return 1 if self.latency and not self.is_cuda else RUNS_IN_FLIGHT * self.gpus

    @property
    def prepares_shapes(self) -> bool:
        """Whether every new shape of a batch costs time, so that all should have the same."""
        return self.name != "cpu"

    @property
    def kind(self) -> str:
        """The name without a number: devices of one kind give the same answers."""
        return self.name.partition(":")[0]

    def __str__(self) -> str:
        how = f"; {self.arithmetic} arithmetic" if self.name != "cpu" else ""
        return f"{self.name} ({self.why}{how})"


def open_session(
    path: Path,
    device: str = "auto",
    math: Math = "exact",
    side: int = 0,
    *,
    is_ours: bool = True,
    latency: bool = False,
) -> tuple[ort.InferenceSession | OpenVinoSession, Device]:
    """A session of an ONNX file, and where it computes.

    Parameters
    ----------
    path
        an ONNX file
    device
        "auto": CUDA where it is proven to work, else OpenVINO where it is installed and was measured to be
        faster, else ONNX Runtime on the CPU; "cpu", "openvino", "cuda" or "cuda:N": that or an error
    math
        "exact", or "fast": products of float32 may be in TF32 on CUDA, in bfloat16 in OpenVINO
    side
        of a picture, pixels, for a file that leaves it open
    is_ours
        whether `export` wrote the file: with others OpenVINO was not measured
    latency
        compute a batch on all usable cores, and not one on each

    Raises
    ------
    ModelError
        no ONNX file, or one that this ONNX Runtime can't compute
    DeviceError
        CUDA or OpenVINO was asked for and does not work; the message names what is missing
    MissingExtraError
        OpenVINO was asked for and is not installed
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
    if device == "openvino":
        opened = OpenVinoSession(path, math, latency)
        return opened, Device(device, why, opened.arithmetic, latency)
    if device != "cpu":
        index = int(device.partition(":")[2] or 0)
        try:
            session, arithmetic = open_on_cuda(path, index, math, side)
            why = "CUDA works" if device == "auto" else why
            return session, Device(f"cuda:{index}", why, arithmetic, latency)
        except DeviceError as error:
            why = str(error)
    if device == "auto" and is_ours and (math == "fast" or not latency):  # so far as it was measured
        try:
            opened = open_where_faster(path, math, latency)
            faster = "OpenVINO is faster than ONNX Runtime with such files"
            return opened, Device("openvino", f"{why}; {faster}", opened.arithmetic, latency)
        except DeviceError as error:
            why = f"{why}; {error}"
        except (MissingExtraError, ModelError):  # ONNX Runtime says what is wrong with a file
            pass
    options = ort.SessionOptions()
    # One thread for each run of the session where as many workers call it as there are cores.
    options.intra_op_num_threads = usable_cores() if latency else 1
    session = create_session(path, options, ["CPUExecutionProvider"])  # raises if the file is at fault
    if device not in ("auto", "cpu"):
        raise DeviceError(f"--device {device}: {why}; --device cpu works everywhere")
    return session, Device("cpu", why, latency=latency)


def check_device(device: str, math: Math) -> None:
    """Raise `UsageError` for a word that is no device or no math."""
    if device != "auto" and re.fullmatch(r"cpu|openvino|cuda(:\d+)?", device) is None:
        raise UsageError(f"--device is {device!r}; it must be auto, cpu, openvino, cuda, cuda:N or cuda:all")
    if math not in get_args(Math):
        raise UsageError(f"--math is {math!r}; it must be {' or '.join(get_args(Math))}")
