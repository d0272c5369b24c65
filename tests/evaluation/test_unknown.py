"""`evaluate --unknown-below`: coverage, and the error of what is left, against numpy's counts."""

import json
from pathlib import Path

import numpy as np
import pytest

from alexnet_tk import sample
from alexnet_tk.errors import UsageError
from alexnet_tk.evaluation import evaluate
from alexnet_tk.evaluation.tally import Tally
from alexnet_tk.inference import Classifier, find
from alexnet_tk.inference.classify import Answer
from alexnet_tk.zoo import built_in_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hundred of the built-in pictures in class folders."""
    path = tmp_path_factory.mktemp("evaluated")
    sample.write_pictures(path)
    for each in [*path.glob("*/00[2-9]?.png"), *path.glob("*/0[1-9]??.png")]:
        each.unlink()
    return path


@pytest.mark.parametrize("below", [0.0, 0.7, 0.99])
def test_coverage_and_error(folder: Path, tmp_path: Path, below: float) -> None:
    found = evaluate(
        built_in_model(), folder, device="cpu", unknown_below=below, output=tmp_path / "figures.json"
    )
    paths = find([folder]).paths
    records = list(Classifier(built_in_model(), "cpu").classify(paths))
    sure = np.array([record.probabilities[0] for record in records]) >= np.float32(below)
    right = np.array([record.labels[0] == Path(record.path).parent.name for record in records])
    assert len(sure) == 200
    assert found.unknown is not None
    assert found.unknown.correct is not None
    assert (found.unknown.coverage.count, found.unknown.coverage.total) == (sure.sum(), 200)
    assert (found.unknown.correct.count, found.unknown.correct.total) == ((right & sure).sum(), sure.sum())
    if below:
        assert sure.sum() < 200
        assert (right[sure]).mean() > right.mean()
    (line,) = [line for line in found.summary() if line.startswith("unknown below")]
    assert f"coverage {sure.mean():.1%} (" in line
    assert f"their error {1 - right[sure].mean():.1%} (" in line
    table = json.loads((tmp_path / "figures.json").read_text())["unknown"]
    assert table["below"] == below
    assert table["coverage"] == pytest.approx(sure.mean())
    assert table["known"]["accuracy"] == pytest.approx(right[sure].mean())


def test_nothing_is_left() -> None:
    tally = Tally(["a", "b"], unknown_below=0.9)
    tally.add(Answer("x.png", "", np.array([0.8, 0.2], np.float32)), 0)
    found = tally.unknown()
    assert (found.coverage.count, found.coverage.total, found.correct) == (0, 1, None)
    assert str(found).startswith("unknown below 0.9: coverage 0.0% (")
    assert str(found).endswith("no answer is left")


def test_what_was_not_asked_for_is_not_told(folder: Path, tmp_path: Path) -> None:
    found = evaluate(built_in_model(), folder, device="cpu", output=tmp_path / "figures.json")
    assert found.unknown is None
    assert not any("unknown" in line for line in found.summary())
    assert "unknown" not in json.loads((tmp_path / "figures.json").read_text())
    with pytest.raises(UsageError, match="from 0 to 1"):
        evaluate(built_in_model(), folder, unknown_below=2)
