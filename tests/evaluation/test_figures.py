"""Figures compared with numpy on the pixels and with scikit-learn, for every kind of model."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import astuple
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from alexnet_tk import sample, zoo
from alexnet_tk.errors import ModelError
from alexnet_tk.evaluation import Evaluation, Proportion, evaluate
from alexnet_tk.evaluation.figures import Z
from tests.evaluation.known import (
    LABELS,
    OTHERS,
    WEIGHTS,
    RecordedProgress,
    answers,
    assert_figures,
    assert_scores,
    centre,
    write_model,
)


def test_figures_are_those_of_numpy_and_scikit_learn(
    model: Path, folder: Path, pictures: NDArray[np.uint8], truth: NDArray[np.int64]
) -> None:
    probabilities = answers(centre(pictures))
    progress = RecordedProgress()
    found = evaluate([model], folder, progress=progress)
    assert_figures(found, truth, probabilities)
    assert 0.3 < found.top1.fraction < 0.9 and found.top5.fraction < 1, "else the test proves nothing"
    assert (progress.total, progress.done) == (120, 120)
    assert [each.label for each in found.classes()] == [label for label in LABELS if label != "eel"]
    assert any("no figures, for 1 of the model's labels (eel)" in line for line in progress.messages)
    sure = probabilities.max(axis=1)
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != truth)
    worst = wrong[np.argsort(-sure[wrong])][:20]
    assert [Path(each.path).stem for each in found.mistakes] == [f"{number:03}" for number in worst]
    for number, each in zip(worst, found.mistakes, strict=True):
        assert each.truth == Path(each.path).parent.name == LABELS[truth[number]]
        assert each.labels == tuple(LABELS[i] for i in np.argsort(-probabilities[number])[:5])
        assert each.probabilities[0] == pytest.approx(sure[number], rel=1e-4)


@pytest.mark.parametrize("batch_size", [None, 1, 25])
def test_ten_crops_are_averaged(
    model: Path,
    folder: Path,
    pictures: NDArray[np.uint8],
    truth: NDArray[np.int64],
    batch_size: int | None,
) -> None:
    corners = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)]
    views = [pictures[:, top : top + 8, left : left + 8] for top, left in corners]
    views += [each[:, :, ::-1] for each in views]
    probabilities = np.mean([answers(each) for each in views], axis=0)
    assert (probabilities.argmax(axis=1) != answers(centre(pictures)).argmax(axis=1)).any()
    found = evaluate([model], folder, crops=10, batch_size=batch_size, workers=2)
    assert_figures(found, truth, probabilities)


def test_several_models_are_averaged_by_label(
    model: Path, folder: Path, pictures: NDArray[np.uint8], truth: NDArray[np.int64], tmp_path: Path
) -> None:
    order = [3, 0, 6, 2, 1, 5, 4]
    other = write_model(tmp_path / "other.onnx", [LABELS[i] for i in order], OTHERS[:, order])
    first, second = answers(centre(pictures)), answers(centre(pictures), OTHERS)
    assert_figures(evaluate([other, other], folder), truth, second)
    assert_figures(evaluate([model, other], folder), truth, (first + second) / 2)
    assert evaluate([other, model], folder).top1 == evaluate([model, other], folder).top1


def test_models_of_other_labels_are_not_averaged(model: Path, folder: Path, tmp_path: Path) -> None:
    other = write_model(tmp_path / "other.onnx", [*LABELS[:-1], "shirt"])
    with pytest.raises(ModelError, match="only one of them has 'T-shirt'"):
        evaluate([model, other], folder)
    less = write_model(tmp_path / "less.onnx", LABELS[:6], WEIGHTS[:, :6])
    with pytest.raises(ModelError, match="can't be averaged"):
        evaluate([model, less], folder)


@pytest.fixture
def three_threads() -> Iterator[None]:
    """Inside, torch has three threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    assert torch.get_num_threads() == 3, "as before the test"
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("crops", [1, 10])
def test_a_checkpoint_and_its_export_agree_to_the_last_picture(
    fashion_mini: Path, tmp_path: Path, crops: Any
) -> None:
    """The exported file is the one in the package, the pictures are the built-in validation pictures."""
    sample.write_pictures(tmp_path / "images")
    if crops == 10:  # takes ten times as long
        for path in (tmp_path / "images").glob("*/00[2-9]*.png"):
            path.unlink()
    ours, exported = (
        evaluate([each], tmp_path / "images", crops=crops) for each in (fashion_mini, zoo.default_model())
    )
    assert np.array_equal(ours.confusion, exported.confusion)
    assert np.array_equal(ours.top5_correct, exported.top5_correct)
    assert [each.path for each in ours.mistakes] == [each.path for each in exported.mistakes]
    assert ours.pictures == (1_000 if crops == 1 else 200)
    assert 0.8 < ours.top1.fraction < 0.95


def test_an_onnx_file_needs_neither_torch_nor_onnx(model: Path, folder: Path, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from alexnet_tk.evaluation import evaluate\n"
        "model, data, out = map(Path, sys.argv[1:])\n"
        "found = evaluate(model, str(data), crops=10, output=out / 'a.json', confusion=out / 'c.csv', "
        "report=out / 'page.html')\n"
        "assert found.pictures == 120\n"
        "print(*{name.partition('.')[0] for name in sys.modules})\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, model, folder, tmp_path], capture_output=True, text=True, check=True
    )
    assert {"onnxruntime", "alexnet_tk"} <= set(ended.stdout.split())
    assert not set(ended.stdout.split()) & {"torch", "onnx", "onnxscript", "matplotlib", "sklearn", "rich"}


@given(st.integers(1, 100_000), st.data())
def test_intervals_are_wilsons(total: int, data: st.DataObject) -> None:
    """The observed fraction is exactly Z standard deviations away from either end of the interval."""
    observed = Proportion(data.draw(st.integers(0, total)), total)
    low, high = observed.interval
    inside = 0 <= low <= observed.fraction <= high <= 1
    assert inside or np.isclose([low, high], observed.fraction, atol=1e-12).any()
    for end in (low, high):
        if 1e-9 < end < 1 - 1e-9:
            assert abs(observed.fraction - end) == pytest.approx(Z * sqrt(end * (1 - end) / total), rel=1e-6)
    assert observed.complement.interval == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_the_interval_of_a_textbook() -> None:
    """Newcombe 1998, table I: 81 of 263, and none of 20."""
    assert Proportion(81, 263).interval == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert Proportion(0, 20).interval == pytest.approx((0.0, 0.1611), abs=5e-5)


def of_confusion(confusion: NDArray[np.int64]) -> Evaluation:
    """The evaluation with that matrix, of labels 0, 1, …"""
    labels = [f"{number}" for number in range(len(confusion))]
    zeros = np.zeros(len(labels), np.int64)
    return Evaluation([Path("m")], Path("d"), 1, labels, confusion, zeros, [], [], Counter(), [], 1.0)


@given(st.integers(1, 9), st.data())
def test_scores_of_any_confusion_are_scikit_learns(labels: int, data: st.DataObject) -> None:
    """Also where classes have no pictures, or no answers."""
    counts = st.one_of(st.just(0), st.integers(0, 40))
    cells = data.draw(st.lists(counts, min_size=labels**2, max_size=labels**2).filter(any))
    confusion = np.reshape(cells, (labels, labels))
    found = of_confusion(confusion)
    truth, predicted = np.indices(confusion.shape).reshape(2, -1).repeat(cells, axis=1)
    scores = [astuple(each.scores) for each in found.classes()]
    assert_scores(scores, astuple(found.macro), truth, predicted)


def test_scores_by_hand() -> None:
    """Six of the eight answers "0" are right, and two of the four pictures of 1; 2 is never answered."""
    found = of_confusion(np.array([[6, 0, 0, 0], [1, 2, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]]))
    by_label = {each.label: astuple(each.scores) for each in found.classes()}
    assert by_label == {"0": (6 / 8, 1, 12 / 14), "1": (1, 2 / 4, 4 / 6), "2": (0, 0, 0)}
    assert astuple(found.macro) == pytest.approx((1.75 / 3, 1.5 / 3, (12 / 14 + 4 / 6) / 3))
    line = "macro  precision 58.3%, recall 50.0%, F1 50.8%: means of the classes with pictures"
    assert found.summary()[3] == line
