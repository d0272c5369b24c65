"""From a picture's file to the pixels that a network takes: uint8, RGB, one square of fixed size.

The same function serves training, export's proof and prediction, so they can't differ.
"""

import io
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from alexnet_tk.errors import PictureError

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

# What undoes each orientation of EXIF. Pillow's exif_transpose does the same and also writes the tags
# anew, which fails where any other of them is broken.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Formats whose files Pillow recognises by their first bytes and has no decoder for.
_UNREADABLE_FORMATS = {"BUFR", "GRIB", "HDF5", "MPEG"}

WHOLE = 2**26  # bytes; a larger file is read as the decoder asks for it, so that no file fills the memory

COPYING = threading.Lock()  # a Pillow image that was opened and not read yet is read by one thread at a time

Source = str | os.PathLike[str] | IO[bytes] | Image.Image | NDArray[Any]


@cache
def endings() -> frozenset[str]:
    """The endings, in lower case with their dot, of the files that count as pictures in a folder."""
    return frozenset(
        ending
        for ending, kind in Image.registered_extensions().items()
        if kind in Image.OPEN and kind not in _UNREADABLE_FORMATS
    )


def load(source: Source, resize: int, crop: int, filter: str = "bilinear") -> NDArray[np.uint8]:
    """Open, orient, convert, scale and centre-crop a picture.

    Parameters
    ----------
    source
        a path, an open binary file, a Pillow image, or an array as `PIL.Image.fromarray` takes it
    resize
        the length of the shorter side after scaling, pixels
    crop
        the side of the square that is cut out of the centre, pixels, at most `resize`
    filter
        how it is scaled, one of `FILTERS`

    Returns
    -------
    uint8 (crop, crop, 3), red, green, blue

    Raises
    ------
    PictureError
        the file is missing, empty, no picture, broken or too large; the message is the reason

    """
    if isinstance(source, (str, os.PathLike)):
        with open_file(source) as file:
            return load(file, resize, crop, filter)
    with _one_reason():
        if isinstance(source, np.ndarray):
            source = Image.fromarray(source)
        if isinstance(source, Image.Image):
            with COPYING:
                own = source.copy()  # the caller's stays as it is
            return fit(own, resize, crop, filter)
        with Image.open(source) as picture:
            return fit(picture, resize, crop, filter)


def open_file(path: str | os.PathLike[str]) -> IO[bytes]:
    """A file for `load`, read into memory unless it is very large; raises `PictureError`."""
    with _one_reason():
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116
            # Opening a pipe that nobody writes to would never end.
            raise PictureError("not a file but a folder, pipe or device")
        file = open(path, "rb", buffering=0)  # noqa: PTH123, SIM115  a path may be no UTF-8
        size = os.fstat(file.fileno()).st_size
        if size > WHOLE:
            return file
        with file:
            content = file.read()
        if not content:
            raise PictureError("empty file")
        return io.BytesIO(content)


@contextmanager
def _one_reason() -> Iterator[None]:
    """Turns what opening and decoding raise into a `PictureError` whose message is the reason."""
    try:
        yield
    except PictureError:
        raise
    except FileNotFoundError:
        raise PictureError("no such file") from None
    except PermissionError:
        raise PictureError("no permission to read it") from None
    except UnidentifiedImageError:
        raise PictureError("not a picture that Pillow can read") from None
    except Image.DecompressionBombError:
        raise PictureError(f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels") from None
    except Exception as error:
        # Decoders meet broken files with whatever comes to hand: OSError, ValueError, SyntaxError,
        # struct.error, IndexError, … One picture's rubbish must not end a night's run.
        message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = " ".join(message.split()) or type(error).__name__
        kind = "truncated" if "truncated" in reason.lower() else "broken picture"
        raise PictureError(f"{kind}: {reason}") from error


def fit(picture: Image.Image, resize: int, crop: int, filter: str = "bilinear") -> NDArray[np.uint8]:
    """As `load`, for a picture that Pillow has opened or made; decoding errors are Pillow's own."""
    shorter = min(picture.size)
    if not shorter:
        raise PictureError("no pixels")
    if shorter > resize:
        # A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that still covers what is needed.
        scale = resize / shorter
        picture.draft(None, (round(picture.width * scale), round(picture.height * scale)))
    picture = to_rgb(_upright(picture))

    # The centre square is scaled by one resize, and the crop is cut out of it: what prediction sees is what
    # training cut out of the squares it keeps, pixel for pixel.
    side = min(picture.size)
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    square = picture.resize((resize, resize), FILTERS[filter], box=(left, top, left + side, top + side))
    margin = (resize - crop) // 2
    return np.asarray(square)[margin : margin + crop, margin : margin + crop]


def ten_crops(picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The views of the paper's evaluation (section 4.1): four corners and the centre, then their mirrors.

    uint8 (10, S, S, 3) of (R, R, 3); a network's answer is the mean of its softmax over them.
    """
    far, middle = picture.shape[0] - size, (picture.shape[0] - size) // 2
    corners = ((0, 0), (0, far), (far, 0), (far, far), (middle, middle))
    views = np.stack([picture[top : top + size, left : left + size] for top, left in corners])
    return np.concatenate([views, views[:, :, ::-1]])


def _upright(picture: Image.Image) -> Image.Image:
    """The picture turned as its orientation tag says; a tag that can't be read counts as none."""
    try:
        turn = _TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a broken table of tags is met with as many errors as a broken picture
        return picture
    return picture if turn is None else picture.transpose(turn)


def to_rgb(picture: Image.Image) -> Image.Image:
    """The picture in mode RGB: 16 bits and 0..1 scaled to 8 bits, transparent parts on white."""
    if picture.mode == "F":
        numbers = np.asarray(picture)
        scale = 255 if numbers.max(initial=0) <= 1 else 1  # 0..1 and 0..255 are the usual ranges
        picture = Image.fromarray((numbers * scale).round().clip(0, 255).astype(np.uint8))
    if picture.mode.startswith("I"):  # 16 bits for a channel, held in 16 or 32; convert() would clip at 255
        wide = np.asarray(picture).astype(np.int64)
        if wide.max(initial=0) > 65_535:
            raise PictureError("pixels of more than 16 bits; save it with 8 or 16")
        if picture.mode != "I" or wide.max(initial=0) > 255:
            wide >>= 8
        picture = Image.fromarray(wide.clip(0, 255).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return picture if picture.mode == "RGB" else picture.convert("RGB")
