"""Small archives with the structure of ImageNet's, and the same pictures in class folders."""

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

WNIDS = ("n01440764", "n01443537", "n02102040")
# The classes of the validation pictures, by their numbers from 1, as places in WNIDS.
VALIDATION = (2, 0, 1, 2, 1, 0, 0)
NUMBERS = (490, 361, 171)  # of WNIDS, in the development kit


def picture(seed: int) -> bytes:
    """A JPEG of noise, of a size of its own."""
    random = np.random.default_rng(seed)
    shape = (*random.integers(20, 300, 2).tolist(), 3)
    file = io.BytesIO()
    Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)).save(file, "JPEG")
    return file.getvalue()


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """A file of an archive."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def tar(files: dict[str, bytes]) -> bytes:
    """A tar of these files."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in files.items():
            add(archive, name, content)
    return file.getvalue()


def training_pictures() -> dict[str, dict[str, bytes]]:
    """Pictures by id and name; the names are not in order."""
    return {
        wnid: {f"{wnid}_{number}.JPEG": picture(100 * place + number) for number in (18, 3, 10026, 7)}
        for place, wnid in enumerate(WNIDS)
    }


def validation_pictures() -> dict[str, bytes]:
    """Pictures by name."""
    return {f"ILSVRC2012_val_{number:08}.JPEG": picture(1000 + number) for number in range(1, 8)}


def write_archives(folder: Path) -> tuple[Path, Path]:
    """ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar."""
    train, val = folder / "ILSVRC2012_img_train.tar", folder / "ILSVRC2012_img_val.tar"
    classes = training_pictures()
    train.write_bytes(tar({f"{wnid}.tar": tar(classes[wnid]) for wnid in reversed(WNIDS)}))
    val.write_bytes(tar(validation_pictures()))
    return train, val


def write_folders(folder: Path) -> Path:
    """The same pictures in class folders."""
    for wnid, files in training_pictures().items():
        (folder / "train" / wnid).mkdir(parents=True)
        (folder / "val" / wnid).mkdir(parents=True)
        for name, content in files.items():
            (folder / "train" / wnid / name).write_bytes(content)
    for (name, content), place in zip(validation_pictures().items(), VALIDATION, strict=True):
        (folder / "val" / WNIDS[place] / name).write_bytes(content)
    return folder


def write_list(path: Path, separator: str = " ") -> Path:
    """A list of the validation pictures and their ids."""
    names = zip(validation_pictures(), VALIDATION, strict=True)
    path.write_text("".join(f"{name}{separator}{WNIDS[place]}\n" for name, place in names))
    return path


def write_devkit(path: Path, truth: str | None = None, without: str = "") -> Path:
    """ILSVRC2012_devkit_t12.tar.gz, with a group of classes beside the classes."""
    rows = [(number, wnid, wnid, 0) for number, wnid in zip(NUMBERS, WNIDS, strict=True)]
    rows.append((1001, "n00001740", "entity", 2))
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    mat = io.BytesIO()
    savemat(mat, {"synsets": np.array(rows, dtype=kinds).reshape(-1, 1)})
    if truth is None:
        truth = "".join(f"{NUMBERS[place]}\n" for place in VALIDATION)
    files = {
        "readme.txt": b"",
        "data/meta.mat": mat.getvalue(),
        "data/ILSVRC2012_validation_ground_truth.txt": truth.encode(),
    }
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            if not without or without not in name:
                add(archive, f"ILSVRC2012_devkit_t12/{name}", content)
    return path
