"""Finds models/<name>/ in a checkout or in an installed wheel."""

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from alexnet_tk.errors import RecipeError
from alexnet_tk.recipe import Recipe


def names() -> list[str]:
    """The models that have a recipe, sorted."""
    return sorted(each.name for each in _models().iterdir() if (each / "recipe.toml").is_file())


def recipe(name_or_file: str) -> Recipe:
    """The recipe of a model of the zoo, or of a TOML file.

    A word without a slash and without the ending .toml is a name; anything else is a file.

    Raises
    ------
    RecipeError
        there is no such name or file, or what it holds is no recipe

    """
    if "/" in name_or_file or "\\" in name_or_file or name_or_file.endswith(".toml"):
        return Recipe.from_file(Path(name_or_file))
    if name_or_file not in names():
        raise RecipeError(
            f"there is no recipe {name_or_file!r}; there are {', '.join(names())}, or give a .toml file"
        )
    with resources.as_file(_models() / name_or_file / "recipe.toml") as path:
        return Recipe.from_file(path)


def labels(name: str) -> tuple[list[str], list[str]]:
    """The class names of a model of the zoo in the order of its outputs, and their ids.

    In labels.txt a line is `name` or `id TAB name`; lines that begin with # are comments. Where no
    line has an id, the second list is empty.
    """
    lines = (_models() / name / "labels.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return [row[-1] for row in rows], [row[0] for row in rows if len(row) == 2]


def default_model() -> Path:
    """The file that predicts where none is named: model.onnx in the current folder, else fashion-mini's."""
    here = Path("model.onnx")
    return here if here.exists() else built_in_model()


def built_in_model() -> Path:
    """The network that comes with every installation, fashion-mini's."""
    return Path(str(_models() / "fashion-mini" / "model.onnx"))


def english_names(ids: list[str]) -> list[str] | None:
    """The names of ImageNet's classes with these ids (wnids), or None unless all are such ids."""
    known = dict(zip(*reversed(labels("alexnet-2012")), strict=True))
    return [known[each] for each in ids] if ids and all(each in known for each in ids) else None


def _models() -> Traversable:
    """The folder models/: a package of the installation, or the checkout's own beside the library."""
    try:
        return resources.files("alexnet_tk.models")
    except ModuleNotFoundError:
        return Path(__file__).parent.parent / "models"
