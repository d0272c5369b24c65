"""Pictures of every kind become the right pixels, and what is no picture becomes a reason."""

import io
import os
import random
import re
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from alexnet_tk import images
from alexnet_tk.choices import Filter
from alexnet_tk.errors import PictureError
from alexnet_tk.preprocess import Square

Pixels = NDArray[np.uint8]
SIDE = 8
WHITE = (255, 255, 255)


def load(source: images.Source, resize: int = SIDE, crop: int = SIDE, filter: Filter = "bilinear") -> Pixels:
    """With the defaults a picture of 8×8 is neither scaled nor cropped: its pixels come out as they are."""
    return images.load(source, Square(resize, crop, filter))


def quarters(*values: float | tuple[int, ...], dtype: type[np.generic] = np.uint8) -> NDArray[Any]:
    """8×8 pixels (or 8×8×C) of four values: top left, top right, bottom left, bottom right."""
    four = np.array(values, dtype=dtype)
    return four.reshape(2, 2, *four.shape[1:]).repeat(SIDE // 2, axis=0).repeat(SIDE // 2, axis=1)


def encoded(picture: Image.Image, form: str, **options: object) -> io.BytesIO:
    file = io.BytesIO()
    picture.save(file, form, **options)
    file.seek(0)
    return file


def png(
    kind: int, bits: int, width: int, height: int, data: bytes, *chunks: tuple[bytes, bytes]
) -> io.BytesIO:
    """A PNG file by hand, for what Pillow reads and can't write; `data` is that of IDAT before deflating."""
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    file = b"\x89PNG\r\n\x1a\n"
    for name, body in ((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(data)), (b"IEND", b"")):
        file += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return io.BytesIO(file)


def png16(kind: int, pixels: NDArray[Any]) -> io.BytesIO:
    """A PNG of 16 bits a channel."""
    rows = pixels.astype(">u2").reshape(SIDE, -1)
    return png(kind, 16, SIDE, SIDE, b"".join(b"\0" + row.tobytes() for row in rows))


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def scene(width: int, height: int) -> Image.Image:
    """Waves and soft blobs: a picture with as much detail as most photographs, whatever its size."""
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    red = 128 + 90 * np.sin(40 * x + 9 * y)
    green = 128 + 90 * np.cos(35 * y - 6 * x)
    blue = 255 * np.exp(-60 * ((x - 0.5) ** 2 + (y - 0.4) ** 2))
    return Image.fromarray(np.stack([red, green, blue], axis=-1).round().astype(np.uint8))


# --- modes -----------------------------------------------------------------------------------------

GREYS = [(0, 0, 0), (85, 85, 85), (170, 170, 170), WHITE]
WIDE = (0, 0x5555, 0xAAAA, 0xFFFF)  # the same in 16 bits


def picture_of_mode(name: str) -> tuple[io.BytesIO, list[tuple[int, int, int]]]:
    """A file of that mode, and the colours of its quarters."""
    rgb = [(250, 10, 20), (10, 240, 30), (20, 30, 230), (90, 90, 90)]
    match name:
        case "RGB":
            return encoded(Image.fromarray(quarters(*rgb)), "PNG"), rgb
        case "L":
            return encoded(Image.fromarray(quarters(0, 85, 170, 255)), "PNG"), GREYS
        case "LA":
            pixels = quarters((0, 255), (85, 255), (170, 255), (13, 0))
            return encoded(Image.fromarray(pixels, "LA"), "PNG"), [*GREYS[:3], WHITE]
        case "L, one grey transparent":
            file = encoded(Image.fromarray(quarters(0, 85, 170, 7)), "PNG", transparency=7)
            return file, [*GREYS[:3], WHITE]
        case "RGB, one colour transparent":
            file = encoded(Image.fromarray(quarters(*rgb)), "PNG", transparency=rgb[1])
            return file, [rgb[0], WHITE, *rgb[2:]]
        case "P" | "P, transparent" | "P, half transparent" | "P, GIF":
            picture = Image.fromarray(quarters(0, 1, 2, 3), "P")
            picture.putpalette([channel for colour in rgb for channel in colour])
            if name == "P":
                return encoded(picture, "PNG"), rgb
            if name == "P, half transparent":
                file = encoded(picture, "PNG", transparency=bytes([255, 255, 255, 51]))
                return file, [*rgb[:3], (222, 222, 222)]  # 90 · 1/5 + 255 · 4/5
            file = encoded(picture, "GIF" if name == "P, GIF" else "PNG", transparency=2)
            return file, [*rgb[:2], WHITE, rgb[3]]
        case "RGBA":
            pixels = quarters(*[(*colour, 255) for colour in rgb[:2]], (0, 0, 0, 0), (200, 100, 0, 51))
            return encoded(Image.fromarray(pixels), "PNG"), [*rgb[:2], WHITE, (244, 224, 204)]
        case "1":
            picture = Image.fromarray(quarters(False, True, True, False, dtype=np.bool_))
            return encoded(picture, "PNG"), [GREYS[0], WHITE, WHITE, GREYS[0]]
        case "I;16":
            return encoded(Image.fromarray(quarters(*WIDE, dtype=np.uint16)), "PNG"), GREYS
        case "I;16B":
            data = quarters(*WIDE, dtype=np.uint16).astype(">u2").tobytes()
            return encoded(Image.frombytes("I;16B", (SIDE, SIDE), data), "TIFF"), GREYS
        case "PGM of 16 bits":
            data = quarters(*WIDE, dtype=np.uint16).astype(">u2").tobytes()
            return io.BytesIO(b"P5 8 8 65535\n" + data), GREYS
        case "I":
            picture = Image.fromarray(quarters(*WIDE, dtype=np.int32))
            return encoded(picture, "TIFF", tiffinfo={340: 0, 341: 65_535}), GREYS
        case "F":
            pixels = quarters(-0.002, 1 / 3, 2 / 3, 1.003, dtype=np.float32)
            return encoded(Image.fromarray(pixels), "TIFF"), GREYS
        case "RGB of 16 bits":
            return png16(2, quarters(*rgb, dtype=np.uint16) * 257), rgb
        case "LA of 16 bits":
            pixels = quarters((0, 255), (85, 255), (170, 255), (13, 0), dtype=np.uint16) * 257
            return png16(4, pixels), [*GREYS[:3], WHITE]
        case "RGBA of 16 bits":
            pixels = quarters(*[(*colour, 255) for colour in rgb[:3]], (9, 9, 9, 0), dtype=np.uint16) * 257
            return png16(6, pixels), [*rgb[:3], WHITE]
        case "CMYK":
            pixels = quarters((0, 255, 255, 0), (255, 0, 255, 0), (255, 255, 0, 0), (0, 0, 0, 170))
            colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (85, 85, 85)]
            return encoded(Image.fromarray(pixels, "CMYK"), "TIFF"), colours
    raise AssertionError(name)


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *((mode, mode) for mode in ("RGB", "L", "LA", "P", "RGBA", "1", "I", "F", "I;16", "I;16B", "CMYK")),
        *(("L, one grey transparent", "L"), ("RGB, one colour transparent", "RGB")),
        *(("P, transparent", "P"), ("P, half transparent", "P"), ("P, GIF", "P")),
        *(("PGM of 16 bits", "I"),),
        *(("RGB of 16 bits", "RGB"), ("LA of 16 bits", "RGBA"), ("RGBA of 16 bits", "RGBA")),
    ],
)
def test_a_mode_comes_out_in_its_colours(name: str, mode: str) -> None:
    file, colours = picture_of_mode(name)
    assert Image.open(file).mode == mode, "or this would be a test of another mode"
    pixels = load(file)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (SIDE, SIDE, 3)
    np.testing.assert_array_equal(pixels, quarters(*colours))


@pytest.mark.parametrize(
    ("ink", "colour"), [((0, 255, 255, 0), (255, 0, 0)), ((255, 0, 0, 0), (0, 255, 255)), ((0,) * 4, WHITE)]
)
def test_a_cmyk_jpeg_is_not_inverted(ink: tuple[int, ...], colour: tuple[int, int, int]) -> None:
    file = encoded(Image.new("CMYK", (64, 64), ink), "JPEG", quality=95)
    assert Image.open(file).mode == "CMYK"
    assert np.abs(load(file).astype(int) - colour).max() <= 3  # what JPEG loses


# --- orientation -----------------------------------------------------------------------------------

# Exif 2.32, section 4.6.4: which side of the upright picture the 0th row and the 0th column of the file are.
SIDES = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def stored(upright: Pixels, orientation: int) -> Pixels:
    """The pixels as a camera writes them with this orientation tag."""
    row_side, column_side = SIDES[orientation]
    if row_side in ("left", "right"):
        turned = upright.swapaxes(0, 1)  # file rows run along the upright picture's columns
        first, second = row_side == "right", column_side == "bottom"
    else:
        turned = upright
        first, second = row_side == "bottom", column_side == "right"
    return turned[:: -1 if first else 1, :: -1 if second else 1]


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("orientation", SIDES)
@pytest.mark.parametrize(("width", "height"), [(8, 14), (31, 12)])
def test_orientation_gives_the_upright_picture(orientation: int, width: int, height: int) -> None:
    upright = np.asarray(noise(width, height))
    turned = Image.fromarray(np.ascontiguousarray(stored(upright, orientation)))
    file = encoded(turned, "PNG", exif=exif_of(orientation))
    np.testing.assert_array_equal(
        load(file, 10, 6), load(encoded(Image.fromarray(upright), "PNG"), 10, 6), strict=True
    )


def test_orientation_of_a_large_jpeg() -> None:
    upright = np.asarray(scene(1200, 800))
    turned = Image.fromarray(np.ascontiguousarray(stored(upright, 6)))
    pixels = load(encoded(turned, "JPEG", quality=95, exif=exif_of(6)), 100, 96)
    difference = np.abs(pixels.astype(int) - load(encoded(Image.fromarray(upright), "PNG"), 100, 96))
    assert difference.mean() < 3


def exif_bytes(*entries: tuple[int, int, int, bytes], rest: bytes = b"") -> bytes:
    """An Exif block by hand; an entry is tag, type, count and four bytes of value or offset."""
    body = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + bytes(4) + rest


TURNED = (0x0112, 3, 1, b"\x06\0\0\0")


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0" + b"\xff" * 40,
        b"Exif\0\0II*\0",
        exif_bytes((0x0112, 3, 1, b"\0\0\0\0")),
        exif_bytes((0x0112, 3, 1, b"\x09\0\0\0")),
        exif_bytes((0x0112, 2, 4, b"six\0")),
        exif_bytes((0x0112, 5, 1, b"\xff\xff\xff\x7f")),
    ],
    ids=["garbage", "cut off", "orientation 0", "orientation 9", "a word", "outside of the file"],
)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_a_broken_orientation_counts_as_none(exif: bytes) -> None:
    picture = noise(SIDE, SIDE)
    plain = np.asarray(Image.open(encoded(picture, "JPEG")))
    np.testing.assert_array_equal(load(encoded(picture, "JPEG", exif=exif)), plain)


@pytest.mark.parametrize(
    "entry",
    [
        (0x011A, 2, 3, b"72\0\0"),  # XResolution as text
        (0x8769, 6, 1, b"\xff\0\0\0"),  # the pointer to the camera's own table: -1
        (0x014A, 7, 2, b"\x01\x02\0\0"),  # SubIFDs as bytes
        (0x010E, 11, 1, b"\0\0\0\0"),  # ImageDescription as a number
    ],
    ids=["resolution", "pointer", "sub-tables", "description"],
)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_another_broken_tag_does_not_spoil_a_turned_picture(entry: tuple[int, int, int, bytes]) -> None:
    turned = Image.fromarray(np.ascontiguousarray(stored(np.asarray(noise(SIDE, SIDE)), 6)))
    sound = load(encoded(turned, "JPEG", exif=exif_of(6)))
    np.testing.assert_array_equal(load(encoded(turned, "JPEG", exif=exif_bytes(TURNED, entry))), sound)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0x100, 0x10E, 0x112, 0x11A, 0x132, 0x14A, 0x8769, 0x8825, 0x927C, 0xA005]),
            st.integers(0, 13),
            st.sampled_from([0, 1, 2, 1000, 2**31]),
            st.binary(min_size=4, max_size=4),
        ),
        max_size=4,
    ),
    st.binary(max_size=20),
)
@settings(max_examples=100, deadline=None)
def test_no_exif_block_fails_a_sound_picture(entries: list[tuple[int, int, int, bytes]], rest: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = encoded(
            Image.new("RGB", (SIDE, SIDE), (200, 30, 40)),
            "JPEG",
            exif=exif_bytes(TURNED, *entries, rest=rest),
        )
        assert np.abs(load(file).astype(int) - (200, 30, 40)).max() <= 3


# --- scale and crop --------------------------------------------------------------------------------


def slowly(
    picture: Image.Image, resize: int, crop: int, shift: tuple[int, int] = (0, 0)
) -> NDArray[np.int64]:
    """Decode the whole picture, scale its shorter side, cut out the centre (moved by `shift` pixels)."""
    picture = picture.convert("RGB")
    shorter = min(picture.size)
    width, height = (round(side * resize / shorter) for side in picture.size)
    picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - crop) // 2 + shift[0], (height - crop) // 2 + shift[1]
    return np.asarray(picture.crop((left, top, left + crop, top + crop))).astype(np.int64)


def differences(fast: Pixels, file: io.BytesIO, resize: int, crop: int, off: int) -> tuple[float, float]:
    """In grey levels, on average: to the slow path, and to the slow path with its crop so many pixels off."""
    picture = Image.open(file)
    picture.load()
    shifts = [(0, 0), (off, 0), (-off, 0), (0, off), (0, -off)]
    means = [np.abs(fast - slowly(picture, resize, crop, shift)).mean() for shift in shifts]
    return means[0], min(means[1:])


@pytest.mark.parametrize(
    ("width", "height"),
    [(1536, 1024), (1024, 1536), (2048, 2048), (3000, 500), (600, 400), (256, 256), (150, 100)],
)
@pytest.mark.parametrize(("resize", "crop"), [(256, 224), (100, 96)])
def test_the_fast_path_shows_what_the_slow_path_shows(
    width: int, height: int, resize: int, crop: int
) -> None:
    """Within one grey level on average; a crop that is a pixel off differs by several times as much."""
    file = encoded(scene(width, height), "JPEG", quality=92)
    difference, beside = differences(load(file, resize, crop), file, resize, crop, off=1)
    assert difference < 1
    assert difference < beside / 3


@pytest.mark.parametrize(("width", "height"), [(1600, 1067), (513, 700), (300, 257), (200, 120)])
@pytest.mark.parametrize(("resize", "crop"), [(256, 224), (100, 96)])
def test_the_fast_path_is_as_near_as_rounding_lets_the_slow_path_be(
    width: int, height: int, resize: int, crop: int
) -> None:
    """Here the slow path rounds both the longer side and where the crop begins, by half a pixel each."""
    file = encoded(scene(width, height), "JPEG", quality=92)
    difference, beside = differences(load(file, resize, crop), file, resize, crop, off=2)
    assert difference < 5
    assert difference < beside * 0.6


@pytest.mark.parametrize("kernel", sorted(images.FILTERS))
@given(
    width=st.integers(1, 400),
    height=st.integers(1, 400),
    resize=st.integers(1, 64),
    margin=st.integers(0, 63),
    seed=st.integers(0, 9),
)
@example(width=375, height=500, resize=256, margin=32, seed=0)
@example(width=28, height=28, resize=100, margin=4, seed=0)
@settings(max_examples=60, deadline=None)
def test_cropping_later_is_the_same_as_cropping_at_once(
    kernel: Filter, width: int, height: int, resize: int, margin: int, seed: int
) -> None:
    crop = max(1, resize - margin)
    begin = (resize - crop) // 2
    picture = noise(width, height, seed)
    square = load(picture, resize, resize, kernel)
    at_once = load(picture, resize, crop, kernel)
    np.testing.assert_array_equal(at_once, square[begin : begin + crop, begin : begin + crop], strict=True)


@pytest.mark.parametrize(("width", "height"), [(640, 427), (1500, 1000)])
def test_cropping_a_jpeg_later_is_the_same_as_cropping_at_once(width: int, height: int) -> None:
    file = encoded(noise(width, height), "JPEG")
    np.testing.assert_array_equal(load(file, 256, 224), load(file, 256, 256)[16:240, 16:240])


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 2000), (2000, 1), (2, 3), (5000, 2)])
@pytest.mark.parametrize(("resize", "crop"), [(256, 224), (8, 8), (1, 1)])
def test_extreme_shapes_keep_their_colour(width: int, height: int, resize: int, crop: int) -> None:
    pixels = load(encoded(Image.new("RGB", (width, height), (10, 200, 60)), "PNG"), resize, crop)
    np.testing.assert_array_equal(pixels, np.full((crop, crop, 3), (10, 200, 60), np.uint8), strict=True)


def test_the_centre_of_a_long_picture_is_shown() -> None:
    line = np.zeros((1, 2001, 3), np.uint8)
    line[:, 1000] = 255
    for long in (line, line.swapaxes(0, 1)):
        file = encoded(Image.fromarray(long), "PNG")
        assert load(file, 1, 1).tolist() == [[[255, 255, 255]]]
        assert load(file, 9, 1).tolist() == [[[255, 255, 255]]]


def test_a_path_as_text_and_an_open_file_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "grün ☃.png"
    noise(SIDE, SIDE).save(path)
    expected = np.asarray(noise(SIDE, SIDE))
    for source in (path, str(path)):
        np.testing.assert_array_equal(load(source), expected)
    with path.open("rb") as file:
        np.testing.assert_array_equal(load(file), expected)


def test_an_image_and_an_array_are_read_and_stay_as_they_are() -> None:
    picture = noise(40, 30)
    expected = load(encoded(picture, "PNG"), 20, 16)
    np.testing.assert_array_equal(load(picture, 20, 16), expected)
    np.testing.assert_array_equal(load(np.asarray(picture), 20, 16), expected)
    np.testing.assert_array_equal(np.asarray(picture), np.asarray(noise(40, 30)))


# --- what is no picture ----------------------------------------------------------------------------


def reason(path: str | Path | io.BytesIO) -> str:
    with pytest.raises(PictureError) as caught:
        load(path)
    words = str(caught.value)
    assert words
    assert "\n" not in words
    return words


def test_missing(tmp_path: Path) -> None:
    assert reason(tmp_path / "gone.png") == "no such file"


def test_a_dangling_link(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "gone.png")
    assert reason(tmp_path / "a.png") == "no such file"


def test_empty(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    assert reason(tmp_path / "a.png") == "empty file"


def test_text_named_as_a_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("not a picture\n")
    assert "not a picture" in reason(tmp_path / "a.png")


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    assert "folder" in reason(tmp_path / "a.png")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read anything")
def test_no_permission(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    noise(SIDE, SIDE).save(path)
    path.chmod(0)
    assert "permission" in reason(path)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_truncated(form: str, part: float, tmp_path: Path) -> None:
    """Half a picture is not shown with grey where the rest should be."""
    whole = encoded(noise(300, 200), form).getvalue()
    path = tmp_path / "a"
    path.write_bytes(whole[: int(len(whole) * part)])
    assert re.search("truncated|broken|not a picture", reason(path))


def test_a_large_truncated_jpeg_fails_on_the_fast_path() -> None:
    whole = encoded(scene(2000, 1500), "JPEG").getvalue()
    assert "truncated" in reason(io.BytesIO(whole[: len(whole) * 2 // 3]))


def test_a_decompression_bomb_is_refused_for_its_number_of_pixels() -> None:
    """A few dozen bytes that declare 90,000 million pixels."""
    bomb = png(0, 1, 300_000, 300_000, b"\0" * 1000)
    assert len(bomb.getvalue()) < 200
    assert re.search(r"more than [\d,]+ pixels", reason(bomb))


@pytest.mark.parametrize("kind", ["a loop of links", "a file as a folder", "a name that is too long"])
def test_a_reason_is_the_same_for_every_path(kind: str, tmp_path: Path) -> None:
    """Reasons are counted at the end of a run: one that held the path would be counted once for each."""
    match kind:
        case "a loop of links":
            path = tmp_path / "a.png"
            path.symlink_to(path)
        case "a file as a folder":
            (tmp_path / "file").touch()
            path = tmp_path / "file" / "a.png"
        case _:
            path = tmp_path / ("a" * 300 + ".png")
    assert path.name not in reason(path)


def test_a_name_that_no_file_can_have() -> None:
    assert "null" in reason("a\0b.png")


SOUND = {
    form: encoded(noise(20, 14), form).getvalue()
    for form in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO", "TGA", "PCX", "SGI", "JPEG2000")
}


@given(form=st.sampled_from(sorted(SOUND)), data=st.data())
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_picture_or_a_reason(form: str, data: st.DataObject) -> None:
    """A valid beginning, then random bytes; or a valid file with a few bytes changed behind its header."""
    sound = SOUND[form]
    keep = data.draw(st.integers(0, len(sound)), "bytes that stay")
    if data.draw(st.booleans(), "rubbish to the end"):
        file = sound[:keep] + data.draw(st.binary(max_size=200))
    else:
        draw = random.Random(data.draw(st.integers(0, 2**32), "seed"))
        changed = bytearray(sound)
        for _ in range(draw.randint(1, 5)):
            changed[draw.randrange(min(keep, len(sound) - 1), len(sound))] = draw.randrange(256)
        file = bytes(changed)
    try:
        pixels = load(io.BytesIO(file))
    except PictureError as error:
        assert str(error)
        assert "\n" not in str(error)
    else:
        assert pixels.shape == (SIDE, SIDE, 3)
        assert pixels.dtype == np.uint8


# --- endings ---------------------------------------------------------------------------------------


def test_the_endings_of_pictures_count_and_no_others() -> None:
    assert {
        ".jpg",
        ".jpeg",
        ".mpo",
        ".png",
        ".gif",
        ".bmp",
        ".webp",
        ".tif",
        ".tiff",
        ".ppm",
    } <= images.endings()
    assert not {".txt", ".csv", ".onnx", ".pdf", ".h5", ".mpg", ".py", ""} & images.endings()
    assert all(re.fullmatch(r"\.[a-z0-9_]+", ending) for ending in images.endings())


def test_ten_crops_are_the_papers() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (44, 44, 3), dtype=np.uint8)
    views = images.ten_crops(picture, 40)
    assert views.shape == (10, 40, 40, 3)
    plain = [picture[:40, :40], picture[:40, 4:], picture[4:, :40], picture[4:, 4:], picture[2:42, 2:42]]
    for view, mirrored, expected in zip(views[:5], views[5:], plain, strict=True):
        assert np.array_equal(view, expected)
        assert np.array_equal(mirrored, np.fliplr(expected))
