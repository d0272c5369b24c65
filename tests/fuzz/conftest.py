"""How long to look for files that break what reads them."""

import pytest

from tests.small_model import labels, metadata, model_file, write_model

__all__ = ["labels", "metadata", "minutes", "model_file", "write_model"]


@pytest.fixture
def minutes(request: pytest.FixtureRequest) -> float:
    """The minutes of each test: `pytest -m fuzz --fuzz-minutes 30`; 0: a few dozen files."""
    value: float = request.config.getoption("--fuzz-minutes")
    return value
