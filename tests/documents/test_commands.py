"""Every command of every page is run, in the page's order, unless there is a reason why it can't be."""

import ast
import re
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from alexnet_tk import sample, zoo
from alexnet_tk.inference import Classifier
from tests.documents.conftest import write_unsorted
from tests.documents.page import ALL, NOT_RUN, ROOT, Step, named
from tests.documents.running import PROGRAMS, run

RUN = [page for page, found in ALL.items() if any(step.reason is None for step in found)]


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=named)
def test_every_command_works(
    page: Path, stand_ins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page by itself, whatever other pages have run before."""
    folder = tmp_path / "folder"
    shutil.copytree(stand_ins, folder)
    monkeypatch.chdir(folder)
    trained: set[str] = set()
    for step in ALL[page]:
        if step.reason is not None or step.code in trained:
            continue
        if step.code.startswith("alexnet-tk train"):
            trained.add(step.code)  # the same training a second time would write the same files
        run(step, folder)


def test_every_reason_is_one_of_a_command() -> None:
    code = [step.code for found in ALL.values() for step in found]
    assert not [pattern for pattern in NOT_RUN if not any(re.match(pattern, each) for each in code)]


def test_pages_hold_commands() -> None:
    """If no command were found on the pages, all of the above would pass."""
    readme = [step.code for step in ALL[ROOT / "README.md"]]
    assert "pip install ." in readme
    assert "alexnet-tk samples images/" in readme
    assert "alexnet-tk train photos/" in readme
    assert "make demo" in readme
    assert len({step.code for found in ALL.values() for step in found}) > 40


def test_every_command_can_be_run_or_has_a_reason() -> None:
    some = [step for found in ALL.values() for step in found if step.kind == "command" and not step.reason]
    assert not [step.code for step in some if step.code.split()[0] not in PROGRAMS]


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
