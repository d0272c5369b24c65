"""What holds the repository together: layers, light imports, the wheel, words that could drift."""

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from alexnet_tk.recipe import Recipe

ROOT = Path(__file__).parent.parent

# Each row may import from the rows above it, from the standard library and from packages.
LAYERS = [
    {"errors"},
    {"files", "interrupt"},
    {"recipe", "images"},
    {"zoo"},
    {"sample"},
    {"network", "inference"},
    {"training"},
    {"export"},
    {"opening"},
    {"evaluation", "benchmarking", "doctor", "description"},
    {"cli"},
]


def layer(module: str) -> int:
    """The row of `alexnet_tk.<part>…`."""
    part = module.split(".")[1]
    return next(i for i, row in enumerate(LAYERS) if part in row)


def imported(path: Path) -> set[str]:
    """Every module of the library that the file imports, at any depth of its code."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            modules |= names if node.module == "alexnet_tk" else {node.module}
    return {module for module in modules if module.startswith("alexnet_tk.")}


SOURCES = sorted([*(ROOT / "alexnet_tk").rglob("*.py"), *(ROOT / "cli").glob("*.py")])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downwards(path: Path) -> None:
    if path == ROOT / "alexnet_tk" / "__init__.py":
        assert not imported(path)
        return
    part = path.relative_to(ROOT).with_suffix("").parts
    mine = layer("alexnet_tk." + (part[0] if part[0] == "cli" else part[1]))
    for module in imported(path):
        same_part = module.split(".")[1] == (part[0] if part[0] == "cli" else part[1])
        assert same_part or layer(module) < mine, f"{path} imports {module}"


def test_the_network_knows_nothing_of_many_devices() -> None:
    for path in (ROOT / "alexnet_tk" / "network").glob("*.py"):
        assert "torch.distributed" not in path.read_text(encoding="utf-8")


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
    loaded = modules_after("import alexnet_tk.inference")
    assert "onnxruntime" in loaded
    assert not loaded & {"torch", "onnx", "onnxscript"}


def test_every_file_is_short_enough_to_be_one_idea() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert not {path: length for path, length in lengths.items() if length > 350}


def test_the_design_of_a_recipe_is_written_out_in_the_papers() -> None:
    """recipe.toml of alexnet-2012 shows every key, so that it can be read as the reference."""
    text = (ROOT / "models" / "alexnet-2012" / "recipe.toml").read_text(encoding="utf-8")
    tables = Recipe().to_dict()
    keys = {key for table in tables.values() for key in table} | set(tables["network"]["lrn"])
    assert keys - {"lrn"} <= set(re.findall(r"^(\w+) = ", text, re.MULTILINE))


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
