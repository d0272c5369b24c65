"""The built-in pictures: a balanced subset of Fashion-MNIST, 6,000 for training and 1,000 for validation.

Fashion-MNIST is by Zalando SE and under the MIT licence; the licence is beside the data file, which
scripts/make_sample.py generates.
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

# Sorted, as class folders are, so that training on the sample and on its files gives the same network.
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
    """A split's pictures, grey, uint8 (N, 28, 28), and their classes, int64 (N,), indices into `LABELS`."""
    with (
        resources.as_file(resources.files("alexnet_tk") / "data" / "fashion_mnist.npz") as path,
        np.load(path) as file,
    ):
        return file[f"{split}_pictures"], file[f"{split}_classes"].astype(np.int64)


def write_pictures(folder: Path) -> int:
    """Write the validation pictures to folder/<class>/0000.png, 0001.png, …; return their number.

    Files that already hold the same pictures are left alone.

    Raises
    ------
    OutputError
        the folder can't be created, a picture can't be written, or a different file has its name

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
                raise OutputError(f"{path} exists already and is a different picture; choose another folder")
            continue
        with replacing(path) as part:
            Image.fromarray(picture).save(part, format="PNG")
    return len(grey)


def _holds(path: Path, picture: NDArray[np.uint8]) -> bool:
    """Whether the file holds exactly this picture."""
    try:
        with Image.open(path) as file:
            return np.array_equal(np.asarray(file), picture)
    except OSError:
        return False
