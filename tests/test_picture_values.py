"""One scene, stored in every format, mode, depth and orientation, decodes to the same square."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from alexnet_tk import images
from alexnet_tk.errors import PictureError
from alexnet_tk.preprocess import Square

SQUARE = Square(48, 48, "bilinear")
HIGHEST, LOWEST, PHOTOMETRIC = 341, 340, 262


def grey_scene() -> NDArray[np.uint8]:
    """64 × 48 greys, smooth, and none of its eight orientations like another."""
    y, x = np.mgrid[:48, :64]
    return np.asarray(20 + 2 * x + y + 40 * (x > 40) * (y < 16), dtype=np.uint8)


def scene(mode: str = "RGB") -> Image.Image:
    grey = grey_scene()
    return Image.fromarray(np.stack([grey, grey, 255 - grey], -1)).convert(mode)


def file_of(picture: Image.Image, form: str, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file


def difference(file: images.Source, upright: Image.Image) -> float:
    """Mean, in grey levels, to what the upright picture gives."""
    found, expected = images.load(file, SQUARE), images.load(upright, SQUARE)
    return float(np.abs(found.astype(int) - expected).mean())


# --- orientation -------------------------------------------------------------------------------------

T = Image.Transpose
STORED = {
    1: None,
    2: T.FLIP_LEFT_RIGHT,
    3: T.ROTATE_180,
    4: T.FLIP_TOP_BOTTOM,
    5: T.TRANSPOSE,
    6: T.ROTATE_90,
    7: T.TRANSVERSE,
    8: T.ROTATE_270,
}
FORMATS: dict[str, tuple[str, dict[str, Any], float]] = {
    "JPEG": ("JPEG", {"quality": 95, "subsampling": 0}, 3),
    "MPO": ("MPO", {"quality": 95, "subsampling": 0, "save_all": True, "append_images": [scene()]}, 3),
    "PNG": ("PNG", {}, 0),
    "WebP": ("WEBP", {"lossless": True}, 0),
    "AVIF": ("AVIF", {"quality": 95}, 4),
    "TIFF": ("TIFF", {}, 0),
    "TIFF, LZW": ("TIFF", {"compression": "tiff_lzw"}, 0),
    "TIFF, deflate": ("TIFF", {"compression": "tiff_adobe_deflate"}, 0),
    "TIFF, JPEG": ("TIFF", {"compression": "jpeg", "quality": 95}, 4),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("name", FORMATS)
def test_an_orientation_counts_once(name: str, orientation: int) -> None:
    form, options, loss = FORMATS[name]
    turn = STORED[orientation]
    picture = scene() if turn is None else scene().transpose(turn)
    exif = Image.Exif()
    exif[274] = orientation
    file = file_of(picture, form, exif=exif, **options)
    assert difference(file, scene()) <= loss
    with Image.open(file) as opened:
        assert difference(opened, scene()) <= loss, "opened by the caller"
    with Image.open(file) as opened:
        opened.load()
        assert difference(opened, scene()) <= loss, "decoded by the caller"


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_an_orientation_counts_once_at_any_depth(orientation: int, dtype: type[Any]) -> None:
    grey = Image.fromarray(grey_scene())
    turn = STORED[orientation]
    stored = np.asarray(grey if turn is None else grey.transpose(turn))
    deep = stored.astype(dtype) * 257 if dtype == np.uint16 else stored.astype(dtype) / 255
    file = file_of(Image.fromarray(deep), "TIFF", tiffinfo={274: orientation})
    assert difference(file, grey) == 0


# --- modes and depths --------------------------------------------------------------------------------

LOSSLESS = {
    "BMP": "1 L P RGB",
    "DIB": "1 L P RGB",
    "GIF": "1 L P",
    "JPEG2000": "L LA RGB RGBA",
    "PCX": "1 L P RGB",
    "PNG": "1 L LA P RGB RGBA",
    "PPM": "1 L RGB",
    "QOI": "RGB RGBA",
    "SGI": "L RGB RGBA",
    "TGA": "1 L LA P RGB RGBA",
    "TIFF": "1 L LA P RGB RGBA CMYK",
    "WEBP": "RGB RGBA",
}


@pytest.mark.parametrize(
    ("form", "mode"), [(form, mode) for form, modes in LOSSLESS.items() for mode in modes.split()]
)
def test_a_mode_decodes_to_its_colours(form: str, mode: str) -> None:
    picture = scene(mode)
    file = file_of(picture, form, **({"lossless": True} if form == "WEBP" else {}))
    assert difference(file, picture.convert("RGB")) == 0


def tiff(pixels: NDArray[Any], tags: dict[int, tuple[int, Any]] | None = None) -> io.BytesIO:
    """A TIFF of these pixels with further tags, each a type and a value."""
    info = ImageFileDirectory_v2()
    for tag, (kind, value) in (tags or {}).items():
        info.tagtype[tag] = kind
        info[tag] = value
    return file_of(Image.fromarray(pixels), "TIFF", tiffinfo=info)


def tiff_by_hand(
    pixels: NDArray[Any], bits: int, *, sample: int = 1, white_is_zero: bool = False
) -> io.BytesIO:
    """A little-endian TIFF of one strip, for what Pillow reads and does not write."""
    height, width = grey_scene().shape
    data = pixels.tobytes()
    entries = [(256, width), (257, height), (258, bits), (259, 1), (262, int(not white_is_zero)), (273, 8)]
    entries += [(277, 1), (278, height), (279, len(data)), (339, sample)]
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    directory = struct.pack("<H", len(entries)) + table + bytes(4)
    return io.BytesIO(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory)


def packed_12_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    first, second = values.reshape(-1, 2).T
    return np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], -1).astype(np.uint8)


def pgm(pixels: NDArray[Any], highest: int, *, plain: bool = False) -> io.BytesIO:
    head = f"P{2 if plain else 5} {pixels.shape[1]} {pixels.shape[0]} {highest}\n".encode()
    if plain:
        return io.BytesIO(head + " ".join(map(str, pixels.ravel())).encode() + b"\n")
    return io.BytesIO(head + pixels.astype(">u2" if highest > 255 else np.uint8).tobytes())


def png(bits: int, kind: int, rows: NDArray[Any], *chunks: tuple[bytes, bytes]) -> io.BytesIO:
    """A PNG by hand; `rows` are the bytes of its rows."""
    height, width = grey_scene().shape
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    file = b"\x89PNG\r\n\x1a\n"
    for name, body in ((b"IHDR", header), *chunks, (b"IDAT", data), (b"IEND", b"")):
        file += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return io.BytesIO(file)


G = grey_scene()
DEEP = G.astype(np.uint16) * 257
FLOAT = 12  # TIFF's type of a float of 64 bits
SOURCES: dict[str, Callable[[], io.BytesIO]] = {
    "PNG of 16 bits": lambda: file_of(Image.fromarray(DEEP), "PNG"),
    "TIFF of 16 bits": lambda: tiff(DEEP),
    "TIFF of 16 bits, LZW": lambda: file_of(Image.fromarray(DEEP), "TIFF", compression="tiff_lzw"),
    "TIFF of 16 bits, white is zero": lambda: tiff_by_hand(~DEEP, 16, white_is_zero=True),
    "TIFF of 16 bits, signed": lambda: tiff_by_hand((DEEP ^ 0x8000).astype(np.uint16), 16, sample=2),
    "TIFF of 8 bits, signed": lambda: tiff_by_hand(G ^ 128, 8, sample=2),
    "TIFF of 12 bits": lambda: tiff_by_hand(packed_12_bits(G.astype(np.uint16) * 16 + 8), 12),
    "TIFF of 32 bits with its range": lambda: tiff(
        G.astype(np.int32) * 100_000, {LOWEST: (4, 0), HIGHEST: (4, 25_500_000)}
    ),
    "JPEG 2000 of 16 bits": lambda: file_of(Image.fromarray(DEEP), "JPEG2000"),
    "PGM of 16 bits": lambda: pgm(DEEP, 65_535),
    "PGM of 12 bits": lambda: pgm(G.astype(np.uint16) * 16 + 8, 4_095),
    "PGM of 10 bits, plain": lambda: pgm(G.astype(np.uint16) * 4 + 2, 1_023, plain=True),
    "float": lambda: tiff(G.astype(np.float32) / 255),
    "float, white is zero": lambda: tiff_by_hand(
        1 - G.astype(np.float32) / 255, 32, sample=3, white_is_zero=True
    ),
    "float, 0..255 with its range": lambda: tiff(G.astype(np.float32), {HIGHEST: (FLOAT, 255.0)}),
    "float, 0..65535 with its range": lambda: tiff(
        G.astype(np.float32) * 257, {LOWEST: (FLOAT, 0.0), HIGHEST: (FLOAT, 65_535.0)}
    ),
    "float, -1..1 with its range": lambda: tiff(
        G.astype(np.float32) / 127.5 - 1, {LOWEST: (FLOAT, -1.0), HIGHEST: (FLOAT, 1.0)}
    ),
    "32 bits, 0..2^32 - 1": lambda: tiff(
        DEEP.astype(np.uint32) * 65537, {LOWEST: (FLOAT, 0.0), HIGHEST: (FLOAT, 2.0**32 - 1)}
    ),
    "PFM": lambda: file_of(Image.fromarray(G.astype(np.float32) / 255), "PPM"),
}


@pytest.mark.parametrize("brightness", [1.0, 0.01])
@pytest.mark.parametrize("name", SOURCES)
def test_a_depth_is_scaled_by_what_the_file_says(
    name: str, brightness: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dark scenes, too: no pixel's value decides."""
    grey = (grey_scene() * brightness).astype(np.uint8)
    monkeypatch.setattr("tests.test_picture_values.G", grey)
    monkeypatch.setattr("tests.test_picture_values.DEEP", grey.astype(np.uint16) * 257)
    assert difference(SOURCES[name](), Image.fromarray(grey)) <= 0.02


def test_no_number_is_black() -> None:
    pixels = np.full(G.shape, 0.5, np.float32)
    pixels[:, :32] = np.nan
    expected = np.full(G.shape, 128, np.uint8)
    expected[:, :32] = 0
    assert difference(tiff(pixels), Image.fromarray(expected)) == 0


@pytest.mark.parametrize(("low", "high"), [(0.0, 255.0), (-1.0, 1.0), (0.0, 1.5), (0.0, np.inf)])
def test_floats_beyond_their_range_are_refused_with_the_range_found(low: float, high: float) -> None:
    pixels = np.linspace(low, min(high, 300.0), G.size, dtype=np.float32).reshape(G.shape)
    pixels[-1, -1] = high
    with pytest.raises(PictureError, match=f"values from {low:.6g} to {high:.6g} where 0 to 1 are expected"):
        images.load(tiff(pixels), SQUARE)


def test_floats_hardly_beyond_their_range_are_clipped() -> None:
    pixels = np.linspace(-0.004, 1.004, G.size, dtype=np.float32).reshape(G.shape)
    assert images.load(tiff(pixels), SQUARE).max() == 255


def test_only_a_tiff_is_told_of_tags() -> None:
    with pytest.raises(PictureError, match=r"scale them, or state .* SMinSampleValue"):
        images.load(tiff(np.full(G.shape, 7, np.float32)), SQUARE)
    for source in (
        file_of(Image.fromarray(np.full(G.shape, 7, np.float32)), "PPM"),
        np.full(G.shape, 7.0, "f4"),
    ):
        with pytest.raises(PictureError, match=r"where 0 to 1 are expected; scale them$"):
            images.load(source, SQUARE)


def test_integers_of_32_bits_without_a_range_are_refused() -> None:
    with pytest.raises(PictureError, match=r"integers without a known range; .* SMinSampleValue"):
        images.load(tiff(G.astype(np.int32)), SQUARE)


# --- transparency ------------------------------------------------------------------------------------


def test_transparent_grey_of_16_bits_is_white() -> None:
    deep = DEEP.copy()
    deep[:24], deep[24:, :8] = 0x1234, 0x1235  # the neighbouring value is not transparent
    expected = (deep >> 8).astype(np.uint8)
    expected[:24] = 255
    file = png(16, 0, deep.astype(">u2"), (b"tRNS", b"\x12\x34"))
    assert difference(file, Image.fromarray(expected)) == 0


def test_a_transparent_colour_of_16_bits_is_white() -> None:
    colours = np.full((*G.shape, 3), 0x8080, ">u2")
    colours[:24] = (0x1234, 0x5678, 0x9ABC)
    expected = np.full((*G.shape, 3), 0x80, np.uint8)
    expected[:24] = 255
    file = png(16, 2, colours, (b"tRNS", bytes.fromhex("123456789abc")))
    assert difference(file, Image.fromarray(expected)) == 0


@pytest.mark.parametrize(("bits", "transparent", "white"), [(2, 1, 85), (4, 5, 85)])
def test_transparent_grey_of_few_bits_is_white(bits: int, transparent: int, white: int) -> None:
    each = 8 // bits
    rows = np.full((48, 64 // each), 0, np.uint8)
    rows[:24] = sum(transparent << (bits * place) for place in range(each))
    expected = np.zeros(G.shape, np.uint8)
    expected[:24] = white
    assert difference(png(bits, 0, rows), Image.fromarray(expected)) == 0
    expected[:24] = 255
    file = png(bits, 0, rows, (b"tRNS", bytes([0, transparent])))
    assert difference(file, Image.fromarray(expected)) == 0


# --- the arguments of version 0.1.0 ------------------------------------------------------------------


def test_the_old_arguments_are_read_with_a_warning() -> None:
    with pytest.warns(DeprecationWarning, match=r"pass Square\(resize, crop, filter\)"):
        old = images.load(scene(), 40, 32, "bicubic")
    np.testing.assert_array_equal(old, images.load(scene(), Square(40, 32, "bicubic")))


def test_a_picture_of_an_older_revision_is_told_from_one_of_this(tmp_path: Path) -> None:
    """Eight-bit files decode as ever; what is scaled or turned otherwise does not."""
    for form in ("PNG", "JPEG", "TIFF", "BMP"):
        for mode in ("RGB", "L"):
            assert images.decodes_since(file_of(scene(mode), form)) == 1
    for source in SOURCES.values():
        assert images.decodes_since(source()) == 2
    assert images.decodes_since(file_of(scene(), "TIFF", tiffinfo={274: 6})) == 2


def test_colour_of_16_bits_of_which_fewer_are_used_is_refused() -> None:
    entries = [
        (256, 3, 1, 2),
        (257, 3, 1, 2),
        (258, 3, 3, 200),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 3, 1, 300),
    ]
    entries += [(277, 3, 1, 3), (278, 3, 1, 2), (279, 3, 1, 24), (341, 3, 3, 210)]
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    file = b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + bytes(4)
    file = file.ljust(200, b"\0") + struct.pack("<3H", 16, 16, 16)
    file = file.ljust(210, b"\0") + struct.pack("<3H", 4095, 4095, 4095)
    with pytest.raises(PictureError, match="colour of 16 bits whose tags state values from 0 to 4095"):
        images.load(io.BytesIO(file.ljust(324, b"\0")), SQUARE)


def test_numbers_of_fits_are_refused_because_their_meaning_is_not_known() -> None:
    cards = {"SIMPLE": "T", "BITPIX": "16", "NAXIS": "2", "NAXIS1": "4", "NAXIS2": "4", "BZERO": "32768"}
    header = "".join(f"{name:8}= {value:>20}".ljust(80) for name, value in cards.items()) + "END".ljust(80)
    file = io.BytesIO(header.ljust(2880).encode() + bytes(2880))
    with pytest.raises(PictureError, match="integers without a known range"):
        images.load(file, SQUARE)
