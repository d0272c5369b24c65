"""What `train` says of a run's time before it begins; no time is measured here but where it is said."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from alexnet_tk import zoo
from alexnet_tk.preprocess import Square
from alexnet_tk.recipe import Recipe
from alexnet_tk.training import forecast as forecasts
from alexnet_tk.training import train
from alexnet_tk.training.dataset import Dataset
from alexnet_tk.training.forecast import about, forecast
from alexnet_tk.training.parallel import World
from alexnet_tk.training.statistics import Statistics
from tests.training.log import Log

STATISTICS = Statistics((120.0, 110.0, 100.0), (90.0, 9.0, 1.0), ((1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0)))


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def takes(self, *seconds: float) -> Callable[[], None]:
        """A function that takes so long, call by call; the last again and again."""
        left = list(seconds)

        def call() -> None:
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return call


class Pictures:
    """A split of blank pictures, each of which takes a hundredth of a second to read."""

    def __init__(self, count: int, clock: Clock) -> None:
        self.targets: NDArray[np.int64] = np.arange(count) % 10
        self.clock, self.indices = clock, list[int]()

    def read(self, index: int, square: Square) -> NDArray[np.uint8]:
        self.clock.now += 0.01
        self.indices.append(index)
        return np.zeros((square.crop, square.crop, 3), np.uint8)

    def name(self, index: int) -> str:
        return f"{index}"


class OneCore(World):
    """Processes with one core each, which keep no pictures unless they are given memory."""

    memory: int | None = None

    @property
    def cores(self) -> int:
        return 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Steps take a hundredth of a second for each line of each picture."""
    clock = Clock()

    def step(recipe: Recipe, statistics: Statistics, num_classes: int, batch: int) -> Callable[[], None]:
        assert (statistics, num_classes) == (STATISTICS, 10)
        return clock.takes(9 * batch, batch * recipe.network.image_size / 100)

    monkeypatch.setattr(forecasts, "_step_of_blank_pictures", step)
    for name in ("MEASURED", "PATIENCE"):
        monkeypatch.setattr(forecasts, name, 10_000.0)  # so that the first step is not counted
    return clock


def told(clock: Clock, recipe: Recipe, pictures: tuple[int, int], *settings: str, processes: int = 1) -> str:
    train, val = (Pictures(count, clock) for count in pictures)
    data = Dataset(train, val, list("abcdefghij"))
    world, recipe = OneCore(size=processes), recipe.override(*settings)
    return forecast("mine", recipe, settings, data, STATISTICS, world, Log(), clock)


def test_the_time_is_that_of_all_epochs(clock: Clock) -> None:
    """Training pictures take a whole step's time, validation pictures a third of it; all are read."""
    recipe = Recipe().override("train.epochs=3", "network.image_size=200")
    epoch = 60_000 * (2 + 0.01) + 3_000 * (2 / 3 + 0.01)
    pictures = (60_000, 3_000)
    assert told(clock, recipe, pictures).split(";")[0] == f"mine: about {3 * epoch / 86_400:.0f} days"
    assert told(clock, recipe, pictures, processes=4).split(";")[0] == f"mine: {about(3 * epoch / 4)}"
    auto = told(clock, recipe, pictures, "train.epochs=auto")  # which are 10 here
    assert auto.split(";")[0] == f"mine: about {10 * epoch / 86_400:.0f} days"
    assert told(clock, recipe, (800, 9)) == "", "over before its time is known"
    assert told(clock, recipe, (900, 9)) != ""


def test_faster_recipes_are_told_where_it_takes_long(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Recipe().override("train.epochs=2", "network.image_size=100")
    recipes = {"own-pictures": Recipe().override("train.epochs=9"), "photo-mini": small}
    monkeypatch.setattr(zoo, "names", lambda: sorted(recipes))
    monkeypatch.setattr(zoo, "recipe", recipes.__getitem__)
    mine = Recipe().override("train.epochs=5", "network.image_size=200")
    many, few = (10_000, 0), (100, 0)
    assert told(clock, mine, many) == "mine: about 28 h; --recipe photo-mini: about 5.5 h"
    # What is set goes for all of them, and may be impossible for one.
    expected = "mine: about 5.5 h; --recipe photo-mini: about 3 h"
    assert told(clock, mine, many, "train.epochs=1") == expected
    assert told(clock, Recipe().override("network.image_size=80"), many, "preprocess.resize=90") == (
        f"mine: {about(90 * 10_000 * 0.81)}"
    )
    assert told(clock, mine, few, "train.batch_size=1", "train.epochs=1") == "mine: about 3 min"
    del recipes["photo-mini"]
    assert told(clock, mine, many) == "mine: about 28 h"


def test_a_step_is_timed_for_a_second_after_the_first() -> None:
    clock = Clock()
    assert forecasts._seconds_per_call(clock.takes(0.9, 0.3), clock) == pytest.approx(0.3)
    assert forecasts._seconds_per_call(clock.takes(0.9, 0.5, 0.1, 0.6, 100), clock) == pytest.approx(0.4)
    assert forecasts._seconds_per_call(clock.takes(7, 3), clock) == pytest.approx(3)
    assert forecasts._seconds_per_call(clock.takes(12, 3), clock) == pytest.approx(12)


@pytest.mark.parametrize("memory", [None, 10**12])
def test_pictures_all_over_the_set_are_read_for_a_second(memory: int | None) -> None:
    """Pictures that are kept take no time in later epochs."""
    clock, world = Clock(), OneCore()
    world.memory = memory
    pictures = Pictures(100_000, clock)
    data = Dataset(pictures, pictures, list("abcdefghij"))
    recipe = Recipe().override("network.image_size=64", "preprocess.resize=70")
    first, later = forecasts._seconds_per_picture(recipe, data, STATISTICS, world, clock)
    assert first == pytest.approx(0.01, rel=0.3)
    assert later == (first if memory is None else 0)
    assert len(pictures.indices) == (128 if memory is None else 64)
    assert (min(pictures.indices), max(pictures.indices)) == (0, 99_999)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "under a minute"),
        (59, "under a minute"),
        (60, "about 1 min"),
        (10 * 60 + 20, "about 10 min"),
        (14.4 * 60, "about 14 min"),
        (16 * 60, "about 15 min"),
        (57 * 60, "about 55 min"),
        (87 * 60, "about 85 min"),
        (88 * 60, "about 1.5 h"),
        (2.1 * 3600, "about 2 h"),
        (9.7 * 3600, "about 9.5 h"),
        (9.8 * 3600, "about 10 h"),
        (35.4 * 3600, "about 35 h"),
        (36 * 3600, "about 2 days"),
        (1e9, "about 11,574 days"),
    ],
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert about(seconds) == words


@pytest.mark.parametrize("extra", [(), ("train.precision=bf16", "augment.rotate=5", "network.towers=1")])
def test_it_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch, tiny: tuple[str, ...], extra: tuple[str, ...]
) -> None:
    """With a network that is really trained; a default's epochs are a word there."""
    for name in ("MEASURED", "PATIENCE"):
        monkeypatch.setattr(forecasts, name, 0.0)
    recipe = zoo.recipe("own-pictures").override(*tiny, *extra, "train.batch_size=4", "train.epochs=auto")
    pictures, stopped = Pictures(30, Clock()), Clock()
    data = Dataset(pictures, pictures, list("abcdefghij"))
    random, threads = torch.get_rng_state(), torch.get_num_threads()
    assert forecast("mine", recipe, (), data, STATISTICS, World(), Log(), stopped) == "mine: under a minute"
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.get_num_threads() == threads


def test_train_says_it_of_a_new_run_without_a_recipe(
    pictures: Path, tmp_path: Path, tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it begins; and its weights are those of a run that does not say it."""
    for name in ("MEASURED", "PATIENCE"):
        monkeypatch.setattr(forecasts, name, 0.0)
    settings = (*tiny, "train.batch_size=4")
    first, second = tmp_path / "first.pt", tmp_path / "second.pt"
    weights = []
    for output, recipe, resume, initial, times in (
        (first, None, False, None, 1),
        (first, None, True, None, 0),
        (second, "own-pictures", False, None, 0),
        (tmp_path / "third.pt", None, False, first, 0),
    ):
        log = Log()
        best = train(
            pictures,
            recipe=recipe,
            settings=settings,
            output=output,
            resume=resume,
            initial=initial,
            progress=log,
            device="cpu",
        )
        weights.append(best.weights)
        assert sum(": under a minute" in line or ": about " in line for line in log.said) == times
    assert all(torch.equal(weights[0][name], weights[2][name]) for name in weights[0])
