"""The models' folders: recipes by name or file, labels, ImageNet's names."""

from pathlib import Path

import pytest

from alexnet_tk import zoo
from alexnet_tk.errors import RecipeError

MODELS = Path(__file__).parent.parent / "models"


NAMES = [
    "alexnet-2012",
    "bvlc-alexnet",
    "caffenet",
    "cifar-small",
    "fashion-mini",
    "krizhevsky-2012",
    "own-pictures",
    "photo-mini",
    "torchvision-alexnet",
]


def test_the_names_are_the_folders_sorted() -> None:
    assert zoo.names() == NAMES
    assert zoo.names() == sorted(path.parent.name for path in MODELS.glob("*/recipe.toml"))


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_found_by_its_name_and_by_its_file(name: str) -> None:
    assert zoo.recipe(name) == zoo.recipe(str(MODELS / name / "recipe.toml"))


def test_recipes_differ() -> None:
    assert zoo.recipe("alexnet-2012").network.image_size == 224
    assert zoo.recipe("fashion-mini").network.image_size == 96
    assert zoo.recipe("own-pictures").network.init == "he"


def test_the_default_recipe_depends_on_the_number_of_pictures() -> None:
    counts = (None, 2, 99_999, 100_000)
    expected = ["fashion-mini", "own-pictures", "own-pictures", "alexnet-2012"]
    assert [zoo.default_recipe(count) for count in counts] == expected
    assert "own-pictures" in zoo.alternatives("alexnet-2012")
    assert "own-pictures" not in zoo.alternatives("own-pictures")
    assert set(zoo.alternatives("alexnet-2012")) <= set(zoo.names())


def test_a_file_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.toml").write_text("[train]\nepochs = 3\n")
    (tmp_path / "fashion-mini.toml").write_text("[train]\nepochs = 4\n")
    monkeypatch.chdir(tmp_path)
    assert zoo.recipe("mine.toml").train.epochs == 3
    assert zoo.recipe("./mine.toml").train.epochs == 3
    assert zoo.recipe("fashion-mini.toml").train.epochs == 4, "a file, not the model of that name"


def test_an_unknown_name_says_which_names_there_are() -> None:
    with pytest.raises(RecipeError, match=r"'alexnet-2013'.*" + ", ".join(NAMES)):
        zoo.recipe("alexnet-2013")


@pytest.mark.parametrize("file", ["gone.toml", "gone/recipe", "../alexnet-2012"])
def test_a_file_that_is_missing_is_named(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match=file):
        zoo.recipe(file)


def test_a_file_that_is_no_recipe_is_named(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    for text in ("[train\n", "[trian]\nepochs = 3\n", "[train]\nepochs = 'three'\n"):
        path.write_text(text)
        with pytest.raises(RecipeError, match=r"wrong\.toml") as caught:
            zoo.recipe(str(path))
        assert "\n" not in str(caught.value)


def test_imagenet_has_a_thousand_names_and_as_many_ids() -> None:
    names, ids = zoo.labels("alexnet-2012")
    assert len(names) == len(set(names)) == 1000
    assert len(ids) == len(set(ids)) == 1000
    assert (ids[0], names[0]) == ("n01440764", "tench")
    assert (ids[1], names[1]) == ("n01443537", "goldfish")
    assert ids == sorted(ids), "as class folders are, and as the outputs of published weights are"
    assert all(name == name.strip() and name and "/" not in name for name in names)


def test_labels_without_ids_and_no_labels() -> None:
    names, ids = zoo.labels("fashion-mini")
    assert len(names) == 10
    assert names[0] == "Ankle boot"
    assert ids == []
    assert zoo.labels("own-pictures") == ([], [])


def test_english_names_are_for_folders_of_imagenet_only() -> None:
    assert zoo.english_names(["n01443537", "n01440764"]) == ["goldfish", "tench"]
    assert zoo.english_names(["n01440764", "cats"]) is None
    assert zoo.english_names(["n00000000"]) is None
    assert zoo.english_names([]) is None
