"""Damage that Pillow passes over is a reason, and what is no damage to the picture is not."""

import io
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alexnet_tk import images, png_file
from alexnet_tk.errors import PictureError
from alexnet_tk.preprocess import Square

SQUARE = Square(64, 64, "bilinear")


def photograph(width: int = 320, height: int = 240, mode: str = "RGB") -> Image.Image:
    """Waves with some noise: data that compress as those of photographs."""
    y, x = np.mgrid[:height, :width] / width
    waves = np.stack([np.sin(30 * x + 9 * y), np.cos(25 * y - 6 * x), np.sin(20 * x * y)], -1)
    noise = np.random.default_rng(0).normal(0, 12, (height, width, 3))
    return Image.fromarray((128 + 90 * waves + noise).clip(0, 255).astype(np.uint8)).convert(mode)


def bytes_of(picture: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def load(content: bytes) -> Any:
    return images.load(io.BytesIO(content), SQUARE)


def is_refused(content: bytes) -> bool:
    try:
        load(content)
    except PictureError:
        return True
    return False


# --- PNG ---------------------------------------------------------------------------------------------


def chunk(name: bytes, body: bytes, *, damaged: bool = False) -> bytes:
    checksum = zlib.crc32(name + body) ^ damaged
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)


def with_chunk(png: bytes, extra: bytes, *, at_the_end: bool = False) -> bytes:
    """The PNG with a further chunk behind IHDR, or before IEND."""
    at = len(png) - 12 if at_the_end else 33
    return png[:at] + extra + png[at:]


def test_no_changed_bit_of_a_png_is_answered() -> None:
    png = bytes_of(photograph(24, 16, "P"), "PNG")
    assert all(name in png for name in (b"IHDR", b"PLTE", b"IDAT", b"IEND"))
    draw = random.Random(0)
    for at in range(8, len(png)):
        damaged = bytearray(png)
        damaged[at] ^= 1 << draw.randrange(8)
        assert is_refused(bytes(damaged)), f"byte {at}"


@pytest.mark.parametrize("length", range(8, 100, 7))
def test_a_cut_off_png_is_truncated(length: int) -> None:
    png = bytes_of(photograph(24, 16), "PNG")
    for content in (png[:length], png[:-length]):
        with pytest.raises(PictureError, match=r"truncated|broken"):
            load(content)


LARGE = zlib.compress(bytes(3 << 20))
ODD_CHUNKS = {
    "a large profile": chunk(b"iCCP", b"a\0\0" + LARGE),
    "a broken profile": chunk(b"iCCP", b"a\0\0no zlib"),
    "a profile of another method": chunk(b"iCCP", b"a\0\1" + LARGE),
    "a large comment": chunk(b"zTXt", b"Comment\0\0" + LARGE),
    "a broken comment": chunk(b"zTXt", b"Comment\0\0no zlib"),
    "a comment of another method": chunk(b"zTXt", b"Comment\0\7" + LARGE),
    "large XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LARGE),
    "XMP without its parts": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1"),
    "a wrong checksum in a comment": chunk(b"tEXt", b"Comment\0hello", damaged=True),
    "a wrong checksum in a profile": chunk(b"iCCP", b"a\0\0" + LARGE, damaged=True),
    "a wrong checksum in a time": chunk(b"tIME", bytes(7), damaged=True),
    "a wrong checksum in Exif": chunk(b"eXIf", b"II*\0\x08\0\0\0", damaged=True),
    "a short gamma": chunk(b"gAMA", b"\0"),
    "a short resolution": chunk(b"pHYs", b"\0"),
    "a short animation": chunk(b"acTL", b"\0"),
    "an unknown chunk": chunk(b"prIv", b"\0" * 100, damaged=True),
}


@pytest.mark.parametrize("at_the_end", [False, True], ids=["before the pixels", "after the pixels"])
@pytest.mark.parametrize("name", ODD_CHUNKS)
@pytest.mark.parametrize("whole", [2**26, 0], ids=["in memory", "streamed"])
def test_what_is_no_picture_refuses_none(
    name: str, at_the_end: bool, whole: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "WHOLE", whole)
    png = bytes_of(photograph(), "PNG")
    path = tmp_path / "a.png"
    path.write_bytes(with_chunk(png, ODD_CHUNKS[name], at_the_end=at_the_end))
    np.testing.assert_array_equal(images.load(path, SQUARE), load(png))


def test_a_streamed_png_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "WHOLE", 0)
    monkeypatch.setattr(png_file, "BLOCK", 100)
    path, png = tmp_path / "a.png", bytes_of(photograph(), "PNG")
    path.write_bytes(png)
    np.testing.assert_array_equal(images.load(path, SQUARE), load(png))
    path.write_bytes(png[:500] + bytes([png[500] ^ 1]) + png[501:])
    with pytest.raises(PictureError, match="wrong checksum in PNG chunk IDAT"):
        images.load(path, SQUARE)


def test_a_damaged_transparency_is_damage() -> None:
    png = bytes_of(photograph(mode="L"), "PNG")
    assert not is_refused(with_chunk(png, chunk(b"tRNS", b"\0\x80")))
    assert is_refused(with_chunk(png, chunk(b"tRNS", b"\0\x80", damaged=True)))


XMP = b'<rdf:Description tiff:Orientation="6"/>'
ORIENTATIONS = {
    "Exif": chunk(b"eXIf", b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"),
    "XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
    "compressed XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP)),
}


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_an_orientation_is_found_beside_what_is_left_out(name: str) -> None:
    png = bytes_of(photograph(), "PNG")
    turned = load(with_chunk(with_chunk(png, ORIENTATIONS[name]), ODD_CHUNKS["a large comment"]))
    upright = bytes_of(photograph().transpose(Image.Transpose.ROTATE_270), "PNG")
    np.testing.assert_array_equal(turned, load(upright))


# --- JPEG --------------------------------------------------------------------------------------------

KINDS: dict[str, dict[str, Any]] = {
    "standard tables": {"quality": 75},
    "high quality": {"quality": 95, "subsampling": 0},
    "optimised tables": {"quality": 85, "optimize": True},
    "restart markers": {"quality": 85, "restart_marker_rows": 1},
    "progressive": {"quality": 85, "progressive": True},
    "grey": {"quality": 85},
}


def jpeg(kind: str, width: int = 320, height: int = 240) -> bytes:
    return bytes_of(photograph(width, height, "L" if kind == "grey" else "RGB"), "JPEG", **KINDS[kind])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("width", "height"), [(320, 240), (1, 1), (8, 8), (17, 9), (1000, 3), (900, 700)])
def test_a_sound_jpeg_is_none_of_them(kind: str, width: int, height: int) -> None:
    content = jpeg(kind, width, height)
    assert np.array_equal(load(content), images.load(Image.open(io.BytesIO(content)), SQUARE)) or width > 64
    for tail in (b"\0" * 40, b"\xff\xd8 another picture", b"\xff" * 9, b"\xff\xd8 another\xff\xd9"):
        np.testing.assert_array_equal(load(content + tail), load(content))


@pytest.mark.parametrize("colour", [0, 128, 255])
@pytest.mark.parametrize("options", KINDS.values())
def test_an_even_jpeg_is_no_hole(colour: int, options: dict[str, Any]) -> None:
    """Its data may be nothing but zeros."""
    content = bytes_of(Image.new("RGB", (900, 900), (colour, colour, colour)), "JPEG", **options)
    assert np.abs(load(content).astype(int) - colour).max() <= 2


def test_a_jpeg_padded_at_its_end_is_sound() -> None:
    """As some cameras write it."""
    content = jpeg("standard tables")
    np.testing.assert_array_equal(load(content[:-2] + bytes(12) + content[-2:]), load(content))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "progressive"])
def test_a_hole_of_zeros_is_found(kind: str) -> None:
    content = jpeg(kind)
    draw = random.Random(0)
    for _ in range(20):
        at = draw.randrange(700, len(content) - 600)
        assert is_refused(content[:at] + bytes(512) + content[at + 512 :]), at


@pytest.mark.parametrize("kind", KINDS)
def test_random_bytes_are_found(kind: str) -> None:
    content = jpeg(kind)
    draw = random.Random(0)
    found = 0
    for _ in range(20):
        at = draw.randrange(700, len(content) - 2100)
        found += is_refused(content[:at] + draw.randbytes(2048) + content[at + 2048 :])
    assert found >= 18


@pytest.mark.parametrize("kind", ["standard tables", "high quality", "optimised tables", "grey"])
def test_data_that_are_missing_or_too_many_are_found(kind: str) -> None:
    content = jpeg(kind)
    middle = len(content) * 2 // 3
    for damaged in (
        content[:middle] + content[middle + 1024 :],
        content[:middle] + content[middle - 1024 :],
    ):
        with pytest.raises(PictureError, match=r"end too early|more data than pixels|can't stand"):
            load(damaged)


@pytest.mark.parametrize(("inserted", "words"), [(b"\xff\xd3", "restart markers"), (b"\xff\x33", "a marker")])
def test_a_marker_within_the_data_is_found(inserted: bytes, words: str) -> None:
    content = jpeg("progressive")
    middle = len(content) // 2
    with pytest.raises(PictureError, match=words):
        load(content[:middle] + inserted + content[middle + 2 :])


# --- the number of pixels ----------------------------------------------------------------------------


def test_the_limit_of_pixels_can_be_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    content = bytes_of(photograph(200, 150), "PNG")
    with pytest.raises(
        PictureError, match=r"more than 20,000 pixels; set ALEXNET_TK_MAX_PIXELS to allow more"
    ):
        load(content)
    monkeypatch.setenv("ALEXNET_TK_MAX_PIXELS", "60000")
    assert load(content).shape == (64, 64, 3)
    monkeypatch.setenv("ALEXNET_TK_MAX_PIXELS", "29998")
    with pytest.raises(PictureError, match="more than 29,998 pixels"):
        load(content)
    monkeypatch.setenv("ALEXNET_TK_MAX_PIXELS", "many")
    with pytest.raises(PictureError, match="ALEXNET_TK_MAX_PIXELS is 'many'"):
        load(content)
