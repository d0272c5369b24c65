"""Every mode of parallelism against one process: the same losses, weights, momentum and answers."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet_tk.choices import Parallelism
from alexnet_tk.errors import UsageError
from alexnet_tk.network.alexnet import AlexNet
from alexnet_tk.training.augment import EpochDraws
from alexnet_tk.training.dataset import from_folder
from alexnet_tk.training.parallel import Strategy, World, choose_strategy
from alexnet_tk.training.parallel.data import DataParallel
from alexnet_tk.training.parallel.hybrid import Hybrid
from alexnet_tk.training.parallel.pipeline import Pipeline
from alexnet_tk.training.parallel.towers import Towers
from tests.training.parallel import ten_steps

ROOT = Path(__file__).parents[3]
TOLERANCE = {"float64": 1e-9, "float32": 1e-4}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five classes, 25 training and 10 validation pictures; one of each can't be read.

    That of training is the last batch of the first epoch, which is skipped.
    """
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(1)
    for split, count in (("train", 5), ("val", 2)):
        for label in range(5):
            (folder / split / f"class{label}").mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 40 * (label + 1), (50, 44, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / f"class{label}" / f"{number}.png")
    (folder / "val" / "class2" / "1.png").write_bytes(b"no picture")
    last = int(EpochDraws.draw(ten_steps.RECIPE, 0, 25, ten_steps.STATISTICS).order[-1])
    (folder / "train" / f"class{last // 5}" / f"{last % 5}.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module", params=["float64", "float32"])
def dtype(request: pytest.FixtureRequest) -> Iterator[str]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, request.param))
    yield request.param
    torch.set_default_dtype(before)


@pytest.fixture(scope="module")
def alone(pictures: Path, dtype: str) -> dict[str, Any]:
    """The results of one process, for each recipe."""
    dataset, world = from_folder(pictures), World(device=torch.device(ten_steps.DEVICE))
    return {name: ten_steps.run(dataset, world, None, recipe) for name, recipe in ten_steps.RECIPES.items()}


@pytest.fixture(scope="module", params=[2, 4])
def together(
    request: pytest.FixtureRequest, pictures: Path, dtype: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The results of that number of processes, in a file for each mode and recipe."""
    folder = tmp_path_factory.mktemp("together")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-W",
                "error::UserWarning",
                "-m",
                ten_steps.__name__,
                folder,
                pictures,
                dtype,
                ten_steps.DEVICE,
            ],
            cwd=ROOT,
            env=os.environ
            | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(request.param)}
            | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(request.param)
    ]
    assert [process.wait(timeout=240) for process in processes] == [0] * request.param
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "recipe"), ten_steps.CASES)
def test_a_mode_is_the_same_training_as_one_process(
    mode: Parallelism, recipe: str, together: Path, alone: dict[str, Any], dtype: str
) -> None:
    alone = alone[recipe]
    found = torch.load(together / f"{mode}-{recipe}.pt", weights_only=True)
    near = TOLERANCE[dtype]
    assert found["losses"] == pytest.approx(alone["losses"], rel=0, abs=near)
    assert len(set(alone["losses"])) == ten_steps.STEPS - 1  # a batch was skipped
    for kind in ("weights", "momentum"):
        assert list(found["state"][kind]) == list(alone["state"][kind])
        for name, each in alone["state"][kind].items():
            torch.testing.assert_close(found["state"][kind][name], each, rtol=0, atol=near)
    assert found["validation"] == pytest.approx(alone["validation"], rel=0, abs=near)
    assert found["validation"][0] == 9  # of ten, one of which can't be read
    assert found["failures"] == alone["failures"] != {}


@pytest.mark.parametrize(
    ("mode", "size", "settings", "message"),
    [
        (DataParallel, 3, [], r"train\.batch_size=8 does not divide into 3 processes: 3 × 3 = 9"),
        (Towers, 3, [], r"3 processes are not a multiple of network\.towers=2; 2 × 2 = 4 are"),
        (Towers, 2, ["network.towers=1"], "needs network.towers of 2 or more, not 1"),
        (Towers, 2, ["network.lrn.across_towers=true"], "network.lrn.across_towers is true"),
        (Pipeline, 3, [], "two stages: 3 processes are not a multiple of 2"),
        (Pipeline, 2, ["train.micro_batches=3"], r"8 does not divide into 3 parts .*micro_batches=3"),
        (Pipeline, 12, [], r"does not divide into 6 pipelines: 6 × 1 = 6"),
        (Hybrid, 3, [], r"does not divide into 3 processes"),
        (Hybrid, 2, ["network.talk=false"], "network.talk is false"),
        (Hybrid, 8, [], "can't divide a layer of 5 units among 8 processes"),
    ],
)
def test_a_mesh_that_makes_no_sense_says_why(
    mode: type[Strategy], size: int, settings: list[str], message: str
) -> None:
    recipe = ten_steps.RECIPE.override(*settings)
    with pytest.raises(UsageError, match=message):
        mode(AlexNet(recipe.network, 5), recipe, World(1, size), None)


def test_a_mode_needs_several_processes() -> None:
    recipe = ten_steps.RECIPE
    with pytest.raises(UsageError, match="--parallel towers needs several processes: give --gpus N"):
        choose_strategy(AlexNet(recipe.network, 5), recipe, World(), "towers", None, compile=False)
