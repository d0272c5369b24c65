"""Proof that an exported file answers as its checkpoint does."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alexnet_tk.errors import ExportError
from alexnet_tk.export.pictures import Pictures
from alexnet_tk.inference.model import OUTPUT, Input, InputKind
from alexnet_tk.inference.session import open_session
from alexnet_tk.training.checkpoint import Checkpoint

Precision = Literal["fp32", "fp16", "int8"]

BATCH = 32
SINGLES = 32  # pictures that are also answered one at a time
LARGEST_HALF = 65_504.0  # of half precision's numbers


@dataclass(frozen=True)
class Bounds:
    """How close a file's answers must be to the checkpoint's in float32, and on how many pictures."""

    pictures: int  # at most
    difference: float  # of a probability
    top1: float  # the least agreement
    top5: float


# float32 only rounds otherwise. Half precision and integers change probabilities, but must seldom
# change the answer.
BOUNDS: dict[Precision, Bounds] = {
    "fp32": Bounds(SINGLES, 1e-5, 0.0, 0.0),
    "fp16": Bounds(1000, 1.0, 0.99, 0.99),
    "int8": Bounds(1000, 1.0, 0.98, 0.95),
}


@dataclass(frozen=True)
class Verification:
    """What was compared: how many pictures at which batch sizes, and how close the answers are."""

    pictures: int
    source: str
    batch_sizes: tuple[int, ...]
    largest_difference: float  # of a probability
    top1_agreement: float  # the fraction of pictures with the same most probable label
    top5_agreement: float  # the fraction of the checkpoint's five most probable labels among the file's five


def verify(
    path: Path,
    checkpoint: Checkpoint,
    pictures: Pictures,
    precision: Precision,
    kind: InputKind,
    advance: Callable[[int], None],
) -> Verification:
    """Compare a file's answers on the CPU with torch's in float32, one at a time and in batches.

    Raises
    ------
    ExportError
        they differ by more than `BOUNDS`, or half precision can't hold an activation

    """
    session, _ = open_session(path, "cpu")
    takes, pixels = Input.ours(kind, checkpoint.exact_preprocess), pictures.pixels

    def answer(some: NDArray[np.uint8]) -> NDArray[np.float32]:
        return session.run([OUTPUT], {takes.name: takes.feed(some)})[0]  # type: ignore[no-any-return]

    classifier = checkpoint.classifier()
    largest = _watch(classifier.alexnet)
    expected, batched = [], []
    with torch.inference_mode():
        for i in range(0, len(pixels), BATCH):
            part = pixels[i : i + BATCH]
            expected.append(classifier(torch.from_numpy(part)).numpy())
            batched.append(answer(part))
            advance(len(part))
    want, have = np.concatenate(expected), np.concatenate(batched)
    single = np.concatenate([answer(pixels[i : i + 1]) for i in range(min(SINGLES, len(pixels)))])

    if precision == "fp16" and (overflow := {k: v for k, v in largest.items() if not v <= LARGEST_HALF}):
        layer, value = next(iter(overflow.items()))
        raise ExportError(
            f"half precision ends at {LARGEST_HALF:,.0f} and {layer} reaches {value:,.0f}; nothing was "
            "written; export it with --precision fp32"
        )
    found = Verification(
        len(pixels),
        pictures.source,
        (1, min(BATCH, len(pixels))),
        max(float(np.abs(have - want).max()), float(np.abs(single - want[: len(single)]).max())),
        _agreement(have, want, 1),
        _agreement(have, want, 5),
    )
    _judge(found, precision)
    return found


def _judge(found: Verification, precision: Precision) -> None:
    bounds = BOUNDS[precision]
    on = f"on {found.pictures:,} {found.source}"
    if not found.largest_difference <= bounds.difference:  # also where it is not a number
        raise ExportError(
            f"ONNX Runtime and torch differ by {found.largest_difference:.1e} in a probability {on}, "
            f"more than {bounds.difference:.0e}; nothing was written"
        )
    for k, value, least in (
        (1, found.top1_agreement, bounds.top1),
        (5, found.top5_agreement, bounds.top5),
    ):
        if value < least:
            raise ExportError(
                f"{precision} gives the checkpoint's top-{k} labels {value:.1%} of the time {on}, "
                f"which should be {least:.0%}; nothing was written; "
                + (
                    "more pictures like those that it will meet (--calibrate DIR) may help, else "
                    if precision == "int8"
                    else ""
                )
                + f"take --precision {'fp16' if precision == 'int8' else 'fp32'}"
            )


def _watch(network: nn.Module) -> dict[str, float]:
    """The largest absolute value that each layer gives, kept up to date while the network computes."""
    largest: dict[str, float] = {}

    def watch(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        def hook(layer: nn.Module, inputs: object, output: Tensor) -> None:
            largest[name] = max(largest.get(name, 0.0), float(output.abs().max()))

        return hook

    for name, layer in network.named_children():
        layer.register_forward_hook(watch(name))
    return largest


def _agreement(have: NDArray[np.float32], want: NDArray[np.float32], k: int) -> float:
    """The fraction of the k most probable classes of `want` that are among the k of `have`."""
    k = min(k, want.shape[1])
    best, wanted = (np.argsort(-each, axis=1, kind="stable")[:, :k] for each in (have, want))
    return float((best[:, :, None] == wanted[:, None, :]).any(axis=1).mean())
