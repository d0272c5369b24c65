"""A checkpoint opened for prediction through torch, with the interface of an exported file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from alexnet_tk.choices import Math
from alexnet_tk.inference.cuda import arithmetic
from alexnet_tk.inference.model import INPUT_NAME, Input, Model
from alexnet_tk.inference.session import Device
from alexnet_tk.network.alexnet import PictureClassifier
from alexnet_tk.training.checkpoint import Checkpoint
from alexnet_tk.training.device import choose_device, tf32, why_no_cuda


class TorchSession:
    """Runs like an ONNX Runtime session of the exported file, in exact float32."""

    def __init__(self, classifier: PictureClassifier, device: torch.device) -> None:
        self._classifier = classifier.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device = device

    def run(self, outputs: list[str], inputs: dict[str, NDArray[Any]], /) -> list[NDArray[Any]]:
        """Probabilities (N, classes) of pictures uint8 (N, S, S, 3)."""
        with torch.inference_mode(), tf32(allowed=False):
            pictures = torch.from_numpy(inputs[INPUT_NAME]).to(self._device)
            return [self._classifier(pictures).cpu().numpy()]


def open_checkpoint(path: Path, device: str = "auto", math: Math = "exact") -> Model:
    """Open a checkpoint as `inference.model.open_model` opens an ONNX file.

    Raises
    ------
    CheckpointError
        no such file, or not an alexnet-tk checkpoint
    DeviceError
        CUDA is asked for and does not work

    """
    checkpoint = Checkpoint.load(path)
    if device != "auto":
        chosen, why = choose_device(device), "asked for"
    elif torch.cuda.is_available():
        chosen, why = torch.device("cuda"), torch.cuda.get_device_name()
    else:
        chosen, why = torch.device("cpu"), why_no_cuda()
    name = f"cuda:{chosen.index or 0}" if chosen.type == "cuda" else "cpu"
    if chosen.type == "cuda":  # for the whole process: torch has no such setting of a network
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = math == "fast"
    return Model(
        TorchSession(checkpoint.classifier(), chosen),
        Device(name, why, arithmetic(name, math, half=False)),
        checkpoint.labels,
        checkpoint.preprocess,
        Input.ours("uint8", checkpoint.preprocess),
        None,
        {"precision": "fp32", "label_ids": checkpoint.label_ids},
    )


@contextmanager
def one_thread_a_run() -> Iterator[None]:
    """Inside the block torch computes in the calling thread alone, for as many callers as there are cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
