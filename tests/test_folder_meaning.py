"""Folders as people have them: splits by any name, folders of systems and runs, loose pictures, links.

Each is used, refused in one line with the cure, or counted by kind in what is said.
"""

import json
import os
import subprocess
import sys
import unicodedata
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from alexnet_tk import images
from alexnet_tk.errors import DataError, InputError
from alexnet_tk.evaluation.dataset import open_labelled
from alexnet_tk.found import Found
from alexnet_tk.inference import find
from alexnet_tk.prediction.run import predict
from alexnet_tk.split_names import split_of
from alexnet_tk.training import pack
from alexnet_tk.training.dataset import from_folder


def write(folder: Path, *names: str) -> None:
    """Pictures of these names, with their folders."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), "red").save(folder / name, "PNG")


def classes(folder: Path, count: int = 2, names: tuple[str, ...] = ("cat", "dog")) -> None:
    """Class folders with `count` pictures each."""
    write(folder, *(f"{name}/{index}.png" for name in names for index in range(count)))


def refusal(data: Path) -> str:
    """The one line with which training, packing and evaluation refuse the folder."""
    messages = set()
    for read in (from_folder, open_labelled):
        with pytest.raises(DataError) as caught:
            read(data)
        messages.add(str(caught.value))
    with pytest.raises(DataError):
        pack(data, data.parent / "packed")
    (message,) = messages
    assert "\n" not in message
    assert str(data) in message
    return message


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *(
            (name, "train")
            for name in ("train", "Train", "TRAINING", "train_set", "train2017", "train-images")
        ),
        *((name, "val") for name in ("val", "Valid", "VALIDATION", "dev", "val2017", "validation set")),
        *((name, "test") for name in ("test", "Testing", "test_set", "testdata", "eval", "Evaluation")),
        *(
            (name, None)
            for name in ("cat", "trains", "trainer", "invalid", "valley", "contest", "test1", "tes")
        ),
    ],
)
def test_names_of_splits(name: str, split: str | None) -> None:
    assert split_of(name) == split


@pytest.mark.parametrize("train", ["train", "Train", "training", "TRAIN_SET"])
@pytest.mark.parametrize("val", ["val", "Val", "valid", "validation"])
def test_splits_by_any_name_are_used(train: str, val: str, tmp_path: Path) -> None:
    classes(tmp_path / train, 3)
    classes(tmp_path / val, 2)
    data, evaluated = from_folder(tmp_path), open_labelled(tmp_path)
    assert data.labels == evaluated.labels == ["cat", "dog"]
    assert (len(data.train.targets), len(data.val.targets), len(evaluated.targets)) == (6, 4, 4)
    assert data.notes == evaluated.notes == []


def test_a_test_split_is_left_out_said_and_evaluated_by_name(tmp_path: Path) -> None:
    classes(tmp_path / "Training", 4)
    classes(tmp_path / "Testing", 2)
    data = from_folder(tmp_path)
    assert data.labels == ["cat", "dog"]
    assert len(data.train.targets) + len(data.val.targets) == 8
    assert any(str(tmp_path / "Testing") in note for note in data.notes)
    with pytest.raises(DataError, match="no val/") as caught:
        open_labelled(tmp_path)
    assert str(tmp_path / "Testing") in str(caught.value)
    assert len(open_labelled(tmp_path / "Testing").targets) == 4


def test_folders_beside_the_splits_are_named(tmp_path: Path) -> None:
    classes(tmp_path / "train")
    classes(tmp_path / "val")
    write(tmp_path, "extra/1.png", "loose.png")
    for notes in (from_folder(tmp_path).notes, open_labelled(tmp_path).notes):
        assert any("1 × picture beside" in note for note in notes)
    assert any(str(tmp_path / "extra") in note for note in from_folder(tmp_path).notes)
    assert any(str(tmp_path / "extra") in note for note in open_labelled(tmp_path).notes)


def test_only_other_splits_can_not_be_trained_on(tmp_path: Path) -> None:
    classes(tmp_path / "val")
    assert len(open_labelled(tmp_path).targets) == 4
    with pytest.raises(DataError, match="no train/"):
        from_folder(tmp_path)


@pytest.mark.parametrize("beside", ["val", "Test", "validation"])
def test_a_split_beside_classes_is_refused(beside: str, tmp_path: Path) -> None:
    classes(tmp_path / "data")
    classes(tmp_path / "data" / beside)
    message = refusal(tmp_path / "data")
    assert f"{beside}/" in message
    assert "--classes-are-folders" in message


def test_splits_without_class_folders_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "data", "train/1.png", "train/2.png", "val/1.png")
    assert "without class folders" in refusal(tmp_path / "data")


@pytest.mark.parametrize("both", [("val", "validation"), ("train", "Training")])
def test_two_splits_for_one_purpose_are_refused(both: tuple[str, str], tmp_path: Path) -> None:
    for name in {"train", *both}:
        classes(tmp_path / "data" / name)
    message = refusal(tmp_path / "data")
    assert all(str(tmp_path / "data" / name) in message for name in both)


@pytest.mark.parametrize("outer", [("cat", "dog"), ("images",)])
def test_splits_below_a_class_are_refused(outer: tuple[str, ...], tmp_path: Path) -> None:
    for name in outer:
        write(tmp_path / "data", f"{name}/train/a/1.png", f"{name}/val/a/1.png")
    assert "train/ and val/" in refusal(tmp_path / "data")


def test_the_option_makes_a_class_of_every_folder(tmp_path: Path) -> None:
    data = tmp_path / "data"
    classes(data, 3, ("train", "bus", "test"))
    assert "--classes-are-folders" in refusal(data)
    names = ["bus", "test", "train"]
    assert from_folder(data, classes_are_folders=True).labels == names
    assert open_labelled(data, classes_are_folders=True).labels == names
    assert pack(data, tmp_path / "packed", classes_are_folders=True).labels == names


def test_folders_of_systems_are_neither_classes_nor_read(tmp_path: Path) -> None:
    names = ["__MACOSX", "@eaDir", ".AppleDouble", "lost+found", "$RECYCLE.BIN", "System Volume Information"]
    names += ["#recycle", ".ipynb_checkpoints", "__pycache__"]
    data = tmp_path / "data"
    classes(data)
    plain = from_folder(data)
    for name in names:
        write(data, f"{name}/cat/1.png", f"cat/{name}/1.png")
    (data / "cat" / "Thumbs.db").touch()
    (data / "cat" / "desktop.ini").touch()
    trained, evaluated, found = from_folder(data), open_labelled(data), find([data])
    assert trained.labels == evaluated.labels == ["cat", "dog"]
    assert trained.fingerprint() == plain.fingerprint()
    assert len(evaluated.targets) == len(found.paths) == 4
    expected = {f"{name} folder": 2 for name in names} | {".db": 1, ".ini": 1}
    assert evaluated.ignored == found.ignored == expected
    assert find([f"{data}/**"]).paths == found.paths
    assert find([data / "@eaDir"]).paths == [str(data / "@eaDir" / "cat" / "1.png")], "named by the user"
    archive = tmp_path / "data.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(data.rglob("*.*")):
            if path.is_file():
                packed.write(path, path.relative_to(data))
    zipped = find([archive])
    assert sorted(zipped.paths) == [
        f"{archive}/{each}" for each in ("cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png")
    ]
    assert zipped.ignored == expected


def run_folder(folder: Path, log: str) -> None:
    write(folder, "curves.png")
    for name in ("last.pt", log):
        (folder / name).touch()


@pytest.mark.parametrize("log", ["metrics.jsonl", "events.out.tfevents.1.host"])
@pytest.mark.parametrize("place", ["runs", "my experiments"])
def test_runs_of_alexnet_tk_are_not_learnt(place: str, log: str, tmp_path: Path) -> None:
    classes(tmp_path)
    before = from_folder(tmp_path)
    run_folder(tmp_path / place / "model", log)
    (tmp_path / "model.pt").touch()
    after = from_folder(tmp_path)
    assert (after.labels, after.fingerprint()) == (before.labels, before.fingerprint())
    assert any("training run" in note for note in after.notes)
    found = find([tmp_path])
    assert len(found.paths) == len(open_labelled(tmp_path).targets) == 4
    assert found.ignored == {"folder of a training run": 1, ".pt": 1}
    named = tmp_path / place / "model"
    assert find([named]).paths == [str(named / "curves.png")], "named by the user"


def test_a_class_that_is_called_runs(tmp_path: Path) -> None:
    classes(tmp_path, 2, ("runs", "walks"))
    assert from_folder(tmp_path).labels == ["runs", "walks"]


def test_runs_beside_a_validation_split(tmp_path: Path) -> None:
    classes(tmp_path / "val")
    run_folder(tmp_path / "runs" / "model", "metrics.jsonl")
    assert open_labelled(tmp_path).labels == ["cat", "dog"]


def test_loose_pictures_and_links_are_counted(tmp_path: Path) -> None:
    data = tmp_path / "data"
    classes(data)
    write(data, "1.png", "2.png")
    write(tmp_path, "elsewhere/1.png")
    (data / "cat" / "more").symlink_to(tmp_path / "elsewhere")
    (data / "bird").symlink_to(tmp_path / "gone")
    for notes in (from_folder(data).notes, open_labelled(data).notes):
        said = "; ".join(notes)
        assert "2 pictures beside the class folders" in said
        assert "1 × link to a folder" in said
        assert "1 × broken link" in said


def test_what_is_no_picture_beside_the_classes_is_counted(tmp_path: Path) -> None:
    classes(tmp_path / "train", 2)
    classes(tmp_path / "val")
    for name in ("LICENSE", "train/labels.csv", "val/labels.csv"):
        (tmp_path / name).touch()
    said = "; ".join(from_folder(tmp_path).notes)
    assert f"{tmp_path}: ignored 1 × no ending" in said
    assert f"{tmp_path / 'train'}: ignored 1 × .csv" in said
    assert f"{tmp_path / 'val'}: ignored 1 × .csv" in "; ".join(open_labelled(tmp_path).notes)


@pytest.mark.parametrize("target", [".", "data", "linked/cat/.."])
def test_a_link_to_a_folder_above_is_no_class(tmp_path: Path, target: str) -> None:
    data = tmp_path / "data"
    classes(data, 2)
    classes(tmp_path / "elsewhere", 2, ("bird",))
    (data / "bird").symlink_to(tmp_path / "elsewhere" / "bird")
    (tmp_path / "linked").symlink_to(data)
    (data / "up").symlink_to(tmp_path / target)
    found = from_folder(data)
    assert found.labels == ["bird", "cat", "dog"]
    assert any("1 × link to a folder" in note for note in found.notes)


def test_a_split_in_a_split_says_where_to_move_it(tmp_path: Path) -> None:
    classes(tmp_path / "train", 2, ("cat", "dog", "val"))
    assert f"move it out of {tmp_path / 'train'}, which is a split itself" in refusal_of_training(tmp_path)


def test_classes_of_one_picture_are_named(tmp_path: Path) -> None:
    classes(tmp_path, 3)
    classes(tmp_path, 1, ("lonely",))
    assert any(str(tmp_path / "lonely") in note for note in from_folder(tmp_path).notes)


def test_names_are_compared_in_one_unicode_form(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    classes(tmp_path / "a" / "train", 2, (composed, "tea"))
    classes(tmp_path / "a" / "val", 1, (decomposed, "tea"))
    data = from_folder(tmp_path / "a")
    assert data.labels == [composed, "tea"]
    assert data.val.targets.tolist() == [0, 1]
    assert any(decomposed in note and "Unicode" in note for note in data.notes)
    classes(tmp_path / "b", 2, (composed, decomposed))
    if len(list((tmp_path / "b").iterdir())) == 2:  # macOS's file system takes them for one
        assert "Unicode" in refusal(tmp_path / "b")


@pytest.mark.parametrize("ending", [".mpo", ".jfif", ".jpe", ".apng", ".jif", ".jps"])
def test_endings_of_what_pillow_reads_count(ending: str, tmp_path: Path) -> None:
    write(tmp_path, f"a{ending}", f"b{ending.upper()}")
    assert len(find([tmp_path]).paths) == 2


def test_no_pictures_says_what_is_there_and_what_reads_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name in ("IMG_1.HEIC", "IMG_2.HEIC", "notes.txt", "more.zip"):
        (data / "cat" / name).parent.mkdir(parents=True, exist_ok=True)
        (data / "cat" / name).touch()
    (data / "cat" / "link").symlink_to(tmp_path)
    (data / "dog").mkdir()
    with pytest.raises(InputError) as caught:
        predict(data)
    messages = [str(caught.value), refusal_of_training(data)]
    for message in messages:
        for part in (
            "2 × .heic",
            "1 × .txt",
            "1 × link to a folder",
            "pip install pillow-heif",
            "not followed",
        ):
            assert part in message


def refusal_of_training(data: Path) -> str:
    with pytest.raises(DataError) as caught:
        from_folder(data)
    return str(caught.value)


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing is there; only endings such as \.jpg"):
        predict(tmp_path)


PILLOW_HEIF = """
from PIL import Image, PngImagePlugin

def register_heif_opener():
    class Heif(PngImagePlugin.PngImageFile):
        format = "HEIF"
    Image.register_open("HEIF", Heif, lambda prefix: prefix.startswith(b"\\x89PNG"))
    Image.register_extensions("HEIF", [".heic"])
"""


def test_pillow_heif_is_used_where_it_is_installed(tmp_path: Path) -> None:
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "pillow_heif.py").write_text(PILLOW_HEIF)
    write(tmp_path / "p", "a.heic")
    code = (
        "import json, sys; from alexnet_tk.inference import find; found = find([sys.argv[1]]);"
        "print(json.dumps([found.paths, 'pillow_heif' in sys.modules]))"
    )
    environment = os.environ | {"PYTHONPATH": f"{tmp_path / 'packages'}{os.pathsep}{Path.cwd()}"}
    shown = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "p"], env=environment, check=True, capture_output=True
    )
    assert json.loads(shown.stdout) == [[str(tmp_path / "p" / "a.heic")], True]


def test_pillow_heif_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    images.register_plugins.cache_clear()
    try:
        images.register_plugins()
    finally:
        images.register_plugins.cache_clear()


def test_the_account_balances_on_a_mixed_folder(tmp_path: Path) -> None:
    data = tmp_path / "data"
    classes(data)
    classes(data / "train")
    write(data, "loose.png", "@eaDir/1.png", "__MACOSX/1.png", "cat/.hidden.png", "photo.MPO")
    run_folder(data / "runs" / "model", "metrics.jsonl")
    (data / "cat" / "broken.png").write_bytes(b"rubbish")
    (data / "cat" / "dangling.png").symlink_to(tmp_path / "gone.png")
    (data / "linked").symlink_to(tmp_path)
    os.mkfifo(data / "pipe.png")
    for name in ("IMG_1.HEIC", "IMG_2.heic", "Thumbs.db", "README", "model.pt"):
        (data / name).touch()
    outcome = predict(data)
    assert (outcome.answered, outcome.failed) == (10, 2)
    assert outcome.answered + outcome.failed == len(outcome.found.paths)
    assert outcome.found.ignored == {
        "@eaDir folder": 1,
        "__MACOSX folder": 1,
        "folder of a training run": 1,
        "link to a folder": 1,
        "pipe, socket or device": 1,
        ".heic": 2,
        ".db": 1,
        "no ending": 1,
        ".pt": 1,
    }
    assert "; 10 ignored (2 × .heic, " in outcome.account()[0]


def test_a_run_is_known_by_what_is_in_it(tmp_path: Path) -> None:
    """A folder of pictures that holds one of its files alone is read."""
    for name in ("last.pt", "metrics.jsonl"):
        write(tmp_path / name, "a/1.png")
        (tmp_path / name / "a" / name).touch()
        found = Found()
        found.add_folder(str(tmp_path / name))
        assert len(found.paths) == 1


@pytest.mark.parametrize(
    "names",
    [
        ("train_1", "val_1"),
        ("Train1", "Train2"),
        ("01_train", "02_val"),
        ("images_train", "images_val"),
        ("fold1", "fold2"),
        ("split_0", "split_1"),
        ("my-train (1)", "holdout"),
    ],
)
def test_folders_that_are_all_named_after_splits_are_refused(names: tuple[str, ...], tmp_path: Path) -> None:
    for name in names:
        classes(tmp_path / name)
    message = refusal(tmp_path)
    assert "named after splits" in message
    assert "--classes-are-folders" in message
    assert from_folder(tmp_path, classes_are_folders=True).labels == sorted(names)


@pytest.mark.parametrize("names", [("trainer", "boot"), ("test_tube", "flask"), ("contest", "valley")])
def test_classes_whose_names_hold_such_a_word(names: tuple[str, ...], tmp_path: Path) -> None:
    classes(tmp_path, names=names)
    assert from_folder(tmp_path).labels == sorted(names)


def test_class_names_are_the_same_in_a_c_locale(tmp_path: Path) -> None:
    classes(tmp_path, names=("猫", "犬"))
    code = "import sys; from pathlib import Path; from alexnet_tk.training.dataset import from_folder"
    code += "; print(ascii(from_folder(Path(sys.argv[1])).labels))"
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    words = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(words, env=os.environ | locale, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ascii(sorted(["猫", "犬"]))


def test_one_picture_of_each_class_is_said_to_be_too_few(tmp_path: Path) -> None:
    classes(tmp_path, count=1)
    with pytest.raises(DataError, match=r"one picture of each class \(2 in all\).*add a second"):
        from_folder(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ("seg_train", "seg_test", "seg_pred"),
        ("trainA", "trainB", "testA", "testB"),
        ("bounding_box_train", "bounding_box_test", "query", "gallery"),
        ("myTrain", "myTest", "cat"),
        ("2019-training", "2019-validation", "2020"),
    ],
)
def test_names_that_differ_only_in_a_splits_word_are_splits(tmp_path: Path, names: tuple[str, ...]) -> None:
    classes(tmp_path / "data", 2, names)
    assert "named after splits" in refusal_of_training(tmp_path / "data")
    with pytest.raises(DataError, match="named after splits"):
        open_labelled(tmp_path / "data")
    data = from_folder(tmp_path / "data", classes_are_folders=True)
    assert data.labels == sorted(names)


@pytest.mark.parametrize(
    "names",
    [
        ("steam train", "test tube", "cat"),
        ("bullet train", "steam train", "bus"),
        ("training shoe", "sandal", "evaluator"),
        ("trainer", "tester"),
        ("valley", "devil", "vest"),
    ],
)
def test_classes_with_such_words_are_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    classes(tmp_path, 2, names)
    assert from_folder(tmp_path).labels == sorted(names)


def test_one_class_with_pictures_is_not_enough(tmp_path: Path) -> None:
    """As in DATA/train/images and DATA/train/labels of detection sets."""
    for split in ("train", "val"):
        classes(tmp_path / split, 3, ("images",))
        (tmp_path / split / "labels").mkdir()
        (tmp_path / split / "labels" / "1.heic").touch()
    message = refusal_of_training(tmp_path)
    assert f"{tmp_path / 'train'} holds pictures of one class, images, and none in labels" in message
    assert message.endswith("pip install pillow-heif to read .heic")


def test_what_can_be_read_with_a_package_names_it(tmp_path: Path) -> None:
    classes(tmp_path, 2)
    (tmp_path / "cat" / "3.HEIC").touch()
    notes = from_folder(tmp_path).notes
    assert any("ignored 1 × .heic; pip install pillow-heif to read .heic" in note for note in notes)
    assert "1 ignored (1 × .heic); pip install pillow-heif to read .heic" in predict(tmp_path).account()[0]


def test_no_class_folders_says_what_is_there(tmp_path: Path) -> None:
    for name in ("1.HEIC", "2.heic", "owl.zip"):
        (tmp_path / name).touch()
    with pytest.raises(DataError) as caught:
        open_labelled(tmp_path)
    for message in (str(caught.value), refusal_of_training(tmp_path)):
        assert "2 × .heic, 1 × .zip; pip install pillow-heif" in message
    classes(tmp_path / "wrapped" / "archive")
    assert f"(give {tmp_path / 'wrapped' / 'archive'} if the class folders are there)" in refusal_of_training(
        tmp_path / "wrapped"
    )
