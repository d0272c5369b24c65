"""Archives of class folders: packed, trained on and evaluated as the folders they hold."""

import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from alexnet_tk.errors import DataError, InputError
from alexnet_tk.evaluation.dataset import open_labelled
from alexnet_tk.progress import Progress
from alexnet_tk.training import pack, train
from alexnet_tk.training.dataset import from_folder
from tests.cli.command import run
from tests.training import archived

FILES = ("train.npy", "val.npy", "train_classes.npy", "val_classes.npy", "packed.json")


class Said(Progress):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders: pictures in and below them, an empty class, and what is ignored in and beside them."""
    folder = tmp_path_factory.mktemp("data") / "photos"
    for place, name in enumerate(("a b/1.jpg", "a.jpg", "b/.hidden.jpg", "a/2.JPEG", "notes.txt", "c.jpg")):
        for split in ("train", "val"):
            for label in ("ant", "Bär", "cow"):
                path = folder / split / label / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archived.picture(place + 10 * len(label)))
    (folder / "train" / "ant" / "broken.jpg").write_bytes(b"rubbish")
    for name in ("train/empty/x", "train/__MACOSX/x.jpg", "train/.git/x.jpg", "train/loose.jpg", "README"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (folder / "train" / "empty" / "x").unlink()
    return folder


def as_tar(folder: Path, path: Path, top: str) -> None:
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
        archive.add(folder, top)


def as_shuffled_tar(folder: Path, path: Path) -> None:
    """In another order, without entries for folders, with a name twice and an absolute one."""
    with tarfile.open(path, "w") as archive:
        for each in sorted(folder.rglob("*"), key=lambda each: str(each)[::-1]):
            name = each.relative_to(folder).as_posix()
            if each.is_file():
                if name.endswith("ant/a.jpg"):
                    archived.add(archive, f"./{name}", b"an older version")
                info = archive.gettarinfo(each, name)
                info.name = f"/{name}" if name.endswith("cow/c.jpg") else name
                archive.addfile(info, io.BytesIO(each.read_bytes()))
            elif each.name == "empty":
                archive.add(each, name)


def as_zip(folder: Path, path: Path) -> None:
    shutil.make_archive(str(path.with_suffix("")), "zip", folder)


FORMS: dict[str, Callable[[Path, Path], None]] = {
    "folder.tar": lambda folder, path: as_tar(folder, path, "photos"),
    "deep.tar": lambda folder, path: as_tar(folder, path, "home/me/photos"),
    "dot.tar": lambda folder, path: as_tar(folder, path, "."),
    "shuffled.tar": as_shuffled_tar,
    "folder.tgz": lambda folder, path: as_tar(folder, path, "photos"),
    "folder.zip": as_zip,
}


@pytest.fixture(scope="module")
def packed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The class folders, packed."""
    packed = tmp_path_factory.mktemp("expected") / "packed"
    pack(folder, packed)
    return packed


@pytest.mark.parametrize("form", FORMS)
def test_an_archive_is_packed_as_its_folders(folder: Path, packed: Path, tmp_path: Path, form: str) -> None:
    FORMS[form](folder, tmp_path / form)
    summary = pack(tmp_path / form, tmp_path / "packed")
    for name in FILES:
        assert (tmp_path / "packed" / name).read_bytes() == (packed / name).read_bytes(), name
    assert [line.partition("/train/")[2] for line in summary.failed] == [
        "ant/broken.jpg\tnot a picture that Pillow can read"
    ]
    assert summary.failed[0].startswith(str(tmp_path / form))
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([form, "packed"])  # nothing unpacked


@pytest.mark.parametrize("form", ["folder.tar", "folder.zip"])
def test_what_is_left_out_is_said_as_of_folders(folder: Path, tmp_path: Path, form: str) -> None:
    FORMS[form](folder, tmp_path / form)
    expected = [note.replace(str(folder), "DATA") for note in from_folder(folder).notes]
    root = tmp_path / form / "photos" if form == "folder.tar" else tmp_path / form
    notes = [note.replace(str(root), "DATA") for note in from_folder(tmp_path / form).notes]
    if form == "folder.tar":
        assert notes.pop(0) == f"{tmp_path / form} holds one folder; reading DATA"
    assert notes == expected
    assert any("__MACOSX folder" in note for note in notes)


def test_training_and_evaluation_read_the_same_pictures(
    folder: Path, tmp_path: Path, tiny: tuple[str, ...]
) -> None:
    path = tmp_path / "photos.tar"
    as_tar(folder, path, "photos")
    checkpoints = [
        train(
            data,
            recipe="own-pictures",
            settings=(*tiny, "train.epochs=1"),
            output=tmp_path / f"{name}.pt",
            device="cpu",
        )
        for name, data in (("folder", folder), ("archive", path))
    ]
    first, second = (checkpoint.training["history"][0] for checkpoint in checkpoints)
    assert first == second
    labelled, of_folder = open_labelled(path), open_labelled(folder)
    assert labelled.labels == of_folder.labels
    assert labelled.targets.tolist() == of_folder.targets.tolist()
    assert [str(each).partition("/val/")[2] for each in labelled.pictures] == [
        str(each).partition("/val/")[2] for each in of_folder.pictures
    ]


def test_an_archive_of_one_split(folder: Path, tmp_path: Path) -> None:
    """Its only folder is a split, not the data set: it means what a folder with this split alone means."""
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        as_tar(folder / split, tmp_path / f"{split}.tar", split)
        shutil.copytree(folder / split, tmp_path / split / split)
    data, expected = from_folder(tmp_path / "train.tar"), from_folder(tmp_path / "train")
    assert data.fingerprint() == expected.fingerprint()
    with pytest.raises(DataError, match=r"val\.tar has val/ but no train/"):
        from_folder(tmp_path / "val.tar")


def test_links_are_counted(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "photos.tar"
    as_tar(folder, path, ".")
    with tarfile.open(path, "a") as archive:
        for name in ("train/ant/link.jpg", "train/dog"):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, "a.jpg"
            archive.addfile(info)
    data = from_folder(path)
    assert data.labels == from_folder(folder).labels
    assert any("2 × link in an archive" in note for note in data.notes)


def test_paths_that_lead_out_are_left_out(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "photos.zip"
    as_zip(folder, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../evil.jpg", archived.picture(1))
        archive.writestr("train/ant/../../../evil/evil.jpg", archived.picture(1))
    said = Said()
    summary = pack(path, tmp_path / "packed", said)
    assert f"{path}: ignored 2 files with .. in the path" in said.lines
    assert summary.labels == from_folder(folder).labels
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize("name", ["empty.tar", "empty.zip"])
def test_an_empty_archive(tmp_path: Path, name: str) -> None:
    if name.endswith("zip"):
        zipfile.ZipFile(tmp_path / name, "w").close()
    else:
        tarfile.open(tmp_path / name, "w").close()
    with pytest.raises(DataError, match=rf"{name} holds 0 class folders; at least 2 are needed"):
        pack(tmp_path / name, tmp_path / "packed")


def test_archives_that_can_not_be_read(folder: Path, tmp_path: Path) -> None:
    as_tar(folder, tmp_path / "whole.tar", "photos")
    content = (tmp_path / "whole.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(content[: len(content) // 2])
    (tmp_path / "rubbish.zip").write_bytes(b"rubbish")
    as_tar(folder, tmp_path / "whole.tgz", "photos")
    content = (tmp_path / "whole.tgz").read_bytes()
    (tmp_path / "cut.tgz").write_bytes(content[: len(content) // 2])
    (tmp_path / "rubbish.tar.gz").write_bytes(b"rubbish" * 100)
    for name in ("cut.tgz", "rubbish.tar.gz"):
        with pytest.raises(InputError, match=rf"{name} can't be read as an archive"):
            pack(tmp_path / name, tmp_path / "packed")
    with pytest.raises(InputError, match=r"cut\.tar can't be read as an archive"):
        pack(tmp_path / "cut.tar", tmp_path / "packed")
    with pytest.raises(InputError, match=r"rubbish\.zip can't be read as an archive"):
        pack(tmp_path / "rubbish.zip", tmp_path / "packed")
    with pytest.raises(DataError, match=r"none\.zip does not exist"):
        pack(tmp_path / "none.zip", tmp_path / "packed")
    (tmp_path / "folder.tar").mkdir()
    with pytest.raises(DataError, match=r"folder\.tar holds 0 class folders"):
        pack(tmp_path / "folder.tar", tmp_path / "packed")
    assert not (tmp_path / "packed").exists()


def test_the_command(folder: Path, packed: Path, tmp_path: Path) -> None:
    """SOURCE... PACKED, with their options anywhere."""
    as_tar(folder, tmp_path / "photos.tar", "photos")
    train, val = archived.write_archives(tmp_path)
    archived.write_list(tmp_path / "list")
    done = run("pack", "photos.tar", "packed", cwd=tmp_path, code=3)
    assert "1 failed, listed in packed/failed.txt" in done.stdout
    assert (tmp_path / "packed" / "packed.json").read_bytes() == (packed / "packed.json").read_bytes()
    done = run("pack", "--devkit", "list", train.name, val.name, "--quality", "80", "small", cwd=tmp_path)
    assert "small: 19 pictures" in done.stdout
    assert json.loads((tmp_path / "small" / "packed.json").read_text())["quality"] == 80


def test_the_command_without_what_it_needs(tmp_path: Path) -> None:
    done = run("pack", "photos.tar", cwd=tmp_path, code=2)
    assert "alexnet-tk pack SOURCE PACKED" in done.stderr
    done = run("pack", "a.tar", "b.tar", "packed", cwd=tmp_path, code=2)
    assert "--devkit FILE" in done.stderr
    assert "95" in run("pack", "a", "b", "--quality", "96", cwd=tmp_path, code=2).stderr
