"""The small model, and files of features as `features` writes them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

from alexnet_tk.choices import FeatureType
from alexnet_tk.inference import Record
from alexnet_tk.prediction.feature_formats import choose_feature_format
from tests.small_model import answer, feature_file, features_of, labels, metadata, model_file, write_model

__all__ = ["answer", "feature_file", "features_of", "labels", "metadata", "model_file", "write_model"]

Write = Callable[..., Path]


@pytest.fixture(scope="session")
def write_features() -> Write:
    """Writes vectors to a file as those of pictures; the ones in `failed` have none."""

    def write(
        path: Path,
        values: NDArray[Any],
        names: list[str] | None = None,
        failed: tuple[int, ...] = (),
        dtype: FeatureType = "float32",
    ) -> Path:
        names = names or [f"{row}.png" for row in range(len(values))]
        records = [
            Record(name, "empty file") if row in failed else Record(name, features=value)
            for row, (name, value) in enumerate(zip(names, values, strict=True))
        ]
        choose_feature_format(path, dtype).with_units(values.shape[1]).complete(records, path, 0)
        return path

    return write
