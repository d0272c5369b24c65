"""The pages keep their word: every command in them is run or can't be, every link leads somewhere.

A command is a line after `$` in a ```console block, or a line of an indented block. It is run in a folder
that holds what pages speak of (`stand_ins`), in the order of the page, and made quick: every network is the
tests' tiny one and is trained for one epoch, outputs may be there already, and the built-in pictures are a
tenth. So that nothing is loaded twice, `alexnet-tk` runs in this process. A ```python block is run in its
place; one that is followed by "Saved as `NAME`" is saved instead, for the commands after it.
"""

import ast
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner

from alexnet_tk import doctor, sample, zoo
from alexnet_tk.description import weight_shapes
from alexnet_tk.inference import Classifier
from alexnet_tk.recipe import Network
from scripts import make_drawings, make_help
from tests.conftest import TINY

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "models").glob("*/README.md")),
    ROOT / "CONTRIBUTING.md",
]

# What a test machine can't run, as patterns at the beginning of a command or block, and why. All else is run.
NOT_RUN = {
    r"pip |npm ": "asks a package index",
    r"node ": "needs Node and two packages of it",
    r"make\b": "asks a package index, for an environment",
    r"torchrun ": "needs several machines; tests/training/parallel runs it on one",
    r"alexnet-tk train .*--gpus ": "starts several processes; tests/training/parallel does with --device cpu",
    r"alexnet-tk .*--device cuda": "needs a GPU",
    r"alexnet-tk import ": "needs a public file of 240 MB; tests/export makes such files",
    r"alexnet-tk .*--engine ray": "starts Ray; tests/inference/test_cluster.py does",
    r"RAY_ADDRESS=|ray ": "needs a cluster",
    r"python benchmarks/": "measures for minutes",
    r"alexnet-tk benchmark ": "measures for half a minute; tests/test_benchmarking.py runs it",
    r"tensorboard ": "serves until it is stopped",
    r"# needs: pip install torchvision": "needs ImageNet's archives",
}

QUICK = (*TINY, "network.init=he", "preprocess.std=[60,60,60]", "train.epochs=1", "train.batch_size=16")
PROGRAMS = ("alexnet-tk", "python", "find", "ls")
SHELL = re.compile(r"[|<>;&*]")  # what needs a shell
APP = import_module("alexnet_tk.cli.main").app
COMMANDS: dict[str, Any] = get_command(APP).commands  # type: ignore[attr-defined]
FENCES = {"console", "text", "toml", "python", "javascript"}


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@dataclass(frozen=True)
class Step:
    """Something to run: a command as a shell takes it, or a block of Python, maybe saved under a name."""

    code: str
    kind: str = "command"
    name: str = ""

    @property
    def reason(self) -> str | None:
        """Why it can't be run here."""
        return next((why for pattern, why in NOT_RUN.items() if re.match(pattern, self.code)), None)


def steps(page: Path) -> list[Step]:
    """All commands and Python blocks of a page, in order."""
    found: list[Step] = []
    lines = iter(page.read_text(encoding="utf-8").splitlines())
    before = ""
    for line in lines:
        if line.startswith("```"):
            language, block = line.strip("`"), []
            assert language in FENCES, f"{named(page)}: a block is one of {FENCES}, not {language!r}"
            for inside in lines:
                if inside.startswith("```"):
                    break
                block.append(inside)
            if language == "console":
                found += [command(each[2:], iter(())) for each in block if each.startswith("$ ")]
            elif language == "python":
                found.append(Step("\n".join(block), "python"))
        elif line.startswith("    ") and not (before and not before.startswith("    ")):
            found.append(command(line.strip(), lines))
        elif (saved := re.match(r"Saved as `([\w.]+\.py)`", line)) is not None:
            found[-1] = Step(found[-1].code, "python", saved[1])
        before = line
    return found


def command(line: str, lines: Iterator[str]) -> Step:
    """A command with the lines in which it goes on, without the comment after it."""
    while line.endswith("\\"):
        line = line[:-1] + next(lines).strip()
    return Step(re.sub(r"\s+# .*", "", line))


ALL = {page: steps(page) for page in PAGES}


# ---- what pages speak of


def write_pictures(folder: Path, count: int, seed: int) -> None:
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    for i in range(count):
        pixels = random.integers(0, 120, (50, 44, 3), dtype=np.uint8)
        pixels[..., seed % 3] += 120
        Image.fromarray(pixels).save(folder / f"{i}.png")


def write_foreign_model(path: Path, classes: int) -> None:
    """A classifier as another tool might export it: the mean colour, weighted."""
    weights = np.linspace(-1, 1, 3 * classes, dtype=np.float32).reshape(3, classes)
    nodes = [
        helper.make_node("ReduceMean", ["pixels", "axes"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["scores"]),
    ]
    constants = [
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(np.array([2, 3]), "axes"),
    ]
    takes = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 3, 224, 224])
    gives = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", classes])
    graph = helper.make_graph(nodes, "means", [takes], [gives], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


@pytest.fixture(scope="module")
def small_sample() -> Iterator[None]:
    """A tenth of the built-in pictures."""
    whole = sample.pictures
    with pytest.MonkeyPatch.context() as patch:

        def tenth(split: sample.Split) -> Any:
            return tuple(each[::10] for each in whole(split))

        patch.setattr(sample, "pictures", tenth)
        yield


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory, small_sample: None) -> Path:
    """A folder with the files and folders that pages name and do not make."""
    folder = tmp_path_factory.mktemp("stand-ins")
    for seed, label in enumerate(("bird", "cat", "dog")):
        write_pictures(folder / "photos" / label, 14, seed)
    shutil.copytree(folder / "photos", folder / "DATA")
    shutil.copytree(folder / "photos" / "cat", folder / "holiday")
    for seed, wnid in enumerate(("n01440764", "n01443537")):
        write_pictures(folder / "IMAGENET" / "train" / wnid, 12, seed)
        write_pictures(folder / "IMAGENET" / "val" / wnid, 4, seed)
    write_unsorted(folder, 2)
    (folder / "more").mkdir()
    Image.new("RGB", (60, 50), "teal").save(folder / "more" / "IMG_0001.jpg")
    shutil.copy(folder / "photos" / "cat" / "0.png", folder / "picture.png")
    write_foreign_model(folder / "resnet50.onnx", 10)
    (folder / "imagenet.txt").write_text("\n".join(f"label {i}" for i in range(10)), encoding="utf-8")
    (recipe,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "own-pictures.md").read_text(), re.DOTALL)
    (folder / "recipe.toml").write_text(recipe, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run(Step("alexnet-tk train photos/"), folder)
        run(Step("alexnet-tk export model.pt"), folder)
    shutil.copy(folder / "model.pt", folder / "imagenet.pt")
    return folder


def write_unsorted(folder: Path, count: int) -> None:
    """Validation pictures in one folder, with the table of their classes, as Kaggle has them."""
    rows = ["ImageId,PredictionString"]
    for i in range(1, count + 1):
        picture = folder / "IMAGENET" / "val" / f"ILSVRC2012_val_{i:08}.JPEG"
        Image.new("RGB", (50, 44), (10 * i, 0, 0)).save(picture)
        rows.append(f"{picture.stem},n01440764 1 2 30 40 n01440764 5 6 7 8 ")
    (folder / "LOC_val_solution.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def already() -> set[str]:
    """The commands that an earlier page had run; their outputs have stand-ins."""
    return set()


@pytest.fixture(autouse=True)
def _signals_as_they_were() -> Iterator[None]:
    """A command that runs in this process takes them over."""
    handlers = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)}
    hook = threading.excepthook
    yield
    threading.excepthook = hook
    for number, handler in handlers.items():
        signal.signal(number, handler)


# ---- running them


def quick(words: list[str]) -> list[str]:
    """The words of `alexnet-tk …` with what makes it quick, and lets it replace other commands' files."""
    name = words[0]
    if name == "train":
        words = [*words, *(word for each in QUICK for word in ("--set", each))]
    if name == "pack":
        shutil.rmtree(words[2], ignore_errors=True)
    if "--overwrite" in options(name) and not {"--resume", "--overwrite"} & {*words}:
        words = [*words, "--overwrite"]
    return words


def options(name: str) -> set[str]:
    """What a command of the app takes."""
    params = COMMANDS[name].params
    return {option for each in params for option in (*each.opts, *each.secondary_opts)} | {"--help", "-h"}


def run(step: Step, folder: Path) -> None:
    """Run a command or a block in the folder, which is the current one; fails unless it ends well."""
    if step.kind == "python":
        if step.name:
            (folder / step.name).write_text(step.code, encoding="utf-8")
        else:
            exec(compile(step.code, "block", "exec"), {"__name__": "__main__"})
        return
    program, *words = shlex.split(step.code)
    if program == "alexnet-tk" and not SHELL.search(step.code):
        done = CliRunner().invoke(APP, quick(words), input="")
        assert done.exit_code == 0, f"{step.code}\n{done.output}{done.stderr}{done.exception!r}"
        return
    assert program in PROGRAMS, f"{step.code}: say in NOT_RUN why it can't be run"
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    words = ["/bin/bash", "-o", "pipefail", "-c", step.code]
    ended = subprocess.run(words, cwd=folder, env={"PATH": path}, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{step.code}\n{ended.stdout}{ended.stderr}"


RUN = [page for page, found in ALL.items() if any(step.reason is None for step in found)]


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=named)
def test_every_command_works(
    page: Path, stand_ins: Path, already: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(stand_ins, folder)
    monkeypatch.chdir(folder)
    for step in ALL[page]:
        if step.reason is None and step.code not in already:
            already.add(step.code)
            run(step, folder)


def test_every_reason_is_one_of_a_command() -> None:
    code = [step.code for found in ALL.values() for step in found]
    assert not [pattern for pattern in NOT_RUN if not any(re.match(pattern, each) for each in code)]


def test_pages_hold_commands() -> None:
    """If the marks of commands were read wrongly, all of the above would be true of nothing."""
    readme = [step.code for step in ALL[ROOT / "README.md"]]
    assert "pip install ." in readme
    assert "alexnet-tk samples images/" in readme
    assert "alexnet-tk train photos/" in readme
    assert "make demo" in readme
    assert len({step.code for found in ALL.values() for step in found}) > 40


def test_every_command_can_be_run_or_has_a_reason() -> None:
    some = [step for found in ALL.values() for step in found if step.kind == "command" and not step.reason]
    assert not [step.code for step in some if step.code.split()[0] not in PROGRAMS]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_what_is_named_exists(page: Path) -> None:
    """Commands and options, also those within a sentence; scripts; targets of the Makefile."""
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


# ---- links, and what is generated


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


@pytest.mark.parametrize(
    ("name", "draw"), [("towers", make_drawings.draw_towers), ("lrn", make_drawings.draw_lrn)]
)
def test_drawings_are_what_their_script_makes(
    name: str, draw: Callable[[Network], make_drawings.Drawing], tmp_path: Path
) -> None:
    draw(Network()).save(tmp_path / "new.svg")
    assert (tmp_path / "new.svg").read_bytes() == (ROOT / "docs" / f"{name}.svg").read_bytes()


# ---- facts that pages state


def test_the_table_of_layers() -> None:
    text = (ROOT / "docs" / "network.md").read_text(encoding="utf-8")
    rows = {
        row[0]: row for line in text.splitlines() if (row := [each.strip() for each in line.split("|")][1:-1])
    }
    shapes = weight_shapes(Network(), 1000)
    for name, shape in shapes.items():
        assert rows[name][3] == " × ".join(map(str, shape))
        assert rows[name][5] == f"{prod(shape) + shape[0]:,}"
    assert rows["all"][5] == f"{sum(prod(shape) + shape[0] for shape in shapes.values()):,}" == "60,965,224"
    for name, size in (("c1", "pool1"), ("c2", "pool2"), ("c5", "pool5")):
        assert rows[name][4].endswith(f"{Network().sizes()[size]}")


def test_the_size_of_packed_imagenet() -> None:
    text = (ROOT / "docs" / "imagenet.md").read_text(encoding="utf-8")
    for pictures in (1_281_167, 50_000, 1_331_167):
        assert re.search(rf"\| {pictures:,} \| {pictures * 256 * 256 * 3 / 1e9:.1f} GB \|", text)


def test_every_line_of_doctor_is_explained() -> None:
    text = (ROOT / "docs" / "gpus.md").read_text(encoding="utf-8")
    explained = {
        name for line in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for name in line.split("`")[1::2]
    }
    assert {*doctor.examine(), *doctor.PACKAGES} <= explained


def test_kaggles_validation_pictures_find_their_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "IMAGENET" / "val").mkdir(parents=True)
    write_unsorted(tmp_path, 3)
    monkeypatch.chdir(tmp_path)
    (step,) = [each for each in ALL[ROOT / "docs" / "imagenet.md"] if "LOC_val_solution" in each.code]
    run(step, tmp_path)
    sorted_pictures = sorted(str(each.relative_to(tmp_path)) for each in tmp_path.rglob("*.JPEG"))
    assert sorted_pictures == [f"IMAGENET/val/n01440764/ILSVRC2012_val_{i:08}.JPEG" for i in (1, 2, 3)]


def test_the_example_for_other_programs_answers_as_predict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With nothing of ours but the file; on grey, coloured, turned and wide pictures."""
    (step,) = [each for each in ALL[ROOT / "docs" / "onnx.md"] if each.name == "classify.py"]
    imported = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(step.code))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
        )
    }
    assert imported == {"json", "sys", "numpy", "onnxruntime", "PIL"}

    grey, _ = sample.pictures("val")
    pictures = [Image.fromarray(each) for each in grey[:40:4]]
    pictures.append(pictures[0].convert("RGB").resize((300, 170)))
    turned = Image.Exif()
    turned[0x0112] = 6
    model = zoo.default_model()
    paths = [str(tmp_path / f"{i}.png") for i in range(len(pictures))]
    for i, (picture, path) in enumerate(zip(pictures, paths, strict=True)):
        picture.save(path, exif=turned if i % 2 else Image.Exif())
    expected = list(Classifier(model, "cpu").classify(paths, 5))
    assert len({each.labels[0] for each in expected}) > 3
    for path, record in zip(paths, expected, strict=True):
        monkeypatch.setattr(sys, "argv", ["classify.py", str(model), path])
        run(Step(step.code, "python"), tmp_path)
        answers = [f"{p:.4f} {label}" for p, label in zip(record.probabilities, record.labels, strict=True)]
        assert capsys.readouterr().out.splitlines()[0] == answers[0]
