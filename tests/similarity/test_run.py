"""`similar` and `duplicates` as Python calls them: from pictures to tables and pages."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from PIL import Image

from alexnet_tk import duplicates, features, similar
from alexnet_tk.errors import InputError, ModelError, OutputError, UsageError
from alexnet_tk.progress import Progress
from alexnet_tk.similarity import run
from tests.similarity.conftest import Write

PICTURES = 12


class Said(Progress):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.uint8]:
    random = np.random.default_rng(0)
    colors = random.integers(0, 256, (PICTURES, 1, 1, 3))
    values = np.clip(colors + random.integers(-9, 9, (PICTURES, 8, 8, 3)), 0, 255)
    return np.asarray(values, np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, feature_file: Path, pixels: NDArray[np.uint8]) -> Path:
    """Pictures, a broken one among them, model.onnx and the pictures' features."""
    folder = tmp_path_factory.mktemp("similar")
    (folder / "pictures").mkdir()
    for number, each in enumerate(pixels):
        Image.fromarray(each).save(folder / "pictures" / f"{number:02}.png")
    (folder / "pictures" / "05, broken.png").write_text("no picture")
    (folder / "model.onnx").write_bytes(feature_file.read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for ending in ("npy", "parquet"):
            features("pictures/", output=f"f.{ending}")
    return folder


@pytest.fixture(autouse=True)
def _in_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def table(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("ending", ["npy", "parquet"])
@pytest.mark.parametrize("together", [2, 4096])
def test_the_nearest_pictures(
    ending: str,
    together: int,
    pixels: NDArray[np.uint8],
    features_of: Callable[[NDArray[np.uint8]], NDArray[np.float64]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "TOGETHER", together)
    values = features_of(pixels)
    output = tmp_path / "f.csv"
    matches = similar("pictures/", f"f.{ending}", topk=3, output=output, batch_size=2)
    names = [f"pictures/{number:02}.png" for number in range(PICTURES)]
    assert [each.query for each in matches] == sorted([*names, "pictures/05, broken.png"])
    expected = []
    for name, value in zip(names, values, strict=True):
        far = np.linalg.norm(values - value, axis=1)
        for rank, row in enumerate(np.argsort(far, kind="stable")[:3], 1):
            expected.append((name, str(rank), names[row], far[row]))
    header, *rows = table(output)
    assert header == ["query", "rank", "path", "distance", "error"]
    failed = [row for row in rows if row[4]]
    assert failed == [["pictures/05, broken.png", "", "", "", "not a picture that Pillow can read"]]
    found = [row for row in rows if not row[4]]
    assert [tuple(row[:3]) for row in found] == [each[:3] for each in expected]
    np.testing.assert_allclose([float(row[3]) for row in found], [each[3] for each in expected], atol=1e-3)
    assert [n.path for match in matches for n in match.neighbours] == [each[2] for each in expected]


def test_the_account() -> None:
    said = Said()
    similar(["pictures/00.png", "pictures/05, broken.png"], "f.npy", topk=50, progress=said)
    assert said.lines[-1].startswith("2 pictures in ")
    assert said.lines[-1].endswith(
        "1 answered, 1 failed (1 × not a picture that Pillow can read), among 12 rows of f.npy"
    )
    assert not [line for line in said.lines if "another model" in line]


def test_a_file_of_another_model(model_file: Path, write_features: Write, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"export model\.pt --features"):
        similar("pictures/", "f.npy", model=model_file)
    other = write_features(tmp_path / "g.npy", np.ones((3, 7), np.float32))
    with pytest.raises(ModelError, match=r"gives 6 features and .* holds 7; give --model"):
        similar("pictures/", other)
    same = onnx.load("model.onnx")
    same.doc_string = "the same network in another file"
    onnx.save(same, "other.onnx")
    said = Said()
    similar("pictures/00.png", "f.npy", model="other.onnx", progress=said)
    assert any("f.npy was made with another model" in line for line in said.lines)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"topk": 0}, UsageError, "topk is 0"),
        ({"metric": "manhattan"}, UsageError, "it must be euclidean or cosine"),
        ({"output": "f.json"}, UsageError, r"--output f\.json does not end in \.csv"),
        ({"report": "f.csv"}, UsageError, r"--report f\.csv does not end in \.html"),
        ({"output": "there.csv"}, OutputError, "exists already"),
        ({"among": "gone.npy"}, InputError, "--among gone.npy does not exist"),
        ({"queries": "gone.png"}, InputError, "gone.png does not exist"),
        ({"queries": []}, UsageError, "name pictures or folders of them"),
        ({"nul_separated": True}, UsageError, "-0 says that the paths of a list"),
    ],
)
def test_what_is_refused(
    arguments: dict[str, Any], error: type[Exception], message: str, folder: Path
) -> None:
    (folder / "there.csv").write_text("before")
    before = sorted(folder.iterdir())
    with pytest.raises(error, match=message):
        similar(**({"queries": "pictures/", "among": "f.npy"} | arguments))
    assert sorted(folder.iterdir()) == before
    assert (folder / "there.csv").read_text() == "before"


def test_a_page_of_both(tmp_path: Path) -> None:
    similar("pictures/", "f.parquet", metric="cosine", report=tmp_path / "s.html")
    text = (tmp_path / "s.html").read_text()
    assert "13 pictures in" in text and "cosine distances" in text
    groups = duplicates("f.parquet", 0.9, report=tmp_path / "d.html", output=tmp_path / "d.csv")
    assert len(groups) == 1
    assert "Near-equal pictures" in (tmp_path / "d.html").read_text()
    assert len(table(tmp_path / "d.csv")) == PICTURES + 1


# --- duplicates --------------------------------------------------------------------------------------

VALUES = np.eye(6, dtype=np.float32)[[0, 1, 0, 2, 3, 1, 4, 3, 4, 4]] + 0.01 * np.eye(6, dtype=np.float32)[5]
NAMES = [
    "data/train/cat/1.png",
    "data/train/cat/2.png",
    "data/train/cat/3.png",
    "data/val/cat/4.png",
    "/train/photos/5.png",
    "data/Validation/cat/6.png",
    "test/data/train/7.png",
    "/train/photos/8.png",
    "test/data/val2017/9.png",
    "test/10, \r.png",
]


def test_groups_that_leak_come_first(write_features: Write, tmp_path: Path) -> None:
    said = Said()
    file = write_features(tmp_path / "f.npy", VALUES, NAMES)
    groups = duplicates(file, output=tmp_path / "f.csv", progress=said)
    assert [([n.path for n in each.pictures], each.leak) for each in groups] == [
        ([NAMES[1], NAMES[5]], "train+val"),
        ([NAMES[6], NAMES[8], NAMES[9]], "train+val"),
        ([NAMES[0], NAMES[2]], ""),
        ([NAMES[4], NAMES[7]], ""),
    ]
    header, *rows = table(tmp_path / "f.csv")
    assert header == ["group", "path", "distance", "leak"]
    assert [row[0] for row in rows] == ["1", "1", "2", "2", "2", "3", "3", "4", "4"]
    assert rows[4] == ["2", NAMES[9], "0", "train+val"]
    assert "10 rows in" in said.lines[0] and said.lines[0].endswith(
        "4 groups of near-equal pictures, 9 in all"
    )
    assert said.lines[1] == "2 groups in more than one split: 2 × train+val"


@pytest.mark.parametrize(
    ("names", "leak"),
    [
        (["train/train/1.png", "val/train/2.png"], "train+val"),  # a class that is called train
        (["val/train/1.png", "val/bus/2.png"], ""),
        (["train/data/1.png", "train/more/2.png"], ""),
        (["train.zip/cat/1.png", "val.tar.gz/cat/2.png"], "train+val"),
        (["train/1.png", "TRAIN.zip/2.png"], ""),
        (["train/1.png", "2.png"], ""),
    ],
)
def test_what_is_a_leak(write_features: Write, tmp_path: Path, names: list[str], leak: str) -> None:
    file = write_features(tmp_path / "f.npy", np.ones((2, 3), np.float32), names)
    (group,) = duplicates(file)
    assert group.leak == leak


def test_many_are_compared_only_when_that_is_wanted(
    write_features: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "MANY", 9)
    file = write_features(tmp_path / "f.npy", VALUES, NAMES)
    with pytest.raises(UsageError, match=r"all pairs of 10 pictures takes about 0:00:00 here; give --yes"):
        duplicates(file)
    assert len(duplicates(file, yes=True)) == 4
    with pytest.raises(UsageError, match=r"--duplicates 1\.5 is no distance"):
        duplicates(file, 1.5)
