"""Shared by all tests: the `gpu` marker, settings of a tiny network, the built-in network as a checkpoint."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

# Threads of torch wait for one another by spinning: on two busy cores, an epoch of a network this small took
# six times as long with two of them. This holds for the processes that tests start, too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell's & has Ctrl-C ignored, by whatever the tests start as well; .ci/run uses one.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A network with all eight layers and both towers that is small enough to train in a test.
TINY = (
    "network.image_size=40",
    "network.channels=[8,16,16,16,8]",
    "network.hidden=[16,16]",
    "network.c1={kernel=5,stride=2,padding=2}",
    "preprocess.resize=44",
    "train.epochs=2",
)


@pytest.fixture(scope="session")
def tiny() -> tuple[str, ...]:
    """Settings that make any recipe's network tiny."""
    return TINY


@pytest.fixture(scope="session")
def fashion_mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in trained network, converted back to a checkpoint."""
    import onnx
    import torch

    from alexnet_tk import sample, zoo
    from alexnet_tk.training.checkpoint import Checkpoint
    from alexnet_tk.training.statistics import Statistics

    graph = onnx.load(zoo.default_model()).graph
    weights = {
        each.name.removeprefix("alexnet."): torch.from_numpy(onnx.numpy_helper.to_array(each).copy())
        for each in graph.initializer
        if each.name.startswith("alexnet.")
    }
    mean = sample.pictures("train")[0].mean()
    statistics = Statistics.from_lists([mean] * 3, [0, 0, 1], [[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    path = tmp_path_factory.mktemp("fashion") / "model.pt"
    Checkpoint(zoo.recipe("fashion-mini"), list(sample.LABELS), statistics, weights).save(path)
    return path


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long the tests marked fuzz look."""
    parser.addoption(
        "--fuzz-minutes",
        type=float,
        default=0.0,
        help="minutes of each test marked fuzz; 0: some hundred files",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `gpu` if torch finds no CUDA device."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked:
        import torch

        if not torch.cuda.is_available():
            for item in marked:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(autouse=True)
def _same_random_state() -> Iterator[None]:
    """Seeds torch's global generator, so that a test draws the same numbers in any order of tests."""
    import sys

    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
    yield
