"""What `from alexnet_tk import …` gives: lazily, and whatever was imported before."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import alexnet_tk

NAMES = alexnet_tk.__all__
ROOT = Path(alexnet_tk.__file__).parent


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_found_in_a_fresh_process_and_after_its_modules(name: str) -> None:
    """A package of the same name, once it was imported, would stand in the function's place."""
    home = alexnet_tk._HOMES[name]
    program = (
        "import sys, alexnet_tk\n"
        "heavy = {'numpy', 'torch', 'onnxruntime', 'onnx', 'PIL', 'typer', 'ray'}\n"
        "assert not heavy & set(sys.modules)\n"
        f"import {home}\n"
        f"from alexnet_tk import {name}\n"
        f"assert callable({name}) and {name}.__name__ == {name!r}, {name}\n"
        f"assert alexnet_tk.{name} is {name}\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_no_module_hides_a_name() -> None:
    modules = {each.stem for each in ROOT.glob("*.py")} | {
        each.name for each in ROOT.iterdir() if each.is_dir()
    }
    assert not modules & set(NAMES)


def test_type_checkers_see_the_same_names() -> None:
    """The imports for them, which are never run, name what is loaded lazily."""
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    imported = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported.keys() == set(NAMES) == alexnet_tk._HOMES.keys()
    for name, module in imported.items():
        assert module is not None
        assert module.startswith(alexnet_tk._HOMES[name])


def test_another_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        alexnet_tk.nonsense  # noqa: B018
    assert set(NAMES) <= set(dir(alexnet_tk))
