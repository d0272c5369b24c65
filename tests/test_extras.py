"""The packages that the library names are those that pyproject.toml installs."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from alexnet_tk.errors import MissingExtraError
from alexnet_tk.extras import PACKAGES, install_command

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
# What is only for work on the project itself, or brings libraries instead of a package to import.
NOT_IMPORTED = {"dev", "runtimes", "cuda"}


def distribution(requirement: str) -> str:
    """The name in a requirement such as "onnxruntime-gpu[cuda]>=1.31; sys_platform == 'linux'"."""
    name = re.match(r"[\w-]+", requirement)
    assert name
    return name[0]


def test_every_installation_has_the_dependencies() -> None:
    always = {name for name, extra in PACKAGES.items() if not extra}
    assert always == {distribution(each) for each in PROJECT["dependencies"]}


def test_every_extra_brings_what_is_named() -> None:
    brought = {
        distribution(each): extra
        for extra, requirements in EXTRAS.items()
        if extra not in NOT_IMPORTED
        for each in requirements
    }
    assert brought == {name: extra for name, extra in PACKAGES.items() if extra}


@pytest.mark.parametrize("package", [name for name, extra in PACKAGES.items() if extra])
def test_a_missing_package_names_its_extra(package: str) -> None:
    error = MissingExtraError.of(ModuleNotFoundError(f"No module named '{package}.x'", name=f"{package}.x"))
    assert str(error) == (
        f"this needs {package}, which is not installed: pip install 'alexnet-tk[{PACKAGES[package]}]'"
    )


@pytest.mark.parametrize("package", ["numpy", "pillow", "requests", ""])
def test_no_extra_for_what_none_brings(package: str) -> None:
    assert install_command(package) is None
    assert MissingExtraError.of(ModuleNotFoundError("no", name=package)) is None
