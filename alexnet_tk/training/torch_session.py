"""A checkpoint opened for prediction through torch, with the interface of an exported file."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from alexnet_tk.choices import Math
from alexnet_tk.errors import DeviceError
from alexnet_tk.inference.cuda import NO_MEMORY, arithmetic
from alexnet_tk.inference.model import FEATURES_NAME, INPUT_NAME, OUTPUT_NAME, Input, Model
from alexnet_tk.inference.runtime import is_out_of_memory
from alexnet_tk.inference.session import Device
from alexnet_tk.network.classifier import PictureClassifier
from alexnet_tk.training.checkpoint import Checkpoint
from alexnet_tk.training.device import choose_device, tf32, why_no_cuda


class TorchSession:
    """Runs like an ONNX Runtime session of the exported file, from any thread."""

    def __init__(self, classifier: PictureClassifier, device: torch.device) -> None:
        self._classifier = classifier.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device = device

    def run(self, outputs: list[str], inputs: dict[str, NDArray[Any]], /) -> list[NDArray[Any]]:
        """Probabilities (N, classes) or features (N, 4096), or both, of pictures uint8 (N, S, S, 3)."""
        # Triton launches on the current device, which each thread has its own of.
        current = torch.cuda.device(self._device) if self._device.type == "cuda" else nullcontext()
        with torch.inference_mode(), current:
            pictures = torch.from_numpy(inputs[INPUT_NAME]).to(self._device)
            probabilities, features = self._classifier.with_features(pictures)
            answers = {OUTPUT_NAME: probabilities, FEATURES_NAME: features}
            return [answers[each].cpu().numpy() for each in outputs]


def open_checkpoint(path: Path, device: str = "auto", math: Math = "exact") -> Model:
    """Open a checkpoint as `inference.model.open_model` opens an ONNX file; for use within `computing`.

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
    try:
        session = TorchSession(checkpoint.classifier(), chosen)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceError(f"--device {name}: {NO_MEMORY}") from error
    return Model(
        session,
        Device(name, why, arithmetic(name, math, half=False)),
        checkpoint.labels,
        checkpoint.preprocess,
        Input.ours("uint8", checkpoint.preprocess),
        None,
        {"precision": "fp32", "label_ids": checkpoint.label_ids},
        features=checkpoint.recipe.network.hidden[-1],
    )


@contextmanager
def computing(math: Math) -> Iterator[None]:
    """Inside the block torch computes as checkpoints are to be run.

    That is in the calling thread alone, for as many callers as there are cores; in TF32 only if `math` is
    "fast". Both are settings of the whole process.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tf32(math == "fast"):
            yield
    finally:
        torch.set_num_threads(before)
