"""ImageNet's own archives give the arrays that the same pictures in class folders give."""

import builtins
import gzip
import shutil
from pathlib import Path
from typing import Any

import pytest

from alexnet_tk.errors import DataError, InputError, MissingExtraError, OutputError, UsageError
from alexnet_tk.progress import Progress
from alexnet_tk.training import pack, packing
from alexnet_tk.training.imagenet import validation_classes
from alexnet_tk.training.packed import open_packed
from tests.training import archived

FILES = ("train.npy", "val.npy", "train_classes.npy", "val_classes.npy", "packed.json")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures in class folders, packed."""
    root = tmp_path_factory.mktemp("folders")
    pack(archived.write_folders(root / "pictures"), root / "packed")
    return root / "packed"


@pytest.fixture
def archives(tmp_path: Path) -> tuple[Path, Path]:
    return archived.write_archives(tmp_path)


def write_train(path: Path, classes: dict[str, dict[str, bytes]]) -> None:
    path.write_bytes(archived.tar({f"{wnid}.tar": archived.tar(files) for wnid, files in classes.items()}))


def same(packed: Path, folders: Path) -> None:
    for name in FILES:
        assert (packed / name).read_bytes() == (folders / name).read_bytes(), name


@pytest.mark.parametrize("swapped", [False, True])
def test_the_archives_are_the_class_folders(
    archives: tuple[Path, Path], folders: Path, tmp_path: Path, swapped: bool
) -> None:
    sources = archives[::-1] if swapped else archives
    devkit = archived.write_devkit(tmp_path / "ILSVRC2012_devkit_t12.tar.gz")
    summary = pack(sources, tmp_path / "packed", devkit=devkit)
    same(tmp_path / "packed", folders)
    assert summary.counts == {"train": [4, 4, 4], "val": [3, 2, 2]}
    dataset, _ = open_packed(tmp_path / "packed")
    assert dataset.label_ids == list(archived.WNIDS)
    assert dataset.labels[0] == "tench"


@pytest.mark.parametrize("separator", [" ", "\t", ",", ", "])
def test_a_list_says_the_same_as_the_development_kit(tmp_path: Path, separator: str) -> None:
    devkit = archived.write_devkit(tmp_path / "devkit.tar.gz")
    listed = archived.write_list(tmp_path / "list", separator)
    expected = {
        f"ILSVRC2012_val_{number:08}": archived.WNIDS[place]
        for number, place in enumerate(archived.VALIDATION, 1)
    }
    assert validation_classes(devkit) == validation_classes(listed) == expected


def test_kaggles_table_is_such_a_list(tmp_path: Path) -> None:
    table = tmp_path / "LOC_val_solution.csv"
    table.write_text(
        "ImageId,PredictionString\nILSVRC2012_val_00048981,n03995372 85 1 499 272 \n"
        "ILSVRC2012_val_00037956,n03481172 131 0 499 254 n03481172 1 2 3 4 \n"
    )
    assert validation_classes(table) == {
        "ILSVRC2012_val_00048981": "n03995372",
        "ILSVRC2012_val_00037956": "n03481172",
    }


class Stop(Exception):  # noqa: N818
    """Ends packing where a kill might."""


class Killer(Progress):
    """Stops at the n-th picture that is packed, and counts those of this call."""

    def __init__(self, after: int) -> None:
        self.left, self.packing = after, False

    def begin(self, task: str, total: int) -> None:
        self.packing = task == "packing"

    def advance(self, count: int, loss: float | None = None) -> None:
        self.left -= count if self.packing else 0
        if self.left < 0:
            raise Stop


@pytest.mark.parametrize("after", [0, 5, 12, 15])
@pytest.mark.parametrize("quality", [None, 90])
def test_a_killed_run_goes_on_although_the_archives_moved(
    archives: tuple[Path, Path], tmp_path: Path, after: int, quality: int | None, monkeypatch: Any
) -> None:
    monkeypatch.setattr(packing, "JOURNAL_EVERY", 3)
    devkit = archived.write_list(tmp_path / "list")
    pack(archives, tmp_path / "whole", devkit=devkit, quality=quality)
    with pytest.raises(Stop):
        pack(archives, tmp_path / "packed", Killer(after), devkit=devkit, quality=quality)
    (tmp_path / "moved").mkdir()
    moved = [Path(shutil.move(each, tmp_path / "moved")) for each in archives]
    pack(moved, tmp_path / "packed", devkit=devkit, quality=quality)
    names = {each.name for each in (tmp_path / "whole").iterdir()}
    assert names == {each.name for each in (tmp_path / "packed").iterdir()}
    for name in names:
        assert (tmp_path / "packed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_other_names_in_the_archives_are_another_set(archives: tuple[Path, Path], tmp_path: Path) -> None:
    listed = archived.write_list(tmp_path / "list")
    with pytest.raises(Stop):
        pack(archives, tmp_path / "packed", Killer(4), devkit=listed)
    classes = archived.training_pictures()
    classes["n01440764"]["n01440764_4.JPEG"] = classes["n01440764"].pop("n01440764_3.JPEG")
    write_train(archives[0], classes)
    with pytest.raises(OutputError, match="other pictures"):
        pack(archives, tmp_path / "packed", devkit=listed)


def test_broken_pictures_are_left_out_and_named(archives: tuple[Path, Path], tmp_path: Path) -> None:
    classes = archived.training_pictures()
    classes["n01443537"]["n01443537_7.JPEG"] = b"rubbish"
    classes["n01443537"]["n01443537_18.JPEG"] = b""
    write_train(archives[0], classes)
    summary = pack(archives, tmp_path / "packed", devkit=archived.write_list(tmp_path / "list"))
    assert summary.counts["train"] == [4, 2, 4]
    assert [line.partition("\t")[0] for line in summary.failed] == [
        f"{archives[0]}/n01443537/n01443537_18.JPEG",
        f"{archives[0]}/n01443537/n01443537_7.JPEG",
    ]


def test_what_else_lies_in_the_archives_is_counted(archives: tuple[Path, Path], tmp_path: Path) -> None:
    """A tar in a tar of a tar, a path that leads out, a picture and a text beside the classes."""
    said: list[str] = []

    class Said(Progress):
        def say(self, message: str) -> None:
            said.append(message)

    classes = archived.training_pictures()
    deep = archived.tar({"x.JPEG": archived.picture(1)})
    tars = {f"{wnid}.tar": archived.tar({**files, "deep.tar": deep}) for wnid, files in classes.items()}
    out = {"../n01440764/evil.JPEG": archived.picture(2), "/../../evil.JPEG": archived.picture(2)}
    tars["n02102040.tar"] = archived.tar({**classes["n02102040"], **out})
    archives[0].write_bytes(archived.tar({**tars, "readme.txt": b"x", "loose.JPEG": archived.picture(3)}))
    listed = archived.write_list(tmp_path / "list")
    summary = pack(archives, tmp_path / "packed", Said(), devkit=listed)
    assert summary.counts == {"train": [4, 4, 4], "val": [3, 2, 2]}
    notes = "\n".join(said)
    assert "ignored 1 picture beside the class folders" in notes
    assert "2 × .tar" in notes
    assert "1 × .txt" in notes
    assert "img_train.tar: ignored 2 files with .. in the path" in notes
    assert not list(tmp_path.rglob("evil*"))


def test_a_class_without_pictures(archives: tuple[Path, Path], tmp_path: Path) -> None:
    """An empty tar is a class without pictures, as an empty folder is."""
    classes = archived.training_pictures()
    classes["n02102040"] = {}
    write_train(archives[0], classes)
    summary = pack(archives, tmp_path / "packed", devkit=archived.write_list(tmp_path / "list"))
    assert summary.counts == {"train": [4, 4, 0], "val": [3, 2, 2]}


@pytest.mark.parametrize("where", ["inner", "outer"])
@pytest.mark.parametrize("cut", [300, 900, 4_000])
def test_a_truncated_archive_is_an_error(
    archives: tuple[Path, Path], tmp_path: Path, where: str, cut: int
) -> None:
    """Nothing of the next class is read into a class whose tar is cut off."""
    if where == "inner":
        tars = {f"{wnid}.tar": archived.tar(files) for wnid, files in archived.training_pictures().items()}
        tars["n01440764.tar"] = tars["n01440764.tar"].rstrip(b"\0")[:-cut]
        archives[0].write_bytes(archived.tar(tars))
    else:
        archives[0].write_bytes(archives[0].read_bytes().rstrip(b"\0")[:-cut])
    listed = archived.write_list(tmp_path / "list")
    with pytest.raises(InputError, match="can't be read as an archive"):
        pack(archives, tmp_path / "packed", devkit=listed)
    assert not (tmp_path / "packed").exists()


def test_sources_that_do_not_fit_are_refused(archives: tuple[Path, Path], tmp_path: Path) -> None:
    train, val = archives
    listed, packed = archived.write_list(tmp_path / "list"), tmp_path / "packed"
    with pytest.raises(UsageError, match="need --devkit FILE"):
        pack(archives, packed)
    with pytest.raises(UsageError, match="belongs to two archives"):
        pack(train, packed, devkit=listed)
    with pytest.raises(UsageError, match="3 sources"):
        pack([train, val, val], packed, devkit=listed)
    with pytest.raises(DataError, match=r"neither of .* holds archives of classes"):
        pack([val, val], packed, devkit=listed)
    with pytest.raises(DataError, match="both hold archives"):
        pack([train, shutil.copy(train, tmp_path / "copy.tar")], packed, devkit=listed)
    with pytest.raises(DataError, match=r"none\.tar is not a file"):
        pack([train, tmp_path / "none.tar"], packed, devkit=listed)
    (tmp_path / "train.tar.gz").write_bytes(gzip.compress(train.read_bytes()))
    with pytest.raises(InputError, match=r"n02102040\.tar can't be read .*: it lies in a compressed archive"):
        pack([tmp_path / "train.tar.gz", val], packed, devkit=listed)
    with pytest.raises(DataError, match=r"holds 0 class folders and 3 × \.tar"):
        pack(train, packed)
    assert not packed.exists()


def devkits(folder: Path) -> dict[str, tuple[Path, str]]:
    """Development kits that are none, and what is said of them."""

    def text(name: str, content: bytes) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    broken = archived.write_devkit(folder / "whole.tar.gz").read_bytes()
    return {
        "missing": (folder / "none", "No such file"),
        "empty": (text("empty", b""), "has no class for 7 pictures"),
        "binary": (text("binary", b"\xff\xfe\x00\x81"), "neither the development kit's archive nor a text"),
        "numbers": (text("numbers", b"490\n361\n"), "line 1: '490' is no picture with its id"),
        "other id": (text("ids", b"ILSVRC2012_val_00000001.JPEG tench\n"), "line 1: .* is no picture with"),
        "two ids": (text("two", b"a n00000001\na n00000002\n"), "line 2: a has two ids"),
        "few": (text("few", b"ILSVRC2012_val_00000001.JPEG n01440764\n"), "no class for 6 pictures of"),
        "a class that is not trained": (
            text("new", archived.write_list(folder / "l").read_bytes().replace(b"n0210", b"n0999")),
            "names classes that .* does not have: n09992040",
        ),
        "cut off": (text("cut.tar.gz", broken[: len(broken) // 2]), "download it again"),
        "no table": (archived.write_devkit(folder / "a.tar.gz", without="meta"), r"holds no meta\.mat"),
        "no truth": (archived.write_devkit(folder / "b.tar.gz", without="truth"), "holds no ILSVRC2012_val"),
        "group": (archived.write_devkit(folder / "c.tar.gz", "490\n1001\n"), "line 2 of .* is '1001'"),
        "no number": (archived.write_devkit(folder / "d.tar.gz", "490\nx\n"), "line 2 of .* is 'x'"),
        "short": (archived.write_devkit(folder / "e.tar.gz", "490\n361\n"), "no class for 5 pictures of"),
    }


def test_a_development_kit_that_is_none_is_named(archives: tuple[Path, Path], tmp_path: Path) -> None:
    for name, (path, message) in devkits(tmp_path).items():
        with pytest.raises(DataError, match=message) as failure:
            pack(archives, tmp_path / "packed", devkit=path)
        assert str(path) in str(failure.value), name
        assert "\n" not in str(failure.value), name
        assert not (tmp_path / "packed").exists(), name


def test_a_table_that_is_no_matlab_file_is_named(archives: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "devkit.tar"
    path.write_bytes(
        archived.tar({"meta.mat": b"rubbish", "ILSVRC2012_validation_ground_truth.txt": b"490\n"})
    )
    with pytest.raises(DataError, match=r"meta\.mat can't be read"):
        pack(archives, tmp_path / "packed", devkit=path)


def test_scipy_is_named_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only for the development kit's archive; a list needs nothing."""
    devkit = archived.write_devkit(tmp_path / "devkit.tar.gz")
    importing = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "scipy":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return importing(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModuleNotFoundError) as failure:
        validation_classes(devkit)
    assert str(MissingExtraError.of(failure.value)).endswith("pip install 'alexnet-tk[imagenet]'")
    assert len(validation_classes(archived.write_list(tmp_path / "list"))) == 7
