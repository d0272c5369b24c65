"""The built-in pictures: a balanced part of Fashion-MNIST, 6,000 for training and 1,000 for validation.

Fashion-MNIST is by Zalando SE and under the MIT licence, which lies beside the file. The file was
made by scripts/make_sample.py.
"""

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet_tk.errors import OutputError
from alexnet_tk.files import make_folder, replacing

Split = Literal["train", "val"]

# Sorted, as class folders are, so that training on the sample and on its files is the same training.
LABELS = (
    "Ankle boot",
    "Bag",
    "Coat",
    "Dress",
    "Pullover",
    "Sandal",
    "Shirt",
    "Sneaker",
    "T-shirt",
    "Trouser",
)


@cache
def pictures(split: Split) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The pictures of a split, uint8 (N, 28, 28) grey, and their classes, int64 (N,), into `LABELS`."""
    with (
        resources.as_file(resources.files("alexnet_tk") / "data" / "fashion_mnist.npz") as path,
        np.load(path) as file,
    ):
        return file[f"{split}_pictures"], file[f"{split}_classes"].astype(np.int64)


def write_pictures(folder: Path) -> int:
    """Write the validation pictures to folder/<class>/0000.png and on; return how many.

    Files that hold just these pictures already are left as they are.

    Raises
    ------
    OutputError
        the folder can't be made, a picture can't be written, or another file has its name

    """
    grey, classes = pictures("val")
    numbers = np.zeros(len(LABELS), dtype=int)
    for label in LABELS:
        make_folder(folder / label)
    for picture, index in zip(grey, classes, strict=True):
        path = folder / LABELS[index] / f"{numbers[index]:04d}.png"
        numbers[index] += 1
        if path.exists():
            if not _holds(path, picture):
                raise OutputError(f"{path} exists already and is another picture; name another folder")
            continue
        with replacing(path) as part:
            Image.fromarray(picture).save(part, format="PNG")
    return len(grey)


def _holds(path: Path, picture: NDArray[np.uint8]) -> bool:
    """Whether the file is that picture."""
    try:
        with Image.open(path) as file:
            return np.array_equal(np.asarray(file), picture)
    except OSError:
        return False
