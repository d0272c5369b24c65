"""Tables become dataclasses: every value checked, keys of earlier versions read under their new names."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from alexnet_tk import zoo
from alexnet_tk.errors import RecipeError
from alexnet_tk.inference.other_models import read_preprocess
from alexnet_tk.recipe import Recipe
from alexnet_tk.tables import current_key, dotted_keys, from_table

OLD = "[preprocess]\ncolor = 'BGR'\n[augment]\ncolor = 0.25\n"
NEW = "[preprocess]\nchannel_order = 'BGR'\n[augment]\ncolor_sigma = 0.25\n"


@dataclass(frozen=True)
class Inner:
    """A table within a table, with a field that had another name."""

    width: int = 3
    shade: str = field(default="grey", metadata={"formerly": "color"})


@dataclass(frozen=True)
class Outer:
    """A table with a table in it."""

    inner: Inner = field(default_factory=Inner)
    scale: float = 1.0
    sizes: tuple[int, ...] = ()


def test_the_order_of_version_0_1_0_says_what_follows_c1_and_c2(tmp_path: Path) -> None:
    then = ("relu", "lrn", "pool")
    file = tmp_path / "recipe.toml"
    file.write_text('[network]\norder = "lrn-pool"\nc1 = {stride = 3}\n')
    network = Recipe.from_file(file).network
    assert (network.c1.then, network.c2.then, network.c1.stride) == (then, then, 3)
    again = Recipe().override("network.c1.stride=3", "network.order=lrn-pool").network
    assert again == network
    assert again != Recipe().network


def test_that_order_beside_tables_that_were_set_as_a_whole(tmp_path: Path) -> None:
    network = Recipe().override("network={towers=1}", "network.order=lrn-pool").network
    assert (network.towers, network.c1.then) == (1, ("relu", "lrn", "pool"))
    with pytest.raises(RecipeError, match=r"network\.c1 is 5"):
        Recipe().override("network={c1=5}", "network.order=lrn-pool")
    file = tmp_path / "recipe.toml"
    file.write_text('[network]\norder = "lrn-pool"\nc1 = 5\n')
    with pytest.raises(RecipeError, match=r"network\.c1"):
        Recipe.from_file(file)


def test_dotted_keys_are_in_the_order_of_the_fields() -> None:
    assert dotted_keys(Outer) == ["inner.width", "inner.shade", "scale", "sizes"]


def test_the_recipes_keys_are_its_new_ones() -> None:
    keys = dotted_keys(Recipe)
    assert {"preprocess.channel_order", "augment.color_sigma", "network.lrn.size"} <= set(keys)
    assert not {"preprocess.color", "augment.color"} & set(keys)


@pytest.mark.parametrize(
    ("key", "current"),
    [
        ("inner.color", "inner.shade"),
        ("inner.shade", "inner.shade"),
        ("color", "color"),  # only within the table where it had that name
        ("inner", "inner"),
        ("scale", "scale"),
        ("none.such", "none.such"),
        ("scale.color", "scale.color"),
    ],
)
def test_the_current_name_of_a_key(key: str, current: str) -> None:
    assert current_key(Outer, key) == current


def test_a_table_may_leave_out_any_key() -> None:
    assert from_table(Outer, {}, "") == Outer()
    assert from_table(Outer, {"inner": {"color": "red"}, "scale": 2, "sizes": [1, 2]}, "") == Outer(
        Inner(3, "red"), 2.0, (1, 2)
    )


def test_old_and_new_names_read_the_same_from_toml(tmp_path: Path) -> None:
    for name, text in (("old", OLD), ("new", NEW)):
        (tmp_path / f"{name}.toml").write_text(text)
    old, new = (zoo.recipe(str(tmp_path / f"{name}.toml")) for name in ("old", "new"))
    assert old == new
    assert (old.preprocess.channel_order, old.augment.color_sigma) == ("BGR", 0.25)


def test_old_and_new_names_read_the_same_from_set() -> None:
    old = Recipe().override("preprocess.color=BGR", "augment.color=0.25")
    assert old == Recipe().override("preprocess.channel_order=BGR", "augment.color_sigma=0.25")
    assert (old.preprocess.channel_order, old.augment.color_sigma) == ("BGR", 0.25)


def test_old_and_new_names_read_the_same_from_a_checkpoints_dictionary() -> None:
    """Version 0.1.0 wrote every key into every checkpoint."""
    tables = Recipe().override("preprocess.channel_order=BGR", "augment.color_sigma=0.25").to_dict()
    current = Recipe.from_dict(tables)
    tables["preprocess"]["color"] = tables["preprocess"].pop("channel_order")
    tables["augment"]["color"] = tables["augment"].pop("color_sigma")
    assert Recipe.from_dict(tables) == current
    assert "color" not in current.to_dict()["preprocess"], "the new name is written"


def test_old_and_new_names_read_the_same_for_another_model(tmp_path: Path) -> None:
    for name, key in (("old", "color"), ("new", "channel_order")):
        (tmp_path / f"{name}.toml").write_text(f"mean = [1, 2, 3]\n{key} = 'BGR'\n")
    old, new = (read_preprocess(str(tmp_path / f"{name}.toml")).preprocess for name in ("old", "new"))
    assert old == new
    assert old.channel_order == "BGR"


@pytest.mark.parametrize("order", [("color", "channel_order"), ("channel_order", "color")])
def test_both_names_of_a_key_are_an_error(order: tuple[str, str]) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.from_dict({"preprocess": dict.fromkeys(order, "RGB")})
    message = str(caught.value)
    assert "\n" not in message
    assert "preprocess.channel_order" in message
    assert "old name preprocess.color" in message


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ([], "it must be a table"),
        ({"inner": 3}, "inner is 3; it must be a table"),
        ({"outer": 3}, "there is no recipe key 'outer'; the keys here are inner, scale, sizes"),
        ({"inner": {"hue": 3}}, "'inner.hue'; the keys here are inner.width, inner.shade"),
        ({"inner": {"color": 3}}, "inner.color is 3; it must be a string"),
        ({"inner": {"width": True}}, "inner.width is True; it must be an integer"),
        ({"inner": {"width": 10**7}}, "inner.width is 10,000,000; it must be at most 1,000,000"),
        ({"scale": float("inf")}, "scale is inf; it must be a finite number"),
        ({"scale": "1"}, "scale is '1'; it must be a finite number"),
        ({"sizes": [1, "2"]}, "sizes is '2'; it must be an integer"),
        ({"sizes": 1}, "sizes is 1; it must be a list of integers"),
    ],
)
def test_a_wrong_table_names_the_key_and_the_rule(table: object, words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        from_table(Outer, table, "")
    assert words in str(caught.value)
