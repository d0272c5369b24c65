"""Proof that an exported file answers as its checkpoint does, on real pictures."""

from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from PIL import Image

from alexnet_tk import images, sample
from alexnet_tk.errors import ExportError
from alexnet_tk.inference.session import INPUT, OUTPUT
from alexnet_tk.training.checkpoint import Checkpoint

PICTURES = 32
BATCHES = (1, 5)
TOLERANCE = 1e-5  # of a probability, float32


@dataclass(frozen=True)
class Verification:
    """What was compared: how many pictures at which batch sizes, and how close the answers are."""

    pictures: int
    source: str
    batch_sizes: tuple[int, ...]
    largest_difference: float  # of a probability
    top1_agreement: float  # fractions of the pictures
    top5_agreement: float  # the same five labels, in any order


def verify(model: bytes, checkpoint: Checkpoint) -> Verification:
    """Compare ONNX Runtime's answers with torch's at several batch sizes.

    Raises
    ------
    ExportError
        a probability differs by more than `TOLERANCE`

    """
    pictures = _pictures(checkpoint)
    with torch.inference_mode():
        expected = checkpoint.classifier()(torch.from_numpy(pictures)).numpy()
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    answers = [_run(session, pictures, size) for size in BATCHES]
    difference = max(float(np.abs(each - expected).max()) for each in answers)
    if not difference <= TOLERANCE:  # also where it is not a number
        raise ExportError(
            f"ONNX Runtime and torch differ by {difference:.1e} in a probability, more than {TOLERANCE:.0e}; "
            "nothing was written"
        )
    return Verification(
        len(pictures),
        "built-in Fashion-MNIST validation pictures",
        BATCHES,
        difference,
        min(_agreement(each, expected, 1) for each in answers),
        min(_agreement(each, expected, 5) for each in answers),
    )


def _pictures(checkpoint: Checkpoint) -> NDArray[np.uint8]:
    """Real pictures as the network takes them, uint8 (N, S, S, 3)."""
    grey, _ = sample.pictures("val")
    size, preprocess = checkpoint.recipe.network.image_size, checkpoint.recipe.preprocess
    taken = (Image.fromarray(each) for each in grey[:PICTURES])
    return np.stack([images.fit(each, preprocess.resize, size, preprocess.filter) for each in taken])


def _run(session: ort.InferenceSession, pictures: NDArray[np.uint8], batch_size: int) -> NDArray[np.float32]:
    parts = [pictures[i : i + batch_size] for i in range(0, len(pictures), batch_size)]
    return np.concatenate([session.run([OUTPUT], {INPUT: part})[0] for part in parts])


def _agreement(answers: NDArray[np.float32], expected: NDArray[np.float32], k: int) -> float:
    """The fraction of pictures whose k most probable classes are the same."""
    best, wanted = (
        np.sort(np.argsort(-each, axis=1, kind="stable")[:, :k], axis=1) for each in (answers, expected)
    )
    return float((best == wanted).all(axis=1).mean())
