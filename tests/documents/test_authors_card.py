"""The card of the authors' network against the recipe, and its commands against the networks they make."""

import re
import shlex
from operator import attrgetter

import pytest

from alexnet_tk import zoo
from alexnet_tk.geometry import Network, layers, map_sizes
from alexnet_tk.recipe import Recipe
from tests.documents.page import ALL, ROOT

CARD = ROOT / "models" / "krizhevsky-2012" / "README.md"


# What the card's rows say of "run 145, this recipe".
DIFFERENCES: dict[int, dict[str, object]] = {
    1: {"network.c1.padding_after": 3},
    2: {"network.c1.then": ("lrn", "pool", "relu")},
    3: {"network.c2.then": ("relu", "lrn", "spatial", "pool")},
    4: {"network.lrn.convention": "divided"},
    5: {"network.init": "authors"},
    6: {"train.bias_lr": 2.0, "train.bias_schedule": "constant", "train.bias_weight_decay": 0.0},
    7: {
        "train.schedule": "steps",
        "train.steps": (25, 51, 79),
        "train.layer_rates": (("c1", 67, 0.1), ("c1", 72, 0.0)),
    },
    8: {"augment.color_divisor": 1.1, "augment.color_epochs": 66},
    9: {"augment.group": 32},
}


def sibling(run: str) -> Network:
    """The network of the command that writes RUN.pt."""
    (words,) = (shlex.split(step.code) for step in ALL[CARD] if f"--output {run}.pt" in step.code)
    assert words[:5] == ["alexnet-tk", "train", "PACKED", "--recipe", "krizhevsky-2012"]
    settings = [words[place + 1] for place, word in enumerate(words) if word == "--set"]
    return zoo.recipe("krizhevsky-2012").override(*settings).network


@pytest.mark.parametrize("number", DIFFERENCES)
def test_a_difference_is_in_the_recipe_and_in_no_other(number: int) -> None:
    """The recipe has the value, alexnet-2012 another, and the row names no other key."""
    (row,) = re.findall(rf"^\| {number}\. .*$", CARD.read_text(encoding="utf-8"), re.MULTILINE)
    for key, value in DIFFERENCES[number].items():
        found, other = (attrgetter(key)(zoo.recipe(name)) for name in ("krizhevsky-2012", "alexnet-2012"))
        assert (found, other != value) == (value, True)
    for named in re.findall("`(.*?)`", row.split(" | ")[2]):
        assert any(f".{key}".endswith(f".{named}") for key in DIFFERENCES[number])


def test_the_network_has_the_papers_sizes() -> None:
    network = zoo.recipe("krizhevsky-2012").network
    assert map_sizes(network) == {"c1": 55, "pool1": 27, "pool2": 13, "pool5": 6}
    counts = [layer.parameters for layer in layers(network, 1000).values()]
    assert counts == [layer.parameters for layer in layers(Recipe().network, 1000).values()]


def test_147_has_the_same_sizes_without_overlap() -> None:
    network = sibling("147")
    assert network.pool_kernel == 2
    assert map_sizes(network) == {"c1": 55, "pool1": 27, "pool2": 13, "pool5": 6}


def test_148_normalises_nothing() -> None:
    network = sibling("148")
    assert not {"lrn", "spatial"} & {*network.c1.then, *network.c2.then}


def test_150_has_towers_apart() -> None:
    """By the authors' file: 160 maps of c2 and 4,096 units of f6 in a tower; f8 reads both."""
    shapes = {name: layer.weight_shape for name, layer in layers(sibling("150"), 1000).items()}
    assert shapes["c2"] == (2 * 160, 48, 5, 5)
    assert shapes["c3"] == (2 * 192, 160, 3, 3)
    assert shapes["f6"] == (2 * 4096, 128 * 36, 1, 1)
    assert shapes["f7"] == (2 * 2048, 4096, 1, 1)
    assert shapes["f8"] == (1000, 4096)


def test_167_normalises_after_c1_alone() -> None:
    network = sibling("167")
    assert (network.c1.then, network.c2.then) == (("lrn", "pool", "relu"), ("relu", "pool"))


def test_what_one_gpu_needs_is_arithmetic() -> None:
    recipe, text = zoo.recipe("krizhevsky-2012"), CARD.read_text(encoding="utf-8")
    pictures, epochs = 1_281_167, int(recipe.train.epochs)
    steps = epochs * -(-pictures // recipe.train.batch_size)
    assert f"{steps:,} steps, {epochs * pictures / 1e6:.0f} million pictures" in text
    sizes = {"c1": 55, "c2": 27, "c3": 13, "c4": 13, "c5": 13, "f6": 1, "f7": 1, "f8": 1}
    found = layers(recipe.network, 1000)
    products = sum((layer.parameters - layer.outputs) * sizes[name] ** 2 for name, layer in found.items())
    assert f"{3 * 2 * products / 1e9:.1f} GFLOP each" in text  # the backward pass takes twice the forward
    rates = re.search(r"time at ([\d,/ ]+) pictures/s \| ([\d./ ]+) hours", text)
    assert rates is not None
    for rate, hours in zip(rates[1].split("/"), rates[2].split("/"), strict=True):
        seconds = epochs * pictures / int(rate.replace(",", ""))
        assert float(hours) == pytest.approx(seconds / 3600, abs=0.05)
    weights = sum(layer.parameters for layer in found.values())
    assert f"{3 * 4 * weights / 1e9:.2f} GB for weights" in text
