"""Recipes: defaults, overrides, errors that name the key."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from alexnet_tk import zoo
from alexnet_tk.errors import RecipeError
from alexnet_tk.recipe import Recipe


def test_the_defaults_are_the_papers() -> None:
    assert zoo.recipe("alexnet-2012") == Recipe()


@pytest.mark.parametrize("name", zoo.names())
def test_every_recipe_of_the_zoo_has_a_card_and_a_header(name: str) -> None:
    folder = Path(__file__).parent.parent / "models" / name
    header = (folder / "recipe.toml").read_text()
    assert zoo.recipe(name)
    assert (folder / "README.md").read_text().startswith(f"# {name}\n")
    assert all(f"# {word}" in header for word in ("command", "hardware", "result"))


def test_a_recipe_survives_the_way_through_plain_values() -> None:
    recipe = zoo.recipe("fashion-mini").override("preprocess.mean=[1,2,3]", "train.steps=[3,5]")
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    assert asdict(recipe)["preprocess"]["mean"] == (1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("train.batch_size=256", 256),
        ("train.lr=1", 1.0),
        ("train.lr = 1e-3", 0.001),
        ("network.init=he", "he"),
        ('network.init="he"', "he"),
        ("augment.mirror=false", False),
        ("network.hidden=[8,16]", (8, 16)),
        ("network.lrn.size=3", 3),
        ("train.epochs=auto", "auto"),
        ("preprocess.mean=[1,2.5,3]", (1.0, 2.5, 3.0)),
    ],
)
def test_an_override_sets_one_key(setting: str, value: object) -> None:
    changed: Any = Recipe().override(setting)
    for name in setting.partition("=")[0].strip().split("."):
        changed = getattr(changed, name)
    assert changed == value
    assert type(changed) is type(value)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("train.batch_sise=2", ["train.batch_sise", "train.batch_size"]),
        ("train=2", ["train", "table"]),
        ("batch_size=2", ["batch_size"]),
        ("train.batch_size", ["KEY=VALUE"]),
        ("train.batch_size=2.5", ["train.batch_size", "2.5", "integer"]),
        ("train.batch_size=true", ["train.batch_size", "True", "integer"]),
        ("train.batch_size=0", ["train.batch_size", "0", "at least 1"]),
        ("train.lr=nan", ["train.lr", "nan", "finite"]),
        ("train.lr=fast", ["train.lr", "'fast'", "number"]),
        ("network.init=xavier", ["network.init", "'xavier'", "'paper'", "'he'", "'caffe'"]),
        ("network.order=lrn", ["network.order", "lrn", "pool-lrn, lrn-pool"]),
        ('network.c1.then=["pool"]', ["network.c1.then", "['pool']", "'relu' and 'pool'"]),
        ('network.c2.then=["relu", "pool", "relu"]', ["network.c2.then", "each once"]),
        ('network.c2.then=["relu", "pool", "batchnorm"]', ["network.c2.then", "batchnorm"]),
        ("network.c1.padding_after=11", ["network.c1.padding_after", "kernel - 1"]),
        ("network.spatial.size=2", ["network.spatial.size", "odd"]),
        ("network.hidden=[8]", ["network.hidden", "a list of 2 integers"]),
        ("network.channels=[95,256,384,384,256]", ["network.channels", "95", "towers"]),
        ("network.lrn.size=4", ["network.lrn.size", "4", "odd"]),
        ("network.c1={kernel=11,strides=4}", ["network.c1.strides", "network.c1.stride"]),
        ("preprocess.mean=imagenet", ["preprocess.mean", "'imagenet'", "'dataset'"]),
        ("preprocess.resize=200", ["preprocess.resize", "200", "224"]),
        ("train.lr=1" + "0" * 400, ["train.lr", "finite"]),
        ("train.epochs=" + "9" * 5000, ["train.epochs", "integer"]),
        ("train.steps=" + "[" * 20000, ["train.steps", "list of integers"]),
        ("network.hidden=[4000000000000,16]", ["network.hidden", "1,000,000"]),
        ("augment.rotate=181", ["augment.rotate", "181"]),
        ("augment.crop_area=[0.5]", ["augment.crop_area", "[0.5]", "[0.3, 1.0]"]),
        ("augment.crop_area=[0, 1]", ["augment.crop_area", "above 0"]),
        ("augment.crop_area=[0.5, 1.1]", ["augment.crop_area", "up to 1"]),
        ("augment.crop_area=[0.9, 0.5]", ["augment.crop_area", "[0.9, 0.5]"]),
        ("train.label_smoothing=1", ["train.label_smoothing", "below 1"]),
        ("train.bias_lr=0", ["train.bias_lr", "above 0"]),
        ("train.bias_weight_decay=-1", ["train.bias_weight_decay", "at least 0"]),
        ('train.layer_rates=[["c9", 1, 0.1]]', ["train.layer_rates", "c9", "a layer"]),
        ('train.layer_rates=[["c1", 5, 0.1], ["c1", 3, 0.1]]', ["train.layer_rates", "in the order"]),
        ('train.layer_rates=[["c1", 5]]', ["train.layer_rates", "list"]),
        ("train.class_weights=yes", ["train.class_weights", "'equal'", "'balanced'"]),
    ],
)
def test_an_error_is_one_line_that_names_the_key(setting: str, words: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe().override(setting)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_an_impossible_network_shows_the_arithmetic() -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe().override("network.image_size=35")
    assert str(caught.value).startswith(
        "network.image_size = 35 leaves nothing after pool5 (c1: (35 + 2·2 - 11) // 4 + 1 = 8, "
        "pool1: (8 - 3) // 2 + 1 = 3, pool2: (3 - 3) // 2 + 1 = 1, pool5: (1 - 3) // 2 + 1 = 0)"
    )


def test_settings_take_effect_together() -> None:
    small = Recipe().override("preprocess.resize=70", "network.image_size=67")
    assert (small.preprocess.resize, small.network.image_size) == (70, 67)


def test_epochs_go_by_the_number_of_pictures() -> None:
    train = Recipe().override("train.epochs=auto").train
    assert [train.epochs_for(n) for n in (1, 1_000, 6_000, 20_000, 99_999)] == [90, 90, 50, 15, 10]
    assert Recipe().train.epochs_for(1) == 90


@pytest.mark.parametrize(
    ("text", "word"),
    [("[train]\nepochs = ", "not TOML"), ("[trian]\nepochs = 1", "trian"), ("train = 1", "train")],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "my.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=word) as caught:
        zoo.recipe(str(path))
    assert str(path) in str(caught.value)
