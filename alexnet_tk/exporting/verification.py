"""Comparison of an exported file's answers with those of its checkpoint."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alexnet_tk.choices import Precision
from alexnet_tk.errors import ExportError
from alexnet_tk.exporting.graph import Variant
from alexnet_tk.exporting.pictures import Pictures
from alexnet_tk.inference.model import EXPLANATION_NAME, FEATURES_NAME, OUTPUT_NAME, Input
from alexnet_tk.inference.session import open_session
from alexnet_tk.network.explanation import explanation
from alexnet_tk.progress import Progress
from alexnet_tk.training.checkpoint import Checkpoint

BATCH_SIZE = 32
MAX_SINGLES = 32  # pictures that are also answered in a batch of one
MAX_HALF = 65_504.0  # the largest number of half precision


@dataclass(frozen=True)
class Tolerance:
    """How close a file's answers must be to the checkpoint's in float32."""

    max_pictures: int  # on which they are compared
    max_difference: float  # of a probability
    min_top1_agreement: float
    min_top5_agreement: float
    max_feature_difference: float  # relative, as `Verification` has it


# float32 differs by rounding only; in an explanation a unit that rounding moves over zero counts or does not.
# Half precision and integers change probabilities, but may seldom change the most probable label; how far
# they move features is only told.
MAX_EXPLANATION_DIFFERENCE = 1e-2
TOLERANCES: dict[Precision, Tolerance] = {
    "fp32": Tolerance(MAX_SINGLES, 1e-5, 0.0, 0.0, 1e-5),
    "fp16": Tolerance(1000, 1.0, 0.99, 0.99, 1.0),
    "int8": Tolerance(1000, 1.0, 0.98, 0.95, 1.0),
}


@dataclass(frozen=True)
class Verification:
    """What was compared and how close the answers are; stored in the file's metadata under these names."""

    pictures: int
    source: str  # of the pictures
    batch_sizes: tuple[int, ...]
    largest_difference: float  # of a probability
    top1_agreement: float  # the fraction of pictures with the same most probable label
    top5_agreement: float  # the fraction of the checkpoint's top-5 labels among the file's top 5
    # Of a picture's features from the checkpoint's, over the mean length of these; None: the file gives none.
    feature_difference: float | None = None
    explanation_difference: float | None = None  # likewise, of a picture's explanation

    def to_dict(self) -> dict[str, Any]:
        """The metadata, without what was not compared."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    def __str__(self) -> str:
        further = "".join(
            f", largest relative difference of {name} {difference:.1e}"
            for name, difference in (
                ("features", self.feature_difference),
                ("explanations", self.explanation_difference),
            )
            if difference is not None
        )
        return (
            f"ONNX Runtime and torch agree on {self.pictures:,} {self.source} at batch sizes "
            f"{' and '.join(map(str, self.batch_sizes))}: largest difference of a probability "
            f"{self.largest_difference:.1e}, top-1 agreement {self.top1_agreement:.1%}, "
            f"top-5 agreement {self.top5_agreement:.1%}{further}"
        )


def verify(
    path: Path, checkpoint: Checkpoint, variant: Variant, pictures: Pictures, progress: Progress
) -> Verification:
    """Compare a file's answers on the CPU with torch's in float32, one at a time and in batches.

    Raises
    ------
    ExportError
        they differ by more than `TOLERANCES` allow, or an activation exceeds half precision

    """
    session, _ = open_session(path, "cpu")
    graph_input = Input.ours(variant.input, checkpoint.preprocess)
    pixels = pictures.pixels

    asked = {OUTPUT_NAME: True, FEATURES_NAME: variant.features, EXPLANATION_NAME: variant.explain}
    outputs = [name for name, is_asked in asked.items() if is_asked]

    def answer(batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        found = session.run(outputs, {graph_input.name: graph_input.feed(batch)})
        return [each.reshape(len(batch), -1) for each in found]

    classifier = checkpoint.classifier()
    peaks = record_peaks(classifier.alexnet)

    def expect(batch: Tensor) -> list[NDArray[np.float32]]:
        probabilities, features = classifier.with_features(batch)
        answers = {OUTPUT_NAME: probabilities, FEATURES_NAME: features}
        if variant.explain:
            answers[EXPLANATION_NAME] = explanation(classifier.alexnet, classifier.network_input(batch))
        return [answers[name].flatten(1).numpy() for name in outputs]

    wanted, batches = [], []
    with torch.inference_mode():
        for i in range(0, len(pixels), BATCH_SIZE):
            batch = pixels[i : i + BATCH_SIZE]
            wanted.append(expect(torch.from_numpy(batch)))
            batches.append(answer(batch))
            progress.advance(len(batch))
    count = min(MAX_SINGLES, len(pixels))
    expected, batched = _joined(wanted), _joined(batches)
    single = _joined([answer(pixels[i : i + 1]) for i in range(count)])
    relative = {
        name: max(_relative_distance(found, values) for found in (in_batches, alone))
        for name, values, in_batches, alone in zip(outputs, expected, batched, single, strict=True)
    }
    if variant.precision == "fp16":
        _require_half_range(peaks)
    verification = Verification(
        len(pixels),
        pictures.source,
        (1, min(BATCH_SIZE, len(pixels))),
        max(_largest_difference(each[0], expected[0]) for each in (batched, single)),
        _agreement(batched[0], expected[0], 1),
        _agreement(batched[0], expected[0], 5),
        relative.get(FEATURES_NAME),
        relative.get(EXPLANATION_NAME),
    )
    _require_tolerance(verification, variant.precision)
    return verification


def _joined(batches: Sequence[Sequence[NDArray[np.float32]]]) -> list[NDArray[np.float32]]:
    """Each output of all batches."""
    return [np.concatenate(each) for each in zip(*batches, strict=True)]


def record_peaks(network: nn.Module) -> dict[str, float]:
    """The largest absolute output of each layer by its name, updated whenever the network computes."""
    peaks: dict[str, float] = {}

    def hook_of(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        def hook(layer: nn.Module, inputs: object, output: Tensor) -> None:
            peaks[name] = max(peaks.get(name, 0.0), float(output.detach().abs().max()))

        return hook

    for name, layer in network.named_children():
        layer.register_forward_hook(hook_of(name))
    return peaks


def _require_half_range(peaks: dict[str, float]) -> None:
    for layer, peak in peaks.items():
        if peak > MAX_HALF:
            raise ExportError(
                f"{layer} reaches {peak:,.0f}, more than half precision can hold ({MAX_HALF:,.0f}); nothing "
                "was written; export with --precision fp32"
            )


def _largest_difference(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Of those that were found."""
    return float(np.abs(found - expected[: len(found)]).max())


def _relative_distance(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """The largest distance of a row from the expected one, over the mean length of the expected ones."""
    distance = float(np.linalg.norm(found - expected[: len(found)], axis=1).max())
    length = float(np.linalg.norm(expected, axis=1).mean())
    if distance == 0:
        return 0.0
    return distance / length if length else inf


def _agreement(found: NDArray[np.float32], expected: NDArray[np.float32], k: int) -> float:
    """The fraction of the k most probable classes of `expected` that are among the k of `found`."""
    k = min(k, expected.shape[1])
    top, wanted = (np.argsort(-rows, axis=1, kind="stable")[:, :k] for rows in (found, expected))
    return float((top[:, :, None] == wanted[:, None, :]).any(axis=1).mean())


def _require_tolerance(found: Verification, precision: Precision) -> None:
    tolerance = TOLERANCES[precision]
    pictures = f"{found.pictures:,} {found.source}"
    if not found.largest_difference <= tolerance.max_difference:  # written so that NaN fails
        raise ExportError(
            f"ONNX Runtime and torch differ by {found.largest_difference:.1e} in a probability on "
            f"{pictures}, more than {tolerance.max_difference:.0e}; nothing was written; "
            "`alexnet-tk doctor` shows the versions of both"
        )
    for name, difference, limit in (
        ("features", found.feature_difference, tolerance.max_feature_difference),
        ("explanations", found.explanation_difference, MAX_EXPLANATION_DIFFERENCE),
    ):
        if difference is not None and not difference <= limit:
            raise ExportError(
                f"the {name} of ONNX Runtime and torch differ by {difference:.1e} of their length on "
                f"{pictures}, more than {limit:.0e}; nothing was written; "
                "`alexnet-tk doctor` shows the versions of both"
            )
    for k, agreement, minimum in (
        (1, found.top1_agreement, tolerance.min_top1_agreement),
        (5, found.top5_agreement, tolerance.min_top5_agreement),
    ):
        if agreement < minimum:
            advice = {
                "fp16": "export with --precision fp32",
                "int8": "calibrate on more typical pictures (--calibrate DIR) or use --precision fp16",
            }[precision]
            raise ExportError(
                f"{precision} and the checkpoint agree on {agreement:.1%} of the top-{k} labels of "
                f"{pictures}, less than {minimum:.0%}; nothing was written; {advice}"
            )
