"""Checkpoints and ONNX files, opened for the same use: pictures in, probabilities out."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from alexnet_tk.choices import Math
from alexnet_tk.errors import UsageError
from alexnet_tk.inference.model import Model, open_model
from alexnet_tk.inference.session_pool import ALL_GPUS


def is_checkpoint(path: Path) -> bool:
    """Whether the name is that of a checkpoint; any other name is taken for an ONNX file's."""
    return path.suffix.lower() in (".pt", ".pth")


@contextmanager
def open_models(paths: Sequence[Path], device: str = "auto", math: Math = "exact") -> Iterator[list[Model]]:
    """Open models for the duration of the block; one thread for each usable core may run them.

    Only checkpoints need torch.

    Raises
    ------
    CheckpointError, ModelError
        no such file, or not a file of alexnet-tk
    DeviceError
        CUDA or OpenVINO was asked for and does not work
    UsageError
        "cuda:all" or "openvino" for a checkpoint, which torch computes on one device

    """
    with ExitStack() as stack:
        if any(map(is_checkpoint, paths)):
            from alexnet_tk.training.torch_session import computing

            stack.enter_context(computing(math))
        yield [_open(path, device, math) for path in paths]


def headline(path: Path, model: Model) -> str:
    """The file, its size, where it computes and why there, in a line to print."""
    return f"{path}: {path.stat().st_size / 1e6:.1f} MB, on {model.device}"


def _open(path: Path, device: str, math: Math) -> Model:
    if not is_checkpoint(path):
        return open_model(path, device, math)
    if device in (ALL_GPUS, "openvino"):
        raise UsageError(
            f"{path} is a checkpoint, and --device {device} is for ONNX files; make one with "
            "`alexnet-tk export`"
        )
    from alexnet_tk.training.torch_session import open_checkpoint

    return open_checkpoint(path, device, math)
