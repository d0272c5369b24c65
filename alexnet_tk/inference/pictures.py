"""Pictures as callers give them, and as they go through the network in batches."""

import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet_tk import images
from alexnet_tk.archives import Member
from alexnet_tk.errors import PictureError
from alexnet_tk.found import Unreadable
from alexnet_tk.inference.remote import is_url, open_url

THUMBNAIL = 96  # pixels, the longer side

Item = TypeVar("Item")
Picture = str | os.PathLike[str] | Image.Image | NDArray[Any]


@dataclass
class Decoded:
    """A picture that was decoded, then answered; or an error and nothing else."""

    path: str
    error: str = ""
    views: NDArray[np.uint8] | None = None  # (crops, S, S, 3), until it is answered
    thumbnail: bytes = field(default=b"", repr=False)  # JPEG, where it was asked for
    probabilities: NDArray[np.float32] | None = None  # (classes,), once it is answered
    # Where they were asked for: f7's activations (units,); what the answer rests on, laid over the picture as
    # the network saw it, in a JPEG and in a thumbnail.
    features: NDArray[np.float32] | None = None
    heat_map: bytes = field(default=b"", repr=False)
    heat_thumbnail: bytes = field(default=b"", repr=False)


@dataclass
class Batch:
    """Pictures that go through the network together, and the seconds that each stage took for them."""

    pictures: list[Decoded] = field(default_factory=list)
    read: float = 0.0
    decode: float = 0.0
    infer: float = 0.0


def each_of(pictures: Picture | Iterable[Picture]) -> Iterable[Picture]:
    """Each picture of those that are given: one alone, many, or an array (N, H, W, 3) or (N, H, W) of N."""
    given: object = pictures
    if isinstance(given, (bytes, bytearray, memoryview)):
        raise TypeError(f"{type(given).__name__} is no picture; give io.BytesIO of it, a path or an array")
    if isinstance(pictures, (str, os.PathLike, Image.Image)) or hasattr(given, "read"):
        return [pictures]  # type: ignore[list-item]
    if isinstance(pictures, np.ndarray) and (pictures.ndim < 3 or _is_colour(pictures)):
        return [pictures]
    return pictures


def _is_colour(array: NDArray[Any]) -> bool:
    return array.ndim == 3 and array.shape[-1] in (1, 2, 3, 4)


def open_picture(picture: Picture) -> images.Source:
    """A source for `images.load`; raises `PictureError`."""
    if isinstance(picture, Member):
        return io.BytesIO(picture.read())
    if isinstance(picture, Unreadable):
        raise PictureError(picture.reason)
    if isinstance(picture, str) and is_url(picture):
        return open_url(picture)
    return images.open_file(picture) if isinstance(picture, (str, os.PathLike)) else picture


def thumbnail(pixels: NDArray[np.uint8]) -> bytes:
    """A small JPEG of pixels uint8 (S, S, 3)."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    return jpeg(picture, 75)


def jpeg(picture: Image.Image, quality: int) -> bytes:
    """The picture as a JPEG file."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def name_of(picture: Picture, index: int) -> str:
    """The path of a picture in its record, or "picture N" where it has none."""
    if isinstance(picture, (str, os.PathLike)):
        return os.fspath(picture)
    name = getattr(picture, "filename", "") if isinstance(picture, Image.Image) else ""  # arrays may have one
    return name or f"picture {index}"


def in_batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items, the last one shorter; an error of `items` comes after the items before it."""
    batch: list[Item] = []
    try:
        for item in items:
            batch.append(item)
            if len(batch) == size:
                yield batch
                batch = []
    except Exception:
        if batch:
            yield batch
        raise
    if batch:
        yield batch
