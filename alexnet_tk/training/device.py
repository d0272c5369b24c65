"""The device to train on, and how it multiplies."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from alexnet_tk.choices import TrainingPrecision
from alexnet_tk.errors import DeviceError, TrainingError, UsageError
from alexnet_tk.training.parallel.world import local_rank, started_by_launcher

# What errors say of a lack of memory: those of torch's allocators, of the CUDA runtime and of its libraries.
OUT_OF_MEMORY = (
    "allocate memory",
    "out of memory",
    "STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",  # cuBLAS found no memory to begin with
)


def choose_device(name: str) -> torch.device:
    """The device with that name; "auto" takes CUDA where torch can use it.

    A CUDA device has an index: the name's, or the process's local rank, which is 0 for a single process.

    Raises
    ------
    DeviceError
        CUDA is asked for and torch can't use it, or there is no such device
    UsageError
        another name, or one CUDA device for several processes

    """
    available = torch.cuda.is_available()
    if name == "cpu" or (name == "auto" and not available):
        return torch.device("cpu")
    if re.fullmatch(r"auto|cuda(:\d+)?", name) is None:
        raise UsageError(f"--device is {name!r}; it must be auto, cpu, cuda or cuda:N")
    if not available:
        raise DeviceError(f"--device {name}: {why_no_cuda()}; --device cpu works everywhere")
    number = name.partition(":")[2]
    if number and started_by_launcher():
        raise UsageError(f"--device {name} is a single device; give --device cuda for several processes")
    index, count = int(number) if number else local_rank(), torch.cuda.device_count()
    if index >= count:
        raise DeviceError(f"--device cuda:{index}: this machine has {count} CUDA devices, from cuda:0")
    return torch.device("cuda", index)


def why_no_cuda() -> str:
    """What torch lacks to use CUDA; meaningful only where `torch.cuda.is_available()` is false."""
    if torch.version.cuda is None:
        return f"torch {torch.__version__} was built without CUDA"
    return "torch finds no working CUDA device; `nvidia-smi` shows whether the driver does"


def device_line(name: str, device: torch.device, precision: TrainingPrecision) -> str:
    """What `train` reports: the device chosen for `name`, why it is a CPU, and what it computes in."""
    if device.type == "cuda":
        described = f"{device}, {torch.cuda.get_device_name(device)}"
    else:
        why = f" ({why_no_cuda()})" if name == "auto" else ""
        described = f"{device}, {torch.get_num_threads()} threads{why}"
    dtype = autocast_dtype(precision, device)
    if dtype is not None:
        arithmetic = str(dtype).removeprefix("torch.")
    else:
        arithmetic = "TF32" if precision == "tf32" and device.type == "cuda" else "float32"
    return f"device: {described}, {arithmetic}"


def autocast_dtype(precision: TrainingPrecision, device: torch.device) -> torch.dtype | None:
    """The precision of autocast, or None for float32.

    "auto" is half precision on CUDA only: bfloat16 where the device computes in it, and not by emulation.
    "half" is the same, and bfloat16 on a CPU that has instructions for its products, too.
    """
    if precision in ("auto", "half"):
        if device.type == "cuda":
            native = torch.cuda.is_bf16_supported(including_emulation=False)
            return torch.bfloat16 if native else torch.float16
        return torch.bfloat16 if precision == "half" and _cpu_multiplies_bfloat16() else None
    return {"fp32": None, "tf32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def _cpu_multiplies_bfloat16() -> bool:
    """Whether x86-64 has such instructions; nothing was measured on others."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Inside the block CUDA devices multiply float32 with 10-bit mantissas (TF32), or exactly.

    torch allows TF32 in convolutions unless it is told otherwise, and has one setting for the whole process.
    A process that uses torch's other setting, `fp32_precision`, keeps its own: the two can't be mixed.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    try:
        before = matmul.allow_tf32, cudnn.allow_tf32
    except RuntimeError:
        yield
        return
    matmul.allow_tf32 = cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


@contextmanager
def device_errors(device: torch.device, batch_size: int) -> Iterator[None]:
    """Turns a lack of memory and a failed compilation into a `TrainingError` with the next step."""
    try:
        yield
    except RuntimeError as error:  # the CPU's allocator has no error of its own
        if any(message in str(error) for message in OUT_OF_MEMORY):
            raise TrainingError(
                f"{device} has no memory left for train.batch_size={batch_size}; "
                f"try --set train.batch_size={max(1, batch_size // 2)}"
            ) from error
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            why = " ".join(str(error).split("\n\n")[0].split())
            raise TrainingError(f"torch.compile failed: {why}; train without --compile") from error
        raise
