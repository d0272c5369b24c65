"""The pictures that calibrate an int8 file, and those on which a file's answers are compared."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet_tk import images, sample
from alexnet_tk.errors import InputError, PictureError
from alexnet_tk.found import evenly_spaced
from alexnet_tk.inference.sources import find
from alexnet_tk.preprocess import Square
from alexnet_tk.training.checkpoint import Checkpoint


@dataclass(frozen=True)
class Pictures:
    """Pictures as the network takes them."""

    pixels: NDArray[np.uint8]  # (N, S, S, 3)
    source: str  # their origin, in words that follow their number

    @classmethod
    def from_folder(cls, folder: Path, square: Square, limit: int) -> "Pictures":
        """At most `limit` pictures, evenly spaced over the folder; unreadable ones are left out.

        Raises
        ------
        InputError
            no such folder, or no readable picture in it

        """
        found = find([folder])
        paths = found.paths
        pixels = []
        failure = "" if paths else f": {found.instead_of_pictures()}"
        for index in evenly_spaced(len(paths), limit):
            try:
                pixels.append(images.load(paths[index], square))
            except PictureError as error:
                failure = f" ({paths[index]}: {error})"
        if not pixels:
            raise InputError(f"{folder} holds no readable picture{failure}; name a folder of pictures")
        return cls(np.stack(pixels), f"pictures of the folder {folder.resolve().name}")

    @classmethod
    def from_sample(cls, split: sample.Split, square: Square, limit: int) -> "Pictures":
        """At most `limit` of the built-in pictures, evenly spaced."""
        grey, _ = sample.pictures(split)
        pixels = [images.load(grey[index], square) for index in evenly_spaced(len(grey), limit)]
        name = {"train": "training", "val": "validation"}[split]
        return cls(np.stack(pixels), f"built-in Fashion-MNIST {name} pictures")

    @classmethod
    def generated(cls, square: Square, count: int) -> "Pictures":
        """Coloured clouds, the same in every run: noise of 2×2 to 32×32 pixels, scaled up and averaged."""
        random = np.random.default_rng(0)
        side = square.crop
        pixels = []
        for _ in range(count):
            total = np.zeros((side, side, 3))
            for cells in (2, 8, 32):
                noise = Image.fromarray(random.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
                total += np.asarray(noise.resize((side, side), Image.Resampling.BICUBIC))
            pixels.append(images.load((total / 3).astype(np.uint8), square))
        return cls(np.stack(pixels), "generated pictures")


def has_sample_labels(checkpoint: Checkpoint) -> bool:
    """Whether the checkpoint's classes are those of the built-in pictures."""
    return checkpoint.labels == list(sample.LABELS)
