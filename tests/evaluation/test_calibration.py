"""The temperature against scipy's minimum, and what it does to answers."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from alexnet_tk import calibrate, export, images, sample
from alexnet_tk.description import describe
from alexnet_tk.errors import CheckpointError, DataError, OutputError, UsageError
from alexnet_tk.evaluation import calibration
from alexnet_tk.inference.model import open_model
from alexnet_tk.training.checkpoint import Checkpoint
from tests.evaluation.known import RecordedProgress, write_folder


def answered(
    seed: int, truth: float, count: int = 2_000, classes: int = 7
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits, and classes drawn from the softmax of these logits divided by a temperature."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 3, (count, classes))
    shares = softmax(logits / truth, axis=1)
    targets = (shares.cumsum(axis=1) < random.random((count, 1))).sum(axis=1).clip(max=classes - 1)
    return logits, targets


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1_000), truth=st.floats(0.3, 8))
def test_it_is_the_likeliest(seed: int, truth: float) -> None:
    logits, targets = answered(seed, truth)
    found = calibration.fit_temperature(softmax(logits, axis=1), targets)

    def loss(beta: float) -> float:
        return float(-log_softmax(beta * logits, axis=1)[np.arange(len(targets)), targets].mean())

    best = minimize_scalar(loss, bounds=(0.01, 100), method="bounded", options={"xatol": 1e-9})
    assert loss(1 / found) == pytest.approx(best.fun, abs=1e-9)
    assert found == pytest.approx(truth, rel=0.25)


@pytest.mark.parametrize(
    ("bins", "counts", "expected"),
    [
        (2, [2, 2], 2 / 4 * abs(0.51 - 0.5) + 2 / 4 * abs((0.61 + 0.9) / 2 - 0.5)),
        (3, [2, 1, 1], 2 / 4 * abs(0.51 - 0.5) + 1 / 4 * abs(0.61 - 0) + 1 / 4 * abs(0.9 - 1)),
        (6, [1, 1, 1, 1, 0, 0], (0.5 + 0.52 + 0.61 + 0.1) / 4),
    ],
)
def test_the_expected_calibration_error_by_hand(
    monkeypatch: pytest.MonkeyPatch, bins: int, counts: list[int], expected: float
) -> None:
    """Bins of as many answers each, by how sure they are: 0.5 (right), 0.52, 0.61 and 0.9 (right)."""
    monkeypatch.setattr(calibration, "BINS", bins)
    probabilities = np.array([[0.5, 0.3, 0.2], [0.05, 0.05, 0.9], [0.61, 0.2, 0.19], [0.2, 0.52, 0.28]])
    found = calibration.reliability(probabilities, np.array([0, 2, 1, 2]))
    assert found.counts.tolist() == counts
    assert found.expected_error == pytest.approx(expected)
    assert found.likelihood == pytest.approx(-np.log([0.5, 0.28, 0.9, 0.2]).mean())


def test_the_right_temperature_makes_answers_as_sure_as_right() -> None:
    logits, targets = answered(1, truth=3, count=50_000)
    probabilities = softmax(logits, axis=1)
    temperature = calibration.fit_temperature(probabilities, targets)
    assert calibration.reliability(probabilities, targets).expected_error > 0.2
    after = calibration.tempered(probabilities, temperature)
    assert calibration.reliability(after, targets).expected_error < 0.01
    assert np.array_equal(after.argmax(axis=1), probabilities.argmax(axis=1))


@pytest.mark.parametrize(("right", "word"), [(True, "are right"), (False, "no better than guesses")])
def test_answers_that_fit_no_temperature(right: bool, word: str) -> None:
    probabilities = softmax(np.random.default_rng(0).normal(0, 1, (20, 3)), axis=1)
    targets = probabilities.argmax(axis=1) if right else probabilities.argmin(axis=1)
    with pytest.raises(DataError, match=word):
        calibration.fit_temperature(probabilities, targets)


def test_answers_that_are_all_right_and_sure_fit_none() -> None:
    """At the coldest temperature, float64 holds nothing but the right answers."""
    probabilities = softmax(np.array([[9.0, 0, 0], [0, 8, 0], [0, 0, 7]]), axis=1)
    with pytest.raises(DataError, match="all of the 3 answers are right"):
        calibration.fit_temperature(probabilities, np.arange(3))


def test_probabilities_of_zero_count_as_the_smallest() -> None:
    """Eight of nine answers are right, so the likeliest probability is 8/9, whose logit is ln 8."""
    probabilities, targets = np.array([[1.0, 0.0]] * 9), np.array([0] * 8 + [1])
    gap = -np.log(np.finfo(np.float32).tiny)
    assert calibration.fit_temperature(probabilities, targets) == pytest.approx(gap / np.log(8))
    assert np.isfinite(calibration.reliability(probabilities, targets).likelihood)


@pytest.fixture
def folder(tmp_path: Path, fashion_mini: Path) -> Path:
    """The built-in network as a checkpoint, and 300 pictures that it was not trained on."""
    shutil.copy(fashion_mini, tmp_path / "model.pt")
    pictures, targets = sample.pictures("val")
    write_folder(tmp_path / "held", pictures[:300], targets[:300], sample.LABELS)
    return tmp_path


def test_the_checkpoint_and_its_export_answer_with_it(folder: Path) -> None:
    before = Checkpoint.load(folder / "model.pt")
    found = calibrate(folder / "model.pt", folder / "held", diagram=folder / "d.png", device="cpu")
    assert found.pictures == 300
    assert found.after.likelihood < found.before.likelihood
    after = Checkpoint.load(folder / "model.pt")
    assert after.temperature == found.temperature != 1
    assert all(after.weights[name].equal(weight) for name, weight in before.weights.items())
    assert describe(folder / "model.pt").facts["temperature"] == found.temperature
    with Image.open(folder / "d.png") as picture:
        assert picture.size == (1100, 550)

    export(folder / "model.pt")
    assert describe(folder / "model.onnx").facts["temperature"] == found.temperature
    some = sample.pictures("val")[0][:9]
    pictures = np.stack([images.load(picture, before.preprocess) for picture in some])
    with torch.inference_mode():
        logits = before.classifier()(torch.from_numpy(pictures)).log() / found.temperature
    answers = open_model(folder / "model.onnx", "cpu").run(pictures)
    np.testing.assert_allclose(answers, logits.softmax(dim=1).numpy(), atol=1e-5)

    again = calibrate(folder / "model.pt", folder / "held", output=folder / "again.pt", device="cpu")
    assert again.temperature == pytest.approx(found.temperature, rel=1e-3)
    assert again.before.expected_error == pytest.approx(found.after.expected_error, abs=1e-3)
    with pytest.raises(OutputError, match=r"again\.pt"):
        calibrate(folder / "model.pt", folder / "held", output=folder / "again.pt", device="cpu")


def test_what_was_asked_for_is_refused_before_the_work(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"d\.svg does not end in \.png"):
        calibrate(folder / "model.pt", folder / "gone", diagram=folder / "d.svg", device="cpu")


def test_a_better_checkpoint_that_came_meanwhile_is_kept(folder: Path) -> None:
    """As `train` replaces it after a better epoch."""
    better = replace(Checkpoint.load(folder / "model.pt"), training={"best": 2})

    class Meanwhile(RecordedProgress):
        def advance(self, count: int, loss: float | None = None) -> None:
            better.save(folder / "model.pt")

    with pytest.raises(CheckpointError, match=r"model\.pt was replaced while it answered"):
        calibrate(folder / "model.pt", folder / "held", device="cpu", progress=Meanwhile())
    assert Checkpoint.load(folder / "model.pt").training == {"best": 2}


def test_a_picture_that_cant_be_read_is_left_out(folder: Path) -> None:
    (next((folder / "held").iterdir()) / "broken.png").write_bytes(b"no picture")
    progress = RecordedProgress()
    assert calibrate(folder / "model.pt", folder / "held", device="cpu", progress=progress).pictures == 300
    assert any("broken.png is left out" in message for message in progress.messages)


def test_a_checkpoint_with_a_senseless_temperature_is_broken(folder: Path) -> None:
    for value in (0.0, -1.0, float("nan"), "warm"):
        content = torch.load(folder / "model.pt", weights_only=True)
        torch.save(content | {"temperature": value}, folder / "odd.pt")
        with pytest.raises(CheckpointError, match="broken checkpoint"):
            Checkpoint.load(folder / "odd.pt")
