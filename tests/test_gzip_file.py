"""A gzip file gives the same bytes from any place as the standard library does from the beginning."""

import gzip
import os
import random
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from alexnet_tk import gzip_file
from alexnet_tk.gzip_file import GzipFile


@pytest.fixture(scope="module")
def content() -> bytes:
    """12 MB that compress well in some places and not at all in others."""
    draw = random.Random(0)
    return b"".join(
        draw.randbytes(draw.randint(0, 30_000))
        + bytes(draw.randint(0, 50_000))
        + b"abc" * draw.randint(0, 9_999)
        for _ in range(200)
    )


@pytest.fixture(params=["whole", "joined", "padded"])
def path(content: bytes, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / "x.gz"
    cut = len(content) // 3
    match request.param:
        case "joined":
            parts = (content[:cut], b"", content[cut:])
            path.write_bytes(b"".join(map(gzip.compress, parts)))
        case "padded":
            path.write_bytes(gzip.compress(content) + bytes(100_000))
        case _:
            path.write_bytes(gzip.compress(content))
    return path


@pytest.mark.parametrize("points", [4, 512])
def test_any_place(content: bytes, path: Path, points: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gzip_file, "POINTS", points)
    file = GzipFile(str(path))
    parts = []
    while part := file.read(99_999):
        parts.append(part)
    assert b"".join(parts) == content
    assert file.tell() == len(content)
    draw = random.Random(1)
    places = [(draw.randint(0, len(content) + 9), draw.randint(0, 200_000)) for _ in range(150)]
    places += [(0, 0), (0, 1), (len(content), 5), (len(content) - 1, 5)]
    expected = [content[begin : begin + size] for begin, size in places]
    assert [file.read_at(*place) for place in places] == expected
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda place: file.read_at(*place), places)) == expected


def test_little_is_decompressed_again(content: bytes, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file after the other, and one far away from the others."""
    file = GzipFile(str(path))
    while file.read(2**20):
        pass
    found = 0
    read_some = gzip_file._Place.read_some

    def counted(place: gzip_file._Place, opened: object) -> bytes:
        nonlocal found
        part = read_some(place, opened)  # type: ignore[arg-type]
        found += len(part)
        return part

    monkeypatch.setattr(gzip_file._Place, "read_some", counted)
    for begin in range(0, len(content), 10_000):
        file.read_at(begin, 10_000)
    assert found <= len(content) + gzip_file.OUTPUT
    found = 0
    file.read_at(len(content) * 3 // 4, 10)
    assert 0 < found <= gzip_file.SPACING + 2 * gzip_file.OUTPUT


@pytest.mark.parametrize("damage", ["cut off", "changed", "no gzip file"])
def test_damage_is_an_error(content: bytes, tmp_path: Path, damage: str) -> None:
    whole = gzip.compress(content)
    broken = {
        "cut off": whole[:-9],
        "changed": whole[:-8] + bytes([whole[-8] ^ 1]) + whole[-7:],
        "no gzip file": os.urandom(10_000),
    }[damage]
    (tmp_path / "x.gz").write_bytes(broken)
    file = GzipFile(str(tmp_path / "x.gz"))
    with pytest.raises((EOFError, zlib.error)):
        while file.read(2**20):
            pass
