"""A network that numpy can compute, its pictures, and the figures that scikit-learn computes."""

import json
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, top_k_accuracy_score

from alexnet_tk.evaluation import Evaluation
from alexnet_tk.inference.model import INPUT_NAME, ONNX_FORMAT, OUTPUT_NAME, preprocess_metadata
from alexnet_tk.preprocess import Preprocess
from alexnet_tk.progress import Progress

LABELS = ["ant", "bee", "cat", "dog", "eel", "fox", "T-shirt"]
SIDE, SCALED = 8, 12  # of a crop, and of the square it is cut out of
NETWORK = {"image_size": SIDE, "pool_ceil": True, "c1": {"kernel": 3, "stride": 1, "padding": 1}}
# The mean red, green and blue of a picture times these are the logits; how bright it is does not count.
WEIGHTS, OTHERS = (
    (draws - draws.mean(axis=0)).astype(np.float32)
    for draws in np.random.default_rng(1).normal(0, 0.1, (2, 3, len(LABELS)))
)


def write_model(
    path: Path,
    labels: Sequence[str] = LABELS,
    weights: NDArray[np.float32] = WEIGHTS,
    ids: Sequence[str] = (),
    side: int = SIDE,
    scaled: int = SCALED,
) -> Path:
    """An exported file whose network numpy can compute."""
    classes = weights.shape[1]
    nodes = [
        helper.make_node("Cast", [INPUT_NAME], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], [OUTPUT_NAME], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "means",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ["batch", side, side, 3])],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["batch", classes])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.array([1, 2]), "axes")],
    )
    preprocess = Preprocess(scaled, side, "bilinear", "RGB", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    metadata: dict[str, Any] = {
        "format": ONNX_FORMAT,
        "labels": list(labels),
        "label_ids": list(ids),
        "preprocess": preprocess_metadata(preprocess, "uint8"),
        "network": NETWORK | {"image_size": side},
        "precision": "fp32",
    }
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {f"alexnet_tk.{key}": json.dumps(value) for key, value in metadata.items()})
    onnx.save(model, path)
    return path


def answers(views: NDArray[np.uint8], weights: NDArray[np.float32] = WEIGHTS) -> NDArray[np.float64]:
    """That network's probabilities of views uint8 (N, S, S, 3), in double precision."""
    logits = views.astype(np.float64).mean(axis=(1, 2)) @ weights.astype(np.float64)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]


def draw(count: int, side: int = SCALED, seed: int = 0) -> NDArray[np.uint8]:
    """Pictures uint8 (N, side, side, 3) with a different colour in each quarter."""
    random = np.random.default_rng(seed)
    colours = random.integers(0, 256, (count, 2, 2, 3)).repeat(side // 2, axis=1).repeat(side // 2, axis=2)
    return (colours * 0.8 + random.integers(0, 50, (count, side, side, 3))).astype(np.uint8)


def centre(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pictures[:, 2:10, 2:10]


def write_folder(
    folder: Path, pictures: NDArray[np.uint8], truth: NDArray[np.int64], labels: Sequence[str] = LABELS
) -> Path:
    for number, (picture, index) in enumerate(zip(pictures, truth, strict=True)):
        (folder / labels[index]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / labels[index] / f"{number:03}.png")
    return folder


class RecordedProgress(Progress):
    """A progress that records what it receives."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.total = self.done = 0

    def say(self, message: str) -> None:
        self.messages.append(message)

    def result(self, line: str) -> None:
        raise AssertionError("an evaluation has no intermediate results")

    def begin(self, task: str, total: int) -> None:
        self.total += total

    def advance(self, count: int, loss: float | None = None) -> None:
        self.done += count


def assert_figures(found: Evaluation, truth: NDArray[np.int64], probabilities: NDArray[np.float64]) -> None:
    """The figures must be those that scikit-learn computes from the same probabilities."""
    every = range(len(LABELS))
    expected = confusion_matrix(truth, probabilities.argmax(axis=1), labels=every)
    places = [found.labels.index(label) for label in LABELS]
    assert np.array_equal(found.confusion[np.ix_(places, places)], expected)
    for correct, k in ((found.top1, 1), (found.top5, 5)):
        assert correct.count == top_k_accuracy_score(truth, probabilities, k=k, labels=every, normalize=False)
        assert correct.total == len(truth)
    by_label = {each.label: each.scores for each in found.classes()}
    scores = [astuple(by_label[label]) for label in LABELS if label in by_label]
    assert_scores(scores, astuple(found.macro), truth, probabilities.argmax(axis=1))
    for each in found.classes():
        mine = truth == LABELS.index(each.label)
        right = probabilities.argmax(axis=1)[mine] == LABELS.index(each.label)
        assert (each.top1.count, each.top1.total) == (right.sum(), mine.sum())
        several = np.argsort(-probabilities[mine])[:, :5] == LABELS.index(each.label)
        assert each.top5.count == several.any(axis=1).sum()
        row = expected[LABELS.index(each.label)].copy()
        row[LABELS.index(each.label)] = 0
        assert each.times_mistaken == row.max()
        assert not each.times_mistaken or row[LABELS.index(each.mistaken_for)] == row.max()


def assert_scores(
    scores: Sequence[Sequence[float]],
    macro: Sequence[float],
    truth: NDArray[np.int64],
    predicted: NDArray[np.int64],
) -> None:
    """Rows of precision, recall and F1, and their means, must be scikit-learn's of the true classes."""
    for found, average in ((np.transpose(scores), None), (macro, "macro")):
        *expected, _ = precision_recall_fscore_support(
            truth, predicted, labels=np.unique(truth), average=average, zero_division=0
        )
        assert np.allclose(found, expected, rtol=0, atol=1e-12)
