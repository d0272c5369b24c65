"""What this machine can run, and what is missing: for `alexnet-tk doctor`."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from alexnet_tk import zoo
from alexnet_tk.extras import PACKAGES, install_command
from alexnet_tk.machine import usable_cores, usable_memory


def examine() -> dict[str, str]:
    """The lines of the report by their names: versions, the machine, and where networks compute."""
    found = {
        "alexnet-tk": version("alexnet-tk"),
        "python": f"{platform.python_version()}, {platform.platform()}",
    }
    runtimes = {name: _version(name) for name in PACKAGES}
    for name, release in runtimes.items():
        if release is not None:
            found[name] = release
        elif (command := install_command(name)) is not None:
            found[name] = f"not installed; {command}"
    if runtimes["openvino"] is not None:
        found["openvino"] += _bfloat16()
    if None not in (runtimes["onnxruntime"], runtimes["onnxruntime-gpu"]):
        found["onnxruntime"] += (
            "; both hold the same files: pip uninstall onnxruntime onnxruntime-gpu, then install one of them"
        )
    found["cores"] = f"{usable_cores()} usable of {os.cpu_count()}"
    memory = usable_memory()
    found["memory"] = "unknown" if memory is None else f"{memory / 1e9:.1f} GB usable"
    for name, examination in (("providers", _providers), ("predict", _prediction), ("train", _training)):
        try:
            found[name] = examination()
        except Exception as error:  # whatever is broken, the other lines help to find it
            found[name] = f"not possible: {error}"
    return found


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _providers() -> str:
    import onnxruntime

    return ", ".join(onnxruntime.get_available_providers())


def _bfloat16() -> str:
    """Whether OpenVINO would compute in bfloat16, where that is allowed."""
    from alexnet_tk.inference.openvino_session import OpenVinoSession

    try:
        fast = OpenVinoSession(zoo.built_in_model(), "fast").arithmetic
    except Exception as error:  # whatever is broken, the other lines help to find it
        return f"; {error}"
    return "; --math fast computes in bfloat16" if fast == "bf16" else ""


def _prediction() -> str:
    """Where the built-in network answered a blank picture, and why there."""
    import numpy as np

    from alexnet_tk.inference.model import open_model

    model = open_model(zoo.built_in_model())
    size = model.image_size
    model.run(np.zeros((1, size, size, 3), np.uint8))
    return f"on {model.device}"


def _training() -> str:
    import torch

    from alexnet_tk.network.lrn import why_no_kernel
    from alexnet_tk.training.device import why_no_cuda

    if not torch.cuda.is_available():
        return f"on cpu ({why_no_cuda()})"
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    lacking = why_no_kernel()
    lrn = "LRN by its kernel" if lacking is None else f"LRN without its kernel: {lacking}"
    return f"on {', '.join(devices)} (CUDA {torch.version.cuda}; {lrn})"
