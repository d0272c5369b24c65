"""Checkpoints and ONNX files, opened to answer alike."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from alexnet_tk.inference.model import Model, open_model


def is_checkpoint(path: Path) -> bool:
    """Whether the name is that of a checkpoint, and not of an ONNX file."""
    return path.suffix.lower() in (".pt", ".pth")


@contextmanager
def opened(paths: Sequence[Path], device: str = "auto") -> Iterator[list[Model]]:
    """Models that may be run from as many threads as there are cores, for the time of the block.

    Only checkpoints need torch.

    Raises
    ------
    CheckpointError, ModelError
        no such file, or none of ours
    DeviceError
        CUDA was asked for and does not work

    """
    with ExitStack() as stack:
        if any(map(is_checkpoint, paths)):
            from alexnet_tk.training.answering import one_thread_a_run

            stack.enter_context(one_thread_a_run())
        yield [_open(path, device) for path in paths]


def _open(path: Path, device: str) -> Model:
    if not is_checkpoint(path):
        return open_model(path, device)
    from alexnet_tk.training.answering import open_checkpoint

    return open_checkpoint(path, device)
