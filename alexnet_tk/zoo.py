"""The models in models/<name>/, found in a checkout or in an installed wheel."""

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from alexnet_tk.errors import RecipeError
from alexnet_tk.recipe import Recipe

# For pictures of a user's own: the default for fewer than `LARGE` of them, then faster ones.
FOR_OWN_PICTURES = ("own-pictures", "photo-mini")
LARGE = 100_000  # training pictures, from which the paper's recipe needs no adaptation


def names() -> list[str]:
    """The names of the models that have a recipe, sorted."""
    return sorted(model.name for model in _models().iterdir() if (model / "recipe.toml").is_file())


def recipe(name_or_file: str) -> Recipe:
    """The recipe of a model in models/, or from a TOML file.

    Anything with a slash or the ending .toml is a file; any other word is a name.

    Raises
    ------
    RecipeError
        there is no such name or file, or the file is not a recipe

    """
    if "/" in name_or_file or "\\" in name_or_file or name_or_file.endswith(".toml"):
        return Recipe.from_file(Path(name_or_file))
    if name_or_file not in names():
        raise RecipeError(
            f"there is no recipe {name_or_file!r}; use one of {', '.join(names())}, or a .toml file"
        )
    with resources.as_file(_models() / name_or_file / "recipe.toml") as path:
        return Recipe.from_file(path)


def default_recipe(pictures: int | None) -> str:
    """The name of the recipe for that number of training pictures; None: for the built-in sample."""
    if pictures is None:
        return "fashion-mini"
    return FOR_OWN_PICTURES[0] if pictures < LARGE else "alexnet-2012"


def alternatives(name: str) -> list[str]:
    """The names of the recipes for a user's own pictures, beside that one."""
    return [each for each in FOR_OWN_PICTURES if each != name and each in names()]


def labels(name: str) -> tuple[list[str], list[str]]:
    """The class names of a model in models/, in the order of its outputs, and their ids.

    A line of labels.txt is `name` or `id TAB name`; lines that begin with # are comments. The second list
    is empty if no line has an id.
    """
    lines = (_models() / name / "labels.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return [row[-1] for row in rows], [row[0] for row in rows if len(row) == 2]


def default_model() -> Path:
    """The model that `predict` uses by default: model.onnx in the current folder, else the built-in one."""
    here = Path("model.onnx")
    return here if here.exists() else built_in_model()


def built_in_model() -> Path:
    """The model that comes with every installation: fashion-mini's model.onnx."""
    return Path(str(_models() / "fashion-mini" / "model.onnx"))


def english_names(ids: list[str]) -> list[str] | None:
    """The English names of ImageNet's ids (wnids); None unless every one is such an id."""
    known = dict(zip(*reversed(labels("alexnet-2012")), strict=True))
    return [known[wnid] for wnid in ids] if ids and all(wnid in known for wnid in ids) else None


def _models() -> Traversable:
    """The folder models/: a package in an installation, the folder beside the library in a checkout."""
    try:
        return resources.files("alexnet_tk.models")
    except ModuleNotFoundError:
        return Path(__file__).parent.parent / "models"
