"""Decode a picture to the pixels that a network takes: uint8, RGB, a square of fixed size.

Training, the verification of an export and prediction all use `load`, so they can't differ.
"""

import io
import os
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from alexnet_tk.choices import Filter
from alexnet_tk.errors import PictureError
from alexnet_tk.files import PLACEHOLDER, placeholder
from alexnet_tk.jpeg_file import START, WatchedJpeg, sound_jpeg
from alexnet_tk.picture_values import Values, to_8_bits
from alexnet_tk.png_file import SIGNATURE, sound_png
from alexnet_tk.preprocess import Square

FILTERS: dict[Filter, Image.Resampling] = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

# Incremented whenever some file decodes to other pixels. Outputs record it, and a resumed run must match it.
DECODING_REVISION = 2

# The transposition that undoes each EXIF orientation. Pillow's exif_transpose does the same, but it also
# rewrites the tags, which fails if any other tag is broken.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Formats that Pillow recognises by their first bytes but has no decoder for.
_UNREADABLE_FORMATS = {"BUFR", "GRIB", "HDF5", "MPEG"}

# Pillow reads files with these endings without registering them: JPEG (.mpo holds several), FITS, BigTIFF.
_UNREGISTERED_ENDINGS = frozenset({".mpo", ".jif", ".jfi", ".jps", ".fts", ".btf"})

WHOLE = 2**26  # bytes; a larger file is streamed to the decoder, so that no file fills the memory

MAX_PIXELS = "ALEXNET_TK_MAX_PIXELS"  # the environment variable that allows larger pictures than Pillow does

COPYING = threading.Lock()  # copying a lazily opened Pillow image reads its file, which is not thread-safe

Source = str | os.PathLike[str] | IO[bytes] | Image.Image | NDArray[Any]


@cache
def endings() -> frozenset[str]:
    """The file endings that mark a picture in a folder, in lower case with their dot."""
    register_plugins()
    registered = Image.registered_extensions().items()
    return _UNREGISTERED_ENDINGS.union(
        ending for ending, kind in registered if kind in Image.OPEN and kind not in _UNREADABLE_FORMATS
    )


@cache
def register_plugins() -> None:
    """Let Pillow read HEIF through pillow-heif, if that is installed."""
    try:
        import pillow_heif
    except (ImportError, OSError):  # OSError: a shared library is missing
        return
    pillow_heif.register_heif_opener()


def load(
    source: Source, square: Square | int, crop: int | None = None, filter: Filter = "bilinear"
) -> NDArray[np.uint8]:
    """Decode a picture: open, orient, convert to RGB, scale and centre-crop.

    Parameters
    ----------
    source
        a path, an open binary file, a Pillow image, or an array as `PIL.Image.fromarray` takes it
    square
        how the picture is scaled and cropped; a `Preprocess` is a `Square` too
    crop, filter
        deprecated: those of version 0.1.0, where `square` is `resize`

    Returns
    -------
    uint8 (crop, crop, 3), RGB

    Raises
    ------
    PictureError
        the file is missing, empty, broken, too large or not a picture; the message is the reason

    """
    if not isinstance(square, Square):
        message = "images.load(source, resize, crop, filter) is deprecated; pass Square(resize, crop, filter)"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        square = Square(square, square if crop is None else crop, filter)
    if isinstance(source, (str, os.PathLike)):
        with open_file(source) as file:
            return load(file, square)
    with _one_reason():
        if isinstance(source, np.ndarray):
            source = _from_array(source)
        if isinstance(source, Image.Image):
            values = Values.of(source)
            with COPYING:
                copy = source.copy()  # decoding changes it
            return _fit(copy, values, square)
        register_plugins()
        _allow_pixels()
        file = _sound(source)
        try:
            return _decode(file, square)
        except PictureError:
            if not isinstance(file, WatchedJpeg) or (again := file.exactly()) is None:
                raise
        except UnidentifiedImageError:
            raise PictureError(_instead_of_picture(file)) from None
        return _decode(again, square)


def open_file(path: str | os.PathLike[str]) -> IO[bytes]:
    """Open a file for `load`, read into memory unless it is very large; raises `PictureError`."""
    with _one_reason():
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116
            # Opening a pipe without a writer would block forever.
            raise PictureError("not a file but a folder, pipe or device")
        file = open(path, "rb", buffering=0)  # noqa: PTH123, SIM115  a path may not be UTF-8
        size = os.fstat(file.fileno()).st_size
        if size > WHOLE:
            return file
        with file:
            content = file.read()
        if not content:
            raise PictureError("empty file")
        return io.BytesIO(content)


def _sound(file: IO[bytes]) -> IO[bytes]:
    """The file without what Pillow refuses needlessly; raises `PictureError` for what Pillow ignores."""
    if not hasattr(file, "read"):
        raise PictureError(
            f"{type(file).__name__} is no picture; give a path, an open file, an image or an array"
        )
    try:
        file.seek(0)
    except (AttributeError, OSError):
        file = io.BytesIO(file.read())
    begin = file.read(len(SIGNATURE))
    if begin == SIGNATURE:
        return sound_png(file)
    file.seek(0)
    return sound_jpeg(file) if begin.startswith(START) and isinstance(file, io.BytesIO) else file


def _instead_of_picture(file: IO[bytes]) -> str:
    """What a file is that Pillow does not know."""
    file.seek(0)
    return placeholder(file.read(PLACEHOLDER), "picture") or "not a picture that Pillow can read"


def _from_array(array: NDArray[Any]) -> Image.Image:
    """The picture of an array (H, W) or (H, W, channels); raises `PictureError`."""
    colour = array.ndim == 3 and array.shape[-1] in (2, 3, 4)
    grey = array.ndim == 2 or (array.ndim == 3 and array.shape[-1] == 1)
    if not (grey or colour) or (colour and array.dtype != np.uint8):
        raise PictureError(
            f"an array of {array.dtype} {array.shape}; a picture is uint8 (H, W, 3), or (H, W) for grey"
        )
    return Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array)


def _allow_pixels() -> None:
    """Take over the limit that the environment sets; Pillow refuses twice the number that it is given."""
    if asked := os.environ.get(MAX_PIXELS):
        if not asked.isdecimal():
            raise PictureError(f"{MAX_PIXELS} is {asked!r}; set it to a whole number, or unset it")
        Image.MAX_IMAGE_PIXELS = int(asked) // 2


@contextmanager
def _one_reason() -> Iterator[None]:
    """Convert whatever opening and decoding raise into a `PictureError` whose message is the reason."""
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
        limit = f"{2 * (Image.MAX_IMAGE_PIXELS or 0):,}"
        raise PictureError(f"more than {limit} pixels; set {MAX_PIXELS} to allow more") from None
    except Exception as error:
        # Decoders raise all sorts of errors on broken files: OSError, ValueError, SyntaxError,
        # struct.error, IndexError, … One broken picture must not end a long run.
        message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = " ".join(message.split()) or type(error).__name__
        kind = "truncated" if "truncated" in reason.lower() else "broken picture"
        raise PictureError(f"{kind}: {reason}") from error


def _decode(file: IO[bytes], square: Square) -> NDArray[np.uint8]:
    """`load` for a file; raises Pillow's own decoding errors."""
    with Image.open(file) as picture:
        return _fit(picture, Values.of(picture), square, file)


def _fit(
    picture: Image.Image, values: Values, square: Square, file: IO[bytes] | None = None
) -> NDArray[np.uint8]:
    """`load` for a Pillow image; raises Pillow's own decoding errors."""
    resize, shorter = square.resize, min(picture.size)
    if not shorter:
        raise PictureError("no pixels")
    if shorter > resize:
        # A JPEG is decoded at 1/2, 1/4 or 1/8 of its size if that is still large enough.
        scale = resize / shorter
        picture.draft(None, (round(picture.width * scale), round(picture.height * scale)))
    picture = _upright(picture)
    if isinstance(file, WatchedJpeg):
        file.refuse_rest()
    picture = to_8_bits(picture, values)

    # One resize scales the centre square, and the crop is cut out of the result. Training cuts its crops out
    # of the same scaled squares, so prediction sees the same pixels as training.
    side = min(picture.size)
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    box = (left, top, left + side, top + side)
    scaled = picture.resize((resize, resize), FILTERS[square.filter], box=box)
    if scaled.mode == "L":  # not before: three equal channels are scaled to the same, three times as slowly
        scaled = scaled.convert("RGB")
    return square.centre(np.asarray(scaled))  # type: ignore[no-any-return]


def ten_crops(picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The ten crops of the paper's evaluation (section 4.1): four corners and the centre, then their mirrors.

    Takes uint8 (R, R, 3) and returns uint8 (10, size, size, 3). The paper's prediction is the mean of the
    softmax over the ten.
    """
    far, middle = picture.shape[0] - size, (picture.shape[0] - size) // 2
    corners = ((0, 0), (0, far), (far, 0), (far, far), (middle, middle))
    views = np.stack([picture[top : top + size, left : left + size] for top, left in corners])
    return np.concatenate([views, views[:, :, ::-1]])


def _upright(picture: Image.Image) -> Image.Image:
    """The decoded picture turned upright by its EXIF orientation; an unreadable tag is ignored.

    Pillow turns TIFF files by itself when it decodes them, and removes the tag: asked before, it would count
    twice.
    """
    picture.load()
    try:
        turn = _TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # broken tags raise as many kinds of errors as broken pictures
        return picture
    return picture if turn is None else picture.transpose(turn)


def decodes_since(source: Source) -> int:
    """The `DECODING_REVISION` since which a picture has the pixels that it has now; raises `PictureError`.

    Only its header is read.
    """
    if isinstance(source, (str, os.PathLike)):
        with open_file(source) as file:
            return decodes_since(file)
    with _one_reason():
        if isinstance(source, np.ndarray):
            source = _from_array(source)
        if isinstance(source, Image.Image):
            return _decodes_since(source)
        _allow_pixels()
        with Image.open(_sound(source)) as picture:
            return _decodes_since(picture)


def _decodes_since(picture: Image.Image) -> int:
    """Revision 2 reads the depth of wide and signed pixels from the file, and turns TIFF files once."""
    turned = getattr(picture, "tag_v2", {}).get(ExifTags.Base.Orientation, 1) != 1
    wide = picture.mode[:1] in ("I", "F") or picture.mode in ("La", "RGBa")
    return 2 if turned or wide or not Values.of(picture).plain else 1
