"""Two thousand inputs, every kind of failure among them: each is one record, the right one, in its place."""

import os
import random
import struct
import zipfile
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_tk.archives import members
from alexnet_tk.inference import Classifier, Record

REASONS = {
    "sound": "",
    "gone": "no such file",
    "dangling": "no such file",
    "empty": "empty file",
    "text": "not a picture that Pillow can read",
    "truncated": "truncated",
    "bomb": "more than 178,956,970 pixels",
    "folder": "not a file but a folder, pipe or device",
    "pipe": "not a file but a folder, pipe or device",
    "locked": "no permission to read it",
    "packed": "",
    "cut off": "can't be unpacked",
}
COUNT = 2_000


def bomb() -> bytes:
    """A PNG of a few bytes, whole by its chunks, that promises 2.5 thousand million pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], list[str]]:
    """Paths, and what is wrong with each."""
    folder = tmp_path_factory.mktemp("faults")
    draw, pixels = random.Random(1), np.random.default_rng(1)
    kinds = [kind for kind in REASONS if kind != "locked" or os.geteuid() != 0]  # root may read all
    what = draw.choices(kinds, weights=[20 if kind == "sound" else 1 for kind in kinds], k=COUNT - 100)
    what += ["sound"] * 30 + draw.choices([kind for kind in kinds if REASONS[kind]], k=70)  # whole batches
    colours = pixels.integers(0, 256, (COUNT, 1, 1, 3)) + pixels.integers(-20, 20, (COUNT, 9, 9, 3))
    pictures = colours.clip(0, 255).astype(np.uint8)
    archive = folder / "pictures.zip"
    paths: list[str] = []
    with zipfile.ZipFile(archive, "w") as packed:
        for number, kind in enumerate(what):
            path = folder / f"{number:04}.png"
            paths.append(str(path))
            if kind == "gone":
                continue
            if kind == "dangling":
                path.symlink_to("nowhere")
                continue
            if kind == "folder":
                path.mkdir()
                continue
            if kind == "pipe":
                os.mkfifo(path)
                continue
            Image.fromarray(pictures[number]).save(path)
            whole = path.read_bytes()
            if kind in ("packed", "cut off"):
                packed.writestr(path.name, whole)
                path.unlink()
            other = {"empty": b"", "text": b"no picture", "truncated": whole[:-60], "bomb": bomb()}
            if kind in other:
                path.write_bytes(other[kind])
            if kind == "locked":
                path.chmod(0)
    by_name = {member.name: member for member in members(str(archive))}
    raw = bytearray(archive.read_bytes())
    for number, kind in enumerate(what):
        name = f"{number:04}.png"
        if kind == "cut off":  # another byte than its checksum was made of
            raw[raw.index(name.encode()) + len(name) + 50] ^= 0xFF
    archive.write_bytes(raw)
    return [by_name.get(Path(path).name, path) for path in paths], what


@pytest.fixture(scope="module")
def one_by_one(inputs: tuple[list[str], list[str]], model_file: Path) -> list[Record]:
    classifier = Classifier(model_file, "cpu")
    return [
        record for path in inputs[0] for record in classifier.classify([path], 5, batch_size=1, workers=1)
    ]


def test_each_failure_has_its_reason(inputs: tuple[list[str], list[str]], one_by_one: list[Record]) -> None:
    paths, what = inputs
    assert [record.path for record in one_by_one] == paths
    for record, kind in zip(one_by_one, what, strict=True):
        assert record.error.startswith(REASONS[kind])
        assert bool(record.error) == bool(REASONS[kind]), kind
        assert len(record.labels) == (0 if record.error else 5)
    assert min(Counter(what).values()) > 30, "every kind is there"
    assert len({record.probabilities for record in one_by_one}) > 1_000, "or a swap could not be seen"


@pytest.mark.parametrize(
    ("device", "workers"), [("cpu", 1), ("cpu", 2), ("cpu", 8), ("openvino", 2), ("openvino", 8)]
)
def test_many_workers_answer_as_one_does(
    inputs: tuple[list[str], list[str]], one_by_one: list[Record], model_file: Path, device: str, workers: int
) -> None:
    if device == "openvino":
        pytest.importorskip("openvino", exc_type=ImportError)
    for batch_size in (None, 7):
        records = list(
            Classifier(model_file, device).classify(inputs[0], 5, workers=workers, batch_size=batch_size)
        )
        assert [(each.path, each.error, each.labels) for each in records] == [
            (each.path, each.error, each.labels) for each in one_by_one
        ]
        for record, other in zip(records, one_by_one, strict=True):
            np.testing.assert_allclose(record.probabilities, other.probabilities, rtol=1e-5)
