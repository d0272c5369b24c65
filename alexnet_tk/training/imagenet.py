"""ImageNet's own archives as class folders: a tar of tars to train on, a tar of pictures to validate on.

    ILSVRC2012_img_train.tar      n01440764.tar, … , each with n01440764_18.JPEG, …
    ILSVRC2012_img_val.tar        ILSVRC2012_val_00000001.JPEG, …
    ILSVRC2012_devkit_t12.tar.gz  the classes of the validation pictures

Nothing is unpacked: the pictures are read where they lie in the two archives.
"""

import io
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from alexnet_tk.archive_folders import ArchiveFolders
from alexnet_tk.archives import Member, entries, entries_within
from alexnet_tk.errors import DataError
from alexnet_tk.found import is_picture_name
from alexnet_tk.layout import ClassFolders
from alexnet_tk.progress import Progress
from alexnet_tk.text import counted, one_line, shortened
from alexnet_tk.training.dataset import Dataset, from_classes, require_two_classes

GROUND_TRUTH, META = "ILSVRC2012_validation_ground_truth.txt", "meta.mat"
LEAVES = 1_000  # the first ids are the classes; those above are the groups that they are in
LARGEST_FILE = 2**26  # bytes, of the development kit's


def from_archives(archives: tuple[Path, Path], devkit: Path, progress: Progress) -> Dataset:
    """The pictures in ImageNet's archives, as if they were unpacked to train/<id>/ and val/<id>/.

    Parameters
    ----------
    archives
        that of the training pictures and that of the validation pictures, in any order
    devkit
        the archive of the development kit, or a list of validation pictures and their ids
    progress
        receives the number of training pictures that are listed

    Raises
    ------
    DataError
        they don't fit together, or the development kit can't be read
    InputError
        an archive is broken

    """
    for archive in archives:
        if not archive.is_file():
            raise DataError(
                f"{archive} is not a file; give ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar"
            )
    classes_of = validation_classes(devkit)
    listed = {archive: entries(str(archive)) for archive in archives}
    tars = {archive: [each for each in listed[archive] if _is_tar(each)] for archive in archives}
    train, val = sorted(archives, key=lambda archive: not tars[archive])
    if not tars[train] or tars[val]:
        both = f"{archives[0]} and {archives[1]}"
        raise DataError(
            f"{both} both hold archives"
            if tars[val]
            else f"neither of {both} holds archives of classes"
            "; give ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar"
        )
    class_tree = ArchiveFolders(train, _in_class_tars(listed[train], progress))
    classes = ClassFolders.read(train, tree=class_tree)
    require_two_classes(classes)
    if unknown := sorted(set(classes_of.values()) - set(classes.names)):
        raise DataError(
            f"{devkit} names classes that {train} does not have: {shortened(unknown, 3)}; "
            "give the archives and the development kit of the same year"
        )
    tree = ArchiveFolders(val, _in_classes(val, listed[val], classes_of, devkit))
    validation = ClassFolders.read(val, classes.names, tree=tree)
    roots = {train: "train/", val: "val/"}
    return from_classes(train, classes, validation, roots, [*class_tree.notes(), *tree.notes()])


def _is_tar(member: Member) -> bool:
    return not member.is_folder and member.name.endswith(".tar")


def _in_class_tars(listed: list[Member], progress: Progress) -> Iterator[tuple[str, Member]]:
    """What a tar of classes' tars holds, each file with its path in class folders."""
    num_bytes, begun = sum(each.size for each in listed), False
    for each in listed:
        if not _is_tar(each):
            yield each.name, each
            continue
        folder = PurePosixPath(each.name).stem
        inside = entries_within(each, f"{folder}/")
        if not begun:
            progress.begin("listing", round(len(inside) * num_bytes / each.size))
            begun = True
        progress.advance(len(inside))
        yield folder, Member.of(each.archive, folder, 0, 0, is_folder=True)  # also where nothing is in it
        for inner in inside:
            yield f"{folder}/{inner.name}", inner


def _in_classes(
    archive: Path, listed: list[Member], classes_of: dict[str, str], devkit: Path
) -> Iterator[tuple[str, Member]]:
    """The validation pictures, each with its path in class folders; raises `DataError`."""
    unknown = []
    for each in listed:
        path = PurePosixPath(each.name)
        if each.is_folder or not is_picture_name(path.name):
            yield each.name, each
        elif path.stem in classes_of:
            yield f"{classes_of[path.stem]}/{path.name}", each
        else:
            unknown.append(path.name)
    if unknown:
        raise DataError(
            f"{devkit} has no class for {counted(len(unknown), 'picture')} of {archive}: "
            f"{shortened(unknown, 3)}; give the archives and the development kit of the same year"
        )


def validation_classes(devkit: Path) -> dict[str, str]:
    """The ids (wnids) of the validation pictures by their names without ending; raises `DataError`.

    `devkit` is the archive of the development kit, or a text whose lines begin with a picture's name and an
    id, separated by spaces, tabs or a comma, as Kaggle's LOC_val_solution.csv is.
    """
    try:
        if tarfile.is_tarfile(devkit):
            return _from_kit(devkit)
        text = devkit.read_text(encoding="utf-8-sig")
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{devkit} can't be read: {error.strerror or error}; download it again") from error
    except (tarfile.TarError, EOFError, zlib.error, ValueError) as error:
        raise DataError(
            f"{devkit} is neither the development kit's archive nor a text of pictures and ids "
            f"({one_line(error)}); download it again"
        ) from error
    return _from_list(devkit, text)


def _from_kit(devkit: Path) -> dict[str, str]:
    """The classes in the development kit: a number for each picture, and a table of numbers and ids."""
    files: dict[str, bytes] = {}
    with tarfile.open(devkit) as archive:
        for info in archive:
            name = PurePosixPath(info.name).name
            if name in (GROUND_TRUTH, META) and info.size <= LARGEST_FILE:
                file = archive.extractfile(info)
                files[name] = b"" if file is None else file.read()
    for name in (GROUND_TRUTH, META):
        if name not in files:
            raise DataError(f"{devkit} holds no {name}; give ILSVRC2012_devkit_t12.tar.gz")
    ids = _ids(devkit, files[META])
    classes = {}
    for number, line in enumerate(files[GROUND_TRUTH].decode("ascii").split(), 1):
        if not line.isdecimal() or int(line) not in ids:
            raise DataError(
                f"{devkit}: line {number} of {GROUND_TRUTH} is {line!r}, and {META} has no such class among "
                f"the first {LEAVES:,}; download it again"
            )
        classes[f"ILSVRC2012_val_{number:08}"] = ids[int(line)]
    return classes


def _ids(devkit: Path, content: bytes) -> dict[int, str]:
    """ImageNet's ids by the numbers of the development kit; of the 1,000 classes alone."""
    from scipy.io import loadmat

    try:
        synsets = np.atleast_1d(loadmat(io.BytesIO(content), squeeze_me=True)["synsets"])
        pairs = zip(synsets["ILSVRC2012_ID"].tolist(), synsets["WNID"].tolist(), strict=True)
        return {int(number): str(wnid) for number, wnid in pairs if int(number) <= LEAVES}
    except Exception as error:  # of many kinds: ValueError, KeyError, TypeError, MatReadError, …
        raise DataError(f"{devkit}: {META} can't be read ({one_line(error)}); download it again") from error


def _from_list(path: Path, text: str) -> dict[str, str]:
    """The classes in a text of pictures and ids."""
    classes: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        name, wnid, *_ = [*re.split(r"[\s,]+", line.strip()), ""]
        if not name or (number == 1 and wnid == "PredictionString"):
            continue
        stem = PurePosixPath(name).stem
        if not re.fullmatch(r"n\d{8}", wnid):
            raise DataError(
                f"{path}, line {number}: {line[:60]!r} is no picture with its id, as in "
                "'ILSVRC2012_val_00000001.JPEG n01751748'; give such a list, or ILSVRC2012_devkit_t12.tar.gz"
            )
        if classes.setdefault(stem, wnid) != wnid:
            raise DataError(f"{path}, line {number}: {name} has two ids, {classes[stem]} and {wnid}")
    return classes
