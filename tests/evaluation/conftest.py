"""The network of known.py and its pictures as files."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.evaluation.known import LABELS, answers, centre, draw, write_folder, write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.uint8]:
    return draw(120)


@pytest.fixture(scope="module")
def truth(pictures: NDArray[np.uint8]) -> NDArray[np.int64]:
    """A class for each picture, correct for some and wrong for others; none is an eel, the fifth."""
    classes: NDArray[np.int64] = answers(centre(pictures)).argmax(axis=1)
    random = np.random.default_rng(5)
    wrong = random.random(len(pictures)) < 0.5
    classes[wrong] = random.integers(0, len(LABELS), wrong.sum())
    classes[classes == 4] = 6
    return classes


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, pictures: NDArray[np.uint8], truth: NDArray[np.int64]
) -> Path:
    return write_folder(tmp_path_factory.mktemp("data") / "data", pictures, truth)
