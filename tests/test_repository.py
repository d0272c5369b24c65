"""What holds the repository together: layers, light imports, the wheel, words that could drift."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from alexnet_tk.recipe import Recipe
from alexnet_tk.tables import dotted_keys

ROOT = Path(__file__).parent.parent

# Each row may import from the rows above it, from the standard library and from packages.
# CONTRIBUTING.md shows the same rows.
LAYERS = [
    {"text", "extras", "choices"},
    {"errors"},
    {"files", "interrupt", "progress", "machine", "parallel_map"},
    {"preprocess", "tables"},
    {"geometry"},
    {"recipe", "picture_values", "png_file", "jpeg_file"},
    {"images", "folder_tree", "gzip_file"},
    {"found", "split_names"},
    {"archives"},
    {"archive_folders"},
    {"layout", "zoo"},
    {"sample"},
    {"network", "inference"},
    {"prediction", "training"},
    {"exporting", "importing"},
    {"model_files"},
    {"evaluation", "similarity", "benchmarking", "doctor", "description"},
    {"cli"},
]


def layer(module: str) -> int:
    """The row of `alexnet_tk.<part>…`."""
    part = module.split(".")[1]
    return next(i for i, row in enumerate(LAYERS) if part in row)


def part(path: Path) -> str:
    """The part of the house that a file belongs to: "cli", "training", "errors"."""
    first, *others = path.relative_to(ROOT).with_suffix("").parts
    return first if first == "cli" else others[0]


def imported(path: Path) -> set[str]:
    """Every module of the library that the file imports, at any depth of its code."""
    return _imported(ast.parse(path.read_text(encoding="utf-8")))


def imported_for_annotations(path: Path) -> set[str]:
    """Of these modules, those that are imported under `if TYPE_CHECKING` alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guarded = [node for node in ast.walk(tree) if isinstance(node, ast.If) and _is_type_checking(node.test)]
    found = set().union(*map(_imported, guarded))
    for node in guarded:
        node.body = [ast.Pass()]
    return found - _imported(tree)


def _is_type_checking(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


def _imported(tree: ast.AST) -> set[str]:
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            modules |= names if node.module == "alexnet_tk" else {node.module}
    return {module for module in modules if module.startswith("alexnet_tk.")}


SOURCES = sorted([*(ROOT / "alexnet_tk").rglob("*.py"), *(ROOT / "cli").glob("*.py")])


def test_every_part_has_one_row() -> None:
    rows = [name for row in LAYERS for name in row]
    assert sorted(rows) == sorted({part(path) for path in SOURCES} - {"__init__"})


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_upwards(path: Path) -> None:
    """A file imports from its own part, or from the rows above it."""
    if path == ROOT / "alexnet_tk" / "__init__.py":
        only = "it names modules as strings, and imports them when they are used"
        assert imported(path) == imported_for_annotations(path), only
        return
    mine = part(path)
    for module in imported(path):
        other = module.split(".")[1]
        assert other == mine or layer(module) < layer(f"alexnet_tk.{mine}"), f"{path} imports {module}"


def test_training_and_prediction_do_not_know_each_other() -> None:
    for mine, other in (("training", "prediction"), ("prediction", "training")):
        files = sorted((ROOT / "alexnet_tk" / mine).rglob("*.py"))
        assert len(files) > 3
        for path in files:
            assert not [each for each in imported(path) if each.split(".")[1] == other], path


def test_the_network_knows_nothing_of_many_devices() -> None:
    for path in (ROOT / "alexnet_tk" / "network").glob("*.py"):
        assert "torch.distributed" not in path.read_text(encoding="utf-8")


def test_a_command_is_short() -> None:
    """It parses, calls and prints; more belongs in the library. A signature with its help is not counted."""
    lengths = {
        f"{path.name}: {node.name}": (node.end_lineno or 0) - node.body[0].lineno + 1
        for path in (ROOT / "cli").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    assert len(lengths) > 10
    assert not {name: length for name, length in lengths.items() if length > 60}


def test_a_wheel_holds_every_package() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "alexnet_tk").rglob("__init__.py")}
    inside = {".".join(folder.parts) for folder in folders}
    assert set(setuptools["packages"]) == inside | {"alexnet_tk.cli", "alexnet_tk.models"}


def test_the_changes_begin_with_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert versions[0] == project["version"]


def modules_after(code: str) -> set[str]:
    """The top-level names in `sys.modules` of a fresh interpreter after the code."""
    script = (
        f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}}, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stderr.split())


def test_help_loads_nothing_heavy() -> None:
    loaded = modules_after(
        "import sys; sys.argv = ['alexnet-tk', '--help']\n"
        "from alexnet_tk.cli.main import app\n"
        "try: app()\nexcept SystemExit as end: assert end.code == 0"
    )
    assert "typer" in loaded
    assert not loaded & {"torch", "numpy", "onnxruntime", "onnx", "PIL", "matplotlib"}


def test_importing_the_library_loads_nothing() -> None:
    assert not modules_after("import alexnet_tk") & {"torch", "numpy", "onnxruntime", "onnx", "PIL", "typer"}


def test_prediction_needs_neither_torch_nor_onnx() -> None:
    everything = [
        f"alexnet_tk.{name}.{path.stem}"
        for name in ("inference", "prediction")
        for path in (ROOT / "alexnet_tk" / name).glob("[a-z]*.py")
    ]
    for code in ("import alexnet_tk.inference", f"import {', '.join(everything)}"):
        loaded = modules_after(code)
        assert "onnxruntime" in loaded
        assert not loaded & {"torch", "onnx", "onnxscript"}


def test_every_file_is_short_enough_to_be_one_idea() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert not {path: length for path, length in lengths.items() if length > 350}


def test_the_design_of_a_recipe_is_written_out_in_the_papers() -> None:
    """recipe.toml of alexnet-2012 shows every key, so that it can be read as the reference."""
    text = (ROOT / "models" / "alexnet-2012" / "recipe.toml").read_text(encoding="utf-8")
    keys = {key.rpartition(".")[2] for key in dotted_keys(Recipe)}
    assert keys <= set(re.findall(r"^(\w+) = ", text, re.MULTILINE))


@pytest.mark.slow
def test_the_wheel_owns_one_name_and_works_elsewhere(tmp_path: Path) -> None:
    """Built, unpacked apart from the checkout, run from another folder."""
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, ROOT],
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        entry_points = next(
            archive.read(name).decode() for name in names if name.endswith("entry_points.txt")
        )
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"alexnet_tk"}
    assert "alexnet-tk = alexnet_tk.cli.main:app" in entry_points
    wanted = {
        "alexnet_tk/cli/predict.py",
        "alexnet_tk/data/fashion_mnist.npz",
        "alexnet_tk/data/LICENSE.fashion-mnist",
        "alexnet_tk/models/fashion-mini/recipe.toml",
        "alexnet_tk/models/fashion-mini/model.onnx",
        "alexnet_tk/models/alexnet-2012/labels.txt",
        "alexnet_tk/py.typed",
    }
    assert wanted <= set(names)

    site = tmp_path / "site"
    install: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        site,
        wheel,
    ]
    subprocess.run(install, check=True)
    folder = tmp_path / "empty"
    folder.mkdir()
    environment = {"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin"}
    script: list[str | Path] = [sys.executable, site / "bin" / "alexnet-tk"]
    done = subprocess.run(
        [*script, "samples", "images"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "1,000 pictures" in done.stdout
    where = subprocess.run(
        [
            sys.executable,
            "-c",
            "import alexnet_tk.models, alexnet_tk.zoo as z; print(alexnet_tk.__file__, z.names())",
        ],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(site))
    assert "fashion-mini" in where.stdout
    cli = subprocess.run(
        [sys.executable, "-c", "import cli"], cwd=folder, env=environment, capture_output=True, check=False
    )
    assert cli.returncode != 0
