"""Links and names exist; generated pages and numbers are right."""

import ast
import re
import tomllib
from math import prod
from pathlib import Path

import pytest

from alexnet_tk import doctor
from alexnet_tk.extras import PACKAGES
from alexnet_tk.geometry import Network, layers, map_sizes
from scripts import make_drawings, make_help
from tests.documents.page import ALL, PAGES, ROOT, named
from tests.documents.running import COMMANDS, options
from tests.test_repository import LAYERS


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_what_is_named_exists(page: Path) -> None:
    """Commands and options, including those within a sentence; scripts; targets of the Makefile."""
    text = page.read_text(encoding="utf-8")
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    for code in [*inline, *(step.code for step in ALL[page] if step.kind == "command")]:
        words = code.replace("…", "").split()
        if "alexnet-tk" in words:
            words = words[words.index("alexnet-tk") + 1 :]
            assert not words or words[0].startswith("-") or words[0] in COMMANDS, f"there is no {code}"
        elif words[:1] == ["python"] and "".join(words[1:2]).startswith(("benchmarks/", "scripts/")):
            assert (ROOT / words[1]).is_file(), code
        elif words[:1] == ["make"] and words[1:]:
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), code
        if words and words[0] in COMMANDS:
            given = {word.partition("=")[0] for word in words if re.match(r"--?\w", word)}
            assert given <= options(words[0]), code


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), link


def test_every_page_can_be_reached() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for file in (ROOT / "docs").iterdir():
        pages = (
            readme if file.suffix == ".md" else "".join(page.read_text(encoding="utf-8") for page in PAGES)
        )
        assert re.search(rf"\((?:docs/)?{file.name}\)", pages), f"nothing links {file}"


def test_help_texts_are_the_commands_own() -> None:
    assert make_help.OUTPUT.read_text(encoding="utf-8") == make_help.page(), "run python scripts/make_help.py"
    assert make_help.commands() == list(COMMANDS)


def test_drawings_are_what_their_script_makes(tmp_path: Path) -> None:
    drawings = make_drawings.drawings()
    assert sorted(f"{name}.svg" for name in drawings) == sorted(
        path.name for path in (ROOT / "docs").glob("*.svg") if path.name != "predict.svg"
    )
    for name, drawing in drawings.items():
        drawing.save(tmp_path / "new.svg")
        assert (tmp_path / "new.svg").read_bytes() == (ROOT / "docs" / f"{name}.svg").read_bytes(), name


def test_the_table_of_layers() -> None:
    text = (ROOT / "docs" / "network.md").read_text(encoding="utf-8")
    rows = {
        row[0]: row for line in text.splitlines() if (row := [each.strip() for each in line.split("|")][1:-1])
    }
    shapes = {name: layer.weight_shape for name, layer in layers(Network(), 1000).items()}
    for name, shape in shapes.items():
        assert rows[name][3] == " × ".join(map(str, shape))
        assert rows[name][5] == f"{prod(shape) + shape[0]:,}"
    assert rows["all"][5] == f"{sum(prod(shape) + shape[0] for shape in shapes.values()):,}" == "60,965,224"
    for name, size in (("c1", "pool1"), ("c2", "pool2"), ("c5", "pool5")):
        assert rows[name][4].endswith(f"{map_sizes(Network())[size]}")


def test_the_size_of_packed_imagenet() -> None:
    text = (ROOT / "docs" / "imagenet.md").read_text(encoding="utf-8")
    for pictures in (1_281_167, 50_000, 1_331_167):
        assert re.search(rf"\| {pictures:,} \| {pictures * 256 * 256 * 3 / 1e9:.1f} GB \|", text)


def test_every_line_of_doctor_is_explained() -> None:
    text = (ROOT / "docs" / "gpus.md").read_text(encoding="utf-8")
    explained = {
        name for line in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for name in line.split("`")[1::2]
    }
    assert {*doctor.examine(), *PACKAGES} <= explained


def test_messages_that_are_explained_are_those_of_the_code() -> None:
    """docs/gpus.md quotes them; what is between their numbers and names is in a string of the library."""
    text = re.sub(r"^    .*", "", (ROOT / "docs" / "gpus.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    quoted = [code for code in re.findall(r"`([^`\n]+)`", text) if len(code.split()) > 3]
    messages = [code for code in quoted if not re.match(r"pip |docker |python |alexnet-tk ", code)]
    assert len(messages) >= 8
    constants = {
        node.value
        for path in (ROOT / "alexnet_tk").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    for message in messages:
        for fragment in re.split(r"…|lib\S+\.so\S*|nvidia-smi|cuda:\d|\d+", message):
            words = fragment.strip(" :;=")
            assert len(words) < 8 or any(words in constant for constant in constants), message


def test_the_house_is_the_layers_that_are_tested() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.partition("| part | contents |\n|---|---|\n")[2].partition("\n\n")[0]
    assert [set(re.findall(r"`(\w+)`", line.split("|")[1])) for line in table.splitlines()] == LAYERS


def test_the_install_table_is_pyprojects() -> None:
    """Each extra has a row in README, which names every package that it installs."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    rows = dict(
        re.findall(r"^\| `alexnet-tk\[(\w+)\]` \| (.*?) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    )
    assert rows.keys() == extras.keys()
    for extra, requirements in extras.items():
        for requirement in requirements if extra != "cuda" else ():
            name, inner = re.match(r"([\w-]+)(?:\[(.*)\])?", requirement).groups()  # type: ignore[union-attr]
            wanted = inner.split(",") if name == "alexnet-tk" else [name]
            assert all(re.search(rf"\b{re.escape(each)}\b", rows[extra]) for each in wanted), requirement
