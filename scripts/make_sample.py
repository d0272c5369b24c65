"""Make alexnet_tk/data/fashion_mnist.npz from the Debian package dataset-fashion-mnist.

    apt-get install dataset-fashion-mnist
    python scripts/make_sample.py

It holds the first 600 training and the first 100 test pictures of each class, in the original's order.
The same input gives the same bytes, since the archive's time stamps are fixed.
"""

import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet_tk.sample import LABELS

SOURCE = Path("/usr/share/datasets/fashion-mnist")
OUTPUT = Path(__file__).parent.parent / "alexnet_tk" / "data" / "fashion_mnist.npz"
PER_CLASS = {"train": ("train", 600), "val": ("t10k", 100)}

# The original's classes in its order. "T-shirt/top" is shortened: a label never holds a slash.
ORIGINAL = (
    "T-shirt",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array of unsigned bytes in an IDX file: two zeros, the type 8, the rank, the sizes, the data."""
    data = gzip.decompress(path.read_bytes())
    if data[:3] != b"\0\0\x08":
        raise ValueError(f"{path} is not an IDX file of unsigned bytes")
    rank = data[3]
    shape = np.frombuffer(data, dtype=">u4", count=rank, offset=4)
    return np.frombuffer(data, dtype=np.uint8, offset=4 + 4 * rank).reshape(shape)


def main() -> None:
    """Select the pictures and write the archive."""
    arrays: dict[str, NDArray[np.uint8]] = {}
    for split, (name, per_class) in PER_CLASS.items():
        pictures = read_idx(SOURCE / f"{name}-images-idx3-ubyte.gz")
        classes = read_idx(SOURCE / f"{name}-labels-idx1-ubyte.gz")
        taken = np.sort(
            np.concatenate([np.flatnonzero(classes == index)[:per_class] for index in range(len(ORIGINAL))])
        )
        arrays[f"{split}_pictures"] = pictures[taken]
        arrays[f"{split}_classes"] = np.array(
            [LABELS.index(ORIGINAL[index]) for index in classes[taken]], np.uint8
        )

    with zipfile.ZipFile(OUTPUT, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for key, array in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{key}.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED, 9)
    print(f"{OUTPUT}: {OUTPUT.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
