"""Pictures on their way through the network: what they may be, what they are called, what is kept of them."""

import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet_tk import images
from alexnet_tk.errors import PictureError
from alexnet_tk.inference.archives import Member
from alexnet_tk.inference.remote import is_url, open_url
from alexnet_tk.inference.sources import Unreadable

THUMBNAIL = 96  # pixels, the side

Item = TypeVar("Item")
Picture = str | os.PathLike[str] | Image.Image | NDArray[Any]


def open_picture(picture: Picture) -> images.Source:
    """What `images.load` takes; raises `PictureError`."""
    if isinstance(picture, Member):
        return io.BytesIO(picture.read())
    if isinstance(picture, Unreadable):
        raise PictureError(picture.reason)
    if isinstance(picture, str) and is_url(picture):
        return open_url(picture)
    return images.open_file(picture) if isinstance(picture, (str, os.PathLike)) else picture


def thumbnail(pixels: NDArray[np.uint8]) -> bytes:
    """A small JPEG of pixels uint8 (S, S, 3)."""
    file = io.BytesIO()
    picture = Image.fromarray(pixels)
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    picture.save(file, "JPEG", quality=75)
    return file.getvalue()


def name_of(picture: Picture, index: int) -> str:
    """What a picture is called in its record: its path, or its place."""
    if isinstance(picture, (str, os.PathLike)):
        return os.fspath(picture)
    name = getattr(picture, "filename", "") if isinstance(picture, Image.Image) else ""  # arrays may have one
    return name or f"picture {index}"


def in_batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """So many items at a time, and what is left at the end, be it an error."""
    part: list[Item] = []
    try:
        for each in items:
            part.append(each)
            if len(part) == size:
                yield part
                part = []
    except Exception:
        if part:
            yield part  # its answers are due before the error
        raise
    if part:
        yield part


@dataclass
class Batch:
    """A batch of paths: for each its error; for those without one, in the same order, all else."""

    paths: list[str]
    errors: list[str] = field(default_factory=list)
    views: list[NDArray[np.uint8]] = field(default_factory=list)  # (crops, S, S, 3), till they are answered
    probabilities: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    thumbnails: list[bytes] = field(default_factory=list)
    read: float = 0.0  # seconds
    decode: float = 0.0
    infer: float = 0.0

    def keep(self, rows: NDArray[np.float32]) -> None:
        """Take the answers in, (pictures, classes); a picture whose answer is not a number gets an error."""
        sound = np.asarray(np.isfinite(rows).all(axis=1))
        places = [place for place, error in enumerate(self.errors) if not error]
        for row in np.flatnonzero(~sound):
            self.errors[places[row]] = "the network's answer is not a number"
        self.probabilities = rows[sound]
        self.thumbnails = [each for each, good in zip(self.thumbnails, sound, strict=True) if good]
        self.views.clear()
