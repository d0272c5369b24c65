"""Every closed list of words is used, and what has an entry for every word has them all."""

import ast
from pathlib import Path
from typing import get_args

from alexnet_tk import choices, images
from alexnet_tk.exporting.verification import TOLERANCES
from alexnet_tk.training.parallel import MODES

ROOT = Path(__file__).parent.parent
LISTS = {name: get_args(value) for name, value in vars(choices).items() if get_args(value)}


def imported_choices() -> set[str]:
    """The names that the library and the command line import from choices.py."""
    names = set()
    for path in [*(ROOT / "alexnet_tk").rglob("*.py"), *(ROOT / "cli").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "alexnet_tk.choices":
                names |= {alias.name for alias in node.names}
    return names


def test_every_list_is_used() -> None:
    assert len(LISTS) > 10
    assert imported_choices() == set(LISTS)


def test_no_list_has_a_word_twice() -> None:
    assert not [name for name, words in LISTS.items() if len(set(words)) < len(words)]


def test_every_mode_of_parallelism_has_its_class() -> None:
    assert tuple(MODES) == LISTS["Parallelism"]


def test_every_precision_has_its_tolerance() -> None:
    assert tuple(TOLERANCES) == LISTS["Precision"]


def test_every_filter_has_its_pillow_constant() -> None:
    assert tuple(images.FILTERS) == LISTS["Filter"]
    assert [each.name.lower() for each in images.FILTERS.values()] == list(LISTS["Filter"])
