"""How fast pictures reach a training step: packed sets against a folder loader of the usual kind.

    python benchmarks/input_pipeline.py PHOTOS        # a folder of photographs, in any arrangement

The usual kind opens files with Pillow, resizes the shorter side to 256, takes a random crop of 224, flips,
makes a float tensor and normalises it, in two worker processes of torch's DataLoader (with torchvision's
transforms where it can be imported). The photographs are packed first, into a temporary folder, as arrays
and as JPEGs (`pack --quality 90`), and repeated by links to 2,000. Loaders take turns over whole epochs (five
at a time of the arrays, which are quick); pictures/s are medians.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from alexnet_tk.inference import find
from alexnet_tk.recipe import Recipe
from alexnet_tk.training import pack
from alexnet_tk.training.augment import EpochDraws
from alexnet_tk.training.batches import BatchReader
from alexnet_tk.training.dataset import FileSplit, from_folder
from alexnet_tk.training.packed import open_packed

PICTURES, BATCH, ROUNDS = 2_000, 128, 3
EPOCHS = 5  # of the packed arrays at a time; one alone takes a tenth of a second
QUALITY = 90  # of the packed JPEGs
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


class Usual(Dataset[tuple[Tensor, int]]):
    """A folder data set of the usual kind."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths
        try:
            from torchvision import transforms

            self.transform: Callable[[Image.Image], Tensor] = transforms.Compose(
                [
                    transforms.Resize(256),
                    transforms.RandomCrop(224),
                    transforms.RandomHorizontalFlip(),
                    transforms.ToTensor(),
                    transforms.Normalize(MEAN, STD),
                ]
            )
        except (ImportError, RuntimeError):  # it does not import beside every build of torch
            self.transform = plain_transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        with Image.open(self.paths[index]) as picture:
            return self.transform(picture.convert("RGB")), 0


def plain_transform(picture: Image.Image) -> Tensor:
    """Resize, random crop, flip, to float, normalise: what torchvision's transforms do."""
    scale = 256 / min(picture.size)
    picture = picture.resize(
        (round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BILINEAR
    )
    left, top = (int(torch.randint(0, side - 223, ())) for side in picture.size)
    picture = picture.crop((left, top, left + 224, top + 224))
    if torch.rand(()) < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    x = torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous().float().div(255)
    return (x - MEAN[:, None, None]) / STD[:, None, None]


def usual(paths: list[str]) -> Iterator[int]:
    """Batches of the usual loader; yields their sizes."""
    for pictures, _ in DataLoader(Usual(paths), BATCH, shuffle=True, num_workers=2):
        yield len(pictures)


def packed(folder: Path, epochs: int, to_float: bool) -> Iterator[int]:
    """Batches of the packed set, as uint8 crops or as the network's input; yields their sizes."""
    dataset, statistics = open_packed(folder)
    recipe = Recipe()
    reader = BatchReader(dataset.train, recipe.square)
    mean, std = torch.tensor(statistics.mean), torch.tensor(recipe.preprocess.std)
    for epoch in range(epochs):
        draws = EpochDraws.draw(recipe, epoch, len(dataset.train.targets), statistics)
        for batch in reader.batches(draws.order, BATCH, draws.crop, draws.changes):
            if to_float and batch.changes is not None:
                batch.changes.network_input(batch.pictures, mean, std, "RGB")
            yield len(batch.indices)


def rate(batches: Iterator[int]) -> float:
    """Pictures/s over a whole epoch."""
    begun = time.perf_counter()
    count = sum(batches)
    return count / (time.perf_counter() - begun)


def forget(paths: list[str]) -> None:
    """Ask the system to drop the files from its cache."""
    for path in paths:
        with Path(path).open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    """Pack, then time the loaders in turn."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", help="a folder of photographs")
    found = find([parser.parse_args().photos]).paths
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for number in range(PICTURES):
            source = Path(found[number % len(found)]).resolve()
            link = root / "photos" / f"class {number % 2}" / f"{number:05d}{source.suffix}"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(source)
        for form, quality in (("packed", None), ("jpegs", QUALITY)):
            begun = time.perf_counter()
            size = pack(root / "photos", root / form, quality=quality).num_bytes / PICTURES
            speed = PICTURES / (time.perf_counter() - begun)
            kind = "arrays" if quality is None else f"JPEGs of quality {quality}"
            print(f"packing as {kind}: {speed:,.0f} pictures/s, {size / 1e3:,.1f} KB each")
        _, statistics = open_packed(root / "packed")
        sigma = Recipe().augment.color_sigma * max(statistics.eigenvalues) ** 0.5
        print(f"σ of the colour shift along the first component: {sigma:.1f} grey levels")
        train = from_folder(root / "photos").train
        assert isinstance(train, FileSplit)
        loaders: dict[str, Callable[[], Iterator[int]]] = {
            "folder, usual loader, 2 workers": lambda: usual(train.paths),
            "packed, uint8 crops": lambda: packed(root / "packed", epochs, False),
            "packed, augmented to float on the CPU": lambda: packed(root / "packed", epochs, True),
            "packed JPEGs, uint8 crops": lambda: packed(root / "jpegs", 1, False),
            "packed JPEGs, augmented to float": lambda: packed(root / "jpegs", 1, True),
        }
        epochs = EPOCHS
        rates: dict[str, list[float]] = {each: [] for each in loaders}
        for counted in range(-1, ROUNDS):
            for each, batches in loaders.items():
                measured = rate(batches())
                if counted >= 0:
                    rates[each].append(measured)
        print("from the page cache:")
        report({each: median(measured) for each, measured in rates.items()})
        stored = [*found, str(root / "packed" / "train.npy"), str(root / "jpegs" / "train.jpg")]
        print("once, from a cold cache:")
        cold, epochs = {}, 1
        for each, batches in loaders.items():
            forget(stored)
            cold[each] = rate(batches())
        report(cold)


def report(rates: dict[str, float]) -> None:
    """A line for each loader, with its ratio to the first, and the arrays' ratio to the JPEGs."""
    first = next(iter(rates.values()))
    for each, value in rates.items():
        print(f"  {each:40} {value:10,.0f} pictures/s {value / first:7.1f}×")
    for what in ("uint8 crops", "augmented to float"):
        arrays, jpegs = (
            next(value for each, value in rates.items() if each.startswith(f"{form}, {what}"))
            for form in ("packed", "packed JPEGs")
        )
        print(f"  arrays against JPEGs, {what}: {arrays / jpegs:.1f}×")


if __name__ == "__main__":
    main()
