"""The pictures on which an exported file is calibrated and proven."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet_tk import images, sample
from alexnet_tk.errors import InputError, PictureError
from alexnet_tk.inference.sources import find
from alexnet_tk.training.checkpoint import Checkpoint


@dataclass(frozen=True)
class Pictures:
    """Pictures as a network's file takes them, uint8 (N, S, S, 3), and in words where they are from."""

    pixels: NDArray[np.uint8]
    source: str

    @classmethod
    def from_folder(cls, folder: Path, checkpoint: Checkpoint, most: int) -> "Pictures":
        """At most so many pictures of a folder, evenly spread over it; what can't be read is passed over.

        Raises
        ------
        InputError
            no such folder, or no picture in it that can be read

        """
        paths = find([folder]).paths
        pixels = []
        error = ""
        for index in _spread(len(paths), most):
            network, preprocess = checkpoint.recipe.network, checkpoint.recipe.preprocess
            try:
                pixels.append(
                    images.load(paths[index], preprocess.resize, network.image_size, preprocess.filter)
                )
            except PictureError as reason:
                error = f"; {paths[index]}: {reason}"
        if not pixels:
            raise InputError(f"no picture in {folder} can be read{error}; name a folder of pictures")
        return cls(np.stack(pixels), f"pictures of the folder {folder.resolve().name}")

    @classmethod
    def from_sample(cls, split: sample.Split, checkpoint: Checkpoint, most: int) -> "Pictures":
        """At most so many of the built-in pictures."""
        grey, _ = sample.pictures(split)
        taken = [Image.fromarray(grey[index]) for index in _spread(len(grey), most)]
        name = {"train": "training", "val": "validation"}[split]
        return cls(_fit(taken, checkpoint), f"built-in Fashion-MNIST {name} pictures")

    @classmethod
    def generated(cls, checkpoint: Checkpoint, count: int) -> "Pictures":
        """Coloured clouds: random numbers of 2×2 to 32×32 pixels, scaled up and added; always the same."""
        random = np.random.default_rng(0)
        side = checkpoint.recipe.network.image_size
        made = []
        for _ in range(count):
            total = np.zeros((side, side, 3))
            for cells in (2, 8, 32):
                cloud = Image.fromarray(random.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
                total += np.asarray(cloud.resize((side, side), Image.Resampling.BICUBIC))
            made.append(Image.fromarray((total / 3).astype(np.uint8)))
        return cls(_fit(made, checkpoint), "generated pictures")


def knows_the_sample(checkpoint: Checkpoint) -> bool:
    """Whether the built-in pictures are of the checkpoint's classes."""
    return checkpoint.labels == list(sample.LABELS)


def _fit(pictures: list[Image.Image], checkpoint: Checkpoint) -> NDArray[np.uint8]:
    size, preprocess = checkpoint.recipe.network.image_size, checkpoint.recipe.preprocess
    return np.stack([images.fit(each, preprocess.resize, size, preprocess.filter) for each in pictures])


def _spread(count: int, most: int) -> list[int]:
    """At most so many of `count` indices, evenly spread."""
    return [i * count // min(count, most) for i in range(min(count, most))]
