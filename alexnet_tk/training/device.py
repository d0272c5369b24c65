"""The device to train on."""

import re

import torch

from alexnet_tk.errors import DeviceError, UsageError
from alexnet_tk.progress import Progress
from alexnet_tk.training.parallel.world import local_rank, started_by_launcher


def choose_device(name: str, progress: Progress) -> torch.device:
    """The device with that name; "auto" takes CUDA where torch can use it, and reports its choice and why.

    Each of several processes on a machine takes the CUDA device with the process's local rank.

    Raises
    ------
    DeviceError
        CUDA is asked for and torch can't use it, or there is no such device
    UsageError
        another name, or one CUDA device for several processes

    """
    if name == "cpu":
        return torch.device("cpu")
    available = torch.cuda.is_available()
    if name == "auto":
        if available:
            device = _existing(torch.device("cuda"))
            progress.say(f"device: {device}, {torch.cuda.get_device_name(device)}")
            return device
        progress.say(f"device: cpu, {torch.get_num_threads()} threads ({why_no_cuda()})")
        return torch.device("cpu")
    if re.fullmatch(r"cuda(:\d+)?", name) is None:
        raise UsageError(f"--device is {name!r}; it must be auto, cpu, cuda or cuda:N")
    if not available:
        raise DeviceError(f"--device {name}: {why_no_cuda()}; --device cpu works everywhere")
    device = torch.device(name)
    if device.index is not None and started_by_launcher():
        raise UsageError(f"--device {name} is a single device; give --device cuda for several processes")
    return _existing(device)


def _existing(device: torch.device) -> torch.device:
    """The CUDA device of this process; raises `DeviceError` where the machine has fewer."""
    if started_by_launcher():
        device = torch.device("cuda", local_rank())
    if (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"--device {device}: this machine has {torch.cuda.device_count()} CUDA devices, from cuda:0"
        )
    return device


def why_no_cuda() -> str:
    """What torch lacks to use CUDA; meaningful only where `torch.cuda.is_available()` is false."""
    if torch.version.cuda is None:
        return f"torch {torch.__version__} was built without CUDA"
    return "torch finds no working CUDA device; `nvidia-smi` shows whether the driver does"
