"""A checkpoint that answers as an exported file does, through torch."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from alexnet_tk.inference.model import INPUT, Input, Model
from alexnet_tk.inference.session import Device
from alexnet_tk.network.alexnet import PictureClassifier
from alexnet_tk.training.checkpoint import Checkpoint
from alexnet_tk.training.device import choose_device, why_no_cuda
from alexnet_tk.training.progress import Silence


class TorchSession:
    """Computes what an ONNX Runtime session of the exported file computes, in float32."""

    def __init__(self, classifier: PictureClassifier, device: torch.device) -> None:
        self._classifier = classifier.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device = device

    def run(self, outputs: list[str], inputs: dict[str, NDArray[Any]], /) -> list[NDArray[Any]]:
        """Probabilities (N, classes) of pictures uint8 (N, S, S, 3)."""
        with torch.inference_mode():
            pictures = torch.from_numpy(inputs[INPUT]).to(self._device)
            return [self._classifier(pictures).cpu().numpy()]


def open_checkpoint(path: Path, device: str = "auto") -> Model:
    """Open what `alexnet-tk train` wrote, to answer as `inference.model.open_model` does.

    Raises
    ------
    CheckpointError
        no such file, or no checkpoint of ours
    DeviceError
        CUDA was asked for and does not work

    """
    checkpoint = Checkpoint.load(path)
    if device != "auto":
        chosen, why = choose_device(device, Silence()), "asked for"
    elif torch.cuda.is_available():
        chosen, why = torch.device("cuda"), torch.cuda.get_device_name()
    else:
        chosen, why = torch.device("cpu"), why_no_cuda()
    name = f"cuda:{chosen.index or 0}" if chosen.type == "cuda" else "cpu"
    return Model(
        TorchSession(checkpoint.classifier(), chosen),
        Device(name, why),
        checkpoint.labels,
        checkpoint.exact_preprocess,
        checkpoint.recipe.network.image_size,
        Input.ours("uint8", checkpoint.exact_preprocess),
        None,
        {"precision": "fp32", "label_ids": checkpoint.label_ids},
    )


@contextmanager
def one_thread_a_run() -> Iterator[None]:
    """For the time of the block torch computes in the thread that calls it; callers are as many as cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
