"""What `from alexnet_tk import …` gives: lazily, and whatever was imported before."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import alexnet_tk

NAMES = alexnet_tk.__all__
ROOT = Path(alexnet_tk.__file__).parent


@pytest.mark.skipif(not hasattr(os, "fork"), reason="os.fork is POSIX's")
def test_every_name_is_found_in_a_fresh_process_and_after_every_package() -> None:
    """A package of the same name, once it was imported, would stand in the function's place."""
    packages = sorted(f"alexnet_tk.{each.parent.name}" for each in ROOT.glob("*/__init__.py"))
    program = f"""if True:
        import os, sys, traceback
        import numpy, onnx, onnxruntime, PIL, torch._dynamo  # once for all names

        def check(name):
            assert not [each for each in sys.modules if each.startswith("alexnet_tk")]
            import alexnet_tk
            exec(f"from alexnet_tk import {{name}} as found", globals())
            assert callable(found) and found.__name__ == name, found
            for package in {packages}:
                __import__(package)
            assert getattr(alexnet_tk, name) is found

        for name in {NAMES}:
            if os.fork() == 0:
                try:
                    check(name)
                except BaseException:
                    traceback.print_exc()
                    os._exit(1)
                os._exit(0)
            assert os.wait()[1] == 0, name
    """
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
