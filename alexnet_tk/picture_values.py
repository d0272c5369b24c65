"""What the values of a picture's pixels mean: black and white of each mode, from what its file says.

Never from the values that happen to be in it: a dark picture of 16 bits is not a bright one of 8.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet_tk.errors import PictureError

TOLERANCE = 0.01  # of the range: how far floats may lie beyond it, as resampling leaves them

# TIFF 6.0, sections 8 and 19
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT, _LOWEST, _HIGHEST = 258, 262, 339, 340, 341
_SIGNED = 2

# Pillow compares PNG's transparent grey or colour with the pixels, but only some of these depths have values
# of the file: factors for the others.
_TRANSPARENCY_FACTORS = {"L;2": 85, "L;4": 17, "RGB;16B": 1 / 256}


@dataclass(frozen=True)
class Values:
    """The meaning of a picture's values, which Pillow knows only until the picture is decoded."""

    range: tuple[float, float] | None = None  # black and white; None: 0 and 255, or not known
    transparent: Any = None  # what stands in `info` for transparency, where Pillow has it wrong
    signed: bool = False  # 8 bits, -128 to 127

    @classmethod
    def of(cls, picture: Image.Image) -> "Values":
        """Those of a picture that is opened and not yet decoded."""
        tags = getattr(picture, "tag_v2", {})
        if picture.mode[:1] not in ("I", "F"):
            _refuse_narrow_colour(tags)
            signed = picture.mode == "L" and _SIGNED in _numbers(tags.get(_SAMPLE_FORMAT))
            return cls(None, _transparent(picture), signed)
        known = _stated(tags) or _usual(picture, tags)
        if known is not None and _numbers(tags.get(_PHOTOMETRIC)) == [0]:
            known = known[::-1]  # white is zero; Pillow inverts 8 bits and no others
        return cls(known)

    @property
    def plain(self) -> bool:
        """Whether Pillow's own conversion to 8 bits is right."""
        return self == Values()


def to_8_bits(picture: Image.Image, values: Values) -> Image.Image:
    """The decoded picture in mode L or RGB: every depth scaled to 8 bits, transparency on white.

    Raises
    ------
    PictureError
        nothing says which values are black and white, or there are others beyond

    """
    if picture.mode[:1] in ("I", "F"):
        picture = _grey(picture, values.range)
    elif picture.mode in ("La", "RGBa"):
        picture = picture.convert(picture.mode.upper())
    if values.signed:
        picture = picture.point([value ^ 128 for value in range(256)])
    if values.transparent is not None:
        picture.info["transparency"] = values.transparent
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return picture if picture.mode in ("L", "RGB") else picture.convert("RGB")


def _stated(tags: Any) -> tuple[float, float] | None:
    """The range that a TIFF states; a lowest value alone states none."""
    highest, lowest = _numbers(tags.get(_HIGHEST)), _numbers(tags.get(_LOWEST)) or [0.0]
    if highest and np.isfinite([lowest[0], highest[0]]).all() and lowest[0] < highest[0]:
        return lowest[0], highest[0]
    return None


def _refuse_narrow_colour(tags: Any) -> None:
    """Raise `PictureError` for colour of 16 bits of which fewer are used: Pillow drops the lower 8."""
    stated = _stated(tags)
    if 16 in _numbers(tags.get(_BITS)) and stated is not None and stated != (0.0, 65_535.0):
        raise PictureError(
            f"colour of 16 bits whose tags state values from {stated[0]:.6g} to {stated[1]:.6g}; "
            "scale it to 8 bits, or to all 16"
        )


def _usual(picture: Image.Image, tags: Any) -> tuple[float, float] | None:
    """The range of a mode where the file states none."""
    bits = (_numbers(tags.get(_BITS)) or [0.0])[0]
    if picture.mode == "F":
        return 0.0, 1.0
    if picture.format == "FITS":
        return None  # its numbers are signed, or BZERO shifts them, and Pillow does not tell
    if picture.mode != "I":
        return 0.0, 2.0 ** (bits or 16) - 1
    if picture.format in ("PPM", "PNG"):  # Pillow scales every maximum of PGM to this one
        return 0.0, 65_535.0
    return (-32_768.0, 32_767.0) if bits == 16 else None


def _grey(picture: Image.Image, known: tuple[float, float] | None) -> Image.Image:
    """A picture of one wide channel in mode L, or in LA where one of its values is transparent."""
    numbers = np.asarray(picture)
    if known is None:
        raise PictureError(
            "integers without a known range; save it with 8 or 16 bits, or as a TIFF with the tags "
            "SMinSampleValue and SMaxSampleValue"
        )
    lowest, highest = min(known), max(known)
    if picture.mode == "F":
        numbers = np.nan_to_num(numbers, nan=lowest, posinf=np.inf, neginf=-np.inf)
    elif lowest >= 0 and highest > np.iinfo(np.int32).max:
        numbers = numbers.astype(np.int64) % 2**32  # Pillow takes unsigned 32 bits for signed ones
    _refuse_beyond(numbers, lowest, highest, is_tagged=picture.format == "TIFF")
    grey = _to_8_bits(numbers, lowest, highest)
    if known[0] > known[1]:
        grey = 255 - grey
    transparent = picture.info.get("transparency")
    if not isinstance(transparent, int):
        return Image.fromarray(grey)
    opaque = np.where(numbers == transparent, 0, 255).astype(np.uint8)
    return Image.merge("LA", [Image.fromarray(grey), Image.fromarray(opaque)])


def _refuse_beyond(numbers: NDArray[Any], lowest: float, highest: float, is_tagged: bool) -> None:
    found = float(numbers.min(initial=lowest)), float(numbers.max(initial=highest))
    margin = TOLERANCE * (highest - lowest) if numbers.dtype.kind == "f" else 0
    if found[0] < lowest - margin or found[1] > highest + margin:
        tags = ", or state their range in the tags SMinSampleValue and SMaxSampleValue" if is_tagged else ""
        raise PictureError(
            f"values from {numbers.min():.6g} to {numbers.max():.6g} where {lowest:.6g} to {highest:.6g} are "
            f"expected; scale them{tags}"
        )


def _to_8_bits(numbers: NDArray[Any], lowest: float, highest: float) -> NDArray[np.uint8]:
    """The whole range on 0..255: integers lose their lower bits, as Pillow's RGB of 16 bits does."""
    levels = highest - lowest + 1
    if numbers.dtype.kind != "f" and levels >= 256 and np.log2(levels).is_integer():
        return ((numbers.astype(np.int64) - int(lowest)) * 256 // int(levels)).astype(np.uint8)
    fraction = (numbers.astype(np.float64) - lowest) / (highest - lowest)
    return (fraction * 255).round().clip(0, 255).astype(np.uint8)


def _transparent(picture: Image.Image) -> Any:
    """The transparent grey or colour of a PNG at the depth of its pixels; None where Pillow has it right."""
    stated, tiles = picture.info.get("transparency"), getattr(picture, "tile", ())
    if picture.format != "PNG" or stated is None or not tiles:
        return None
    factor = _TRANSPARENCY_FACTORS.get(tiles[0].args if isinstance(tiles[0].args, str) else "")
    if factor is None:
        return None
    return tuple(int(each * factor) for each in stated) if isinstance(stated, tuple) else int(stated * factor)


def _numbers(value: Any) -> list[float]:
    """A TIFF tag's numbers; none where it is missing or something else."""
    each = value if isinstance(value, tuple) else (value,)
    try:
        return [float(number) for number in each if number is not None]
    except (TypeError, ValueError):
        return []
