"""Whatever a stranger's file holds, it is answered, or refused with one of the library's own errors.

pytest -m fuzz                         a few dozen files for each reader, as in every run of the tests
pytest -m fuzz --fuzz-minutes 30       half an hour for each
"""

import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from alexnet_tk import images
from alexnet_tk.archives import members
from alexnet_tk.errors import (
    AlexnetError,
    CheckpointError,
    DataError,
    InputError,
    ModelError,
    OutputError,
    PictureError,
    RecipeError,
)
from alexnet_tk.inference import Record
from alexnet_tk.inference.model import open_model
from alexnet_tk.inference.other_models import read_labels, read_preprocess
from alexnet_tk.prediction.formats import CSV, JSON_LINES, PARQUET, AppendableFormat, WholeFormat
from alexnet_tk.prediction.output import OutputFile
from alexnet_tk.prediction.plan import Plan, plan_file
from alexnet_tk.preprocess import Square
from alexnet_tk.recipe import Recipe
from tests.fuzz.mutation import fuzz

pytestmark = pytest.mark.fuzz

SCENE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8))
FORMATS = {
    "PNG": "RGB",
    "JPEG": "RGB",
    "GIF": "P",
    "BMP": "RGB",
    "TIFF": "RGB",
    "WEBP": "RGB",
    "PPM": "RGB",
    "TGA": "RGBA",
}


def stored(format: str, mode: str) -> bytes:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"exif": exif} if format in ("PNG", "JPEG", "WEBP") else {}
    SCENE.convert(mode).save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize("format", FORMATS)
def test_a_picture(format: str, minutes: float) -> None:
    def read(data: bytes) -> None:
        try:
            pixels = images.load(io.BytesIO(data), Square(16, 16, "bilinear"))
        except PictureError as error:
            assert str(error)
            assert "\n" not in str(error)
        else:
            assert pixels.shape == (16, 16, 3)
            assert pixels.dtype == np.uint8

    fuzz(read, [stored(format, FORMATS[format])], minutes)


@pytest.mark.parametrize("ending", ["zip", "tar"])
def test_an_archive(ending: str, minutes: float, tmp_path: Path) -> None:
    file, picture = io.BytesIO(), stored("PNG", "RGB")
    if ending == "zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in ("a.png", "b/c.png", "notes.txt"):
                archive.writestr(name, picture)
    else:
        with tarfile.open(fileobj=file, mode="w") as tar:
            for name in ("a.png", "b/c.png", "notes.txt"):
                info = tarfile.TarInfo(name)
                info.size = len(picture)
                tar.addfile(info, io.BytesIO(picture))
    path = tmp_path / f"x.{ending}"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        try:
            found = members(str(path))
        except InputError as error:
            assert "\n" not in str(error)
            return
        for member in found:
            try:
                assert len(member.read()) == member.size
            except PictureError as error:
                assert "\n" not in str(error)

    fuzz(read, [file.getvalue()], minutes)


RECORDS = [
    Record("a.png", "", ("cat", "dog"), (0.75, 0.25)),
    Record('b "c".png', "", ("dog", "cat"), (0.5, 0.5)),
    Record("gone.png", "no such file"),
]
PLAN = Plan.of("model", [record.path for record in RECORDS], 2, "csv", 4)


@pytest.mark.parametrize("format", [CSV, JSON_LINES, PARQUET], ids=lambda format: format.name)
@pytest.mark.parametrize("part", ["answers", "plan"])
def test_an_output_to_resume(
    format: AppendableFormat | WholeFormat, part: str, minutes: float, tmp_path: Path
) -> None:
    plan = Plan.of("model", [record.path for record in RECORDS], 2, format.name, 4)
    output = OutputFile(tmp_path / f"a{format.ending}", format)
    with output.open(plan, resume=False) as (_, write):
        write(b"".join(output.rows.row(record, plan.topk) for record in RECORDS))
    sound = {path: path.read_bytes() for path in (output.path, plan_file(output.path))}
    fuzzed = output.path if part == "answers" else plan_file(output.path)

    def read(data: bytes) -> None:
        for path, content in sound.items():
            path.write_bytes(data if path == fuzzed else content)
        try:
            before = output.take_up(plan, [record.path for record in RECORDS])
        except OutputError as error:
            assert "\n" not in str(error)
        else:
            assert before.pictures <= len(RECORDS) or isinstance(format, WholeFormat)

    fuzz(read, [sound[fuzzed]], minutes)


def test_the_metadata_of_an_onnx_file(minutes: float, tmp_path: Path, model_file: Path) -> None:
    model = onnx.load(model_file)
    properties = {each.key: each.value for each in model.metadata_props}
    path = tmp_path / "m.onnx"

    def read(data: bytes) -> None:
        try:
            changed = {str(key): str(value) for key, value in json.loads(data).items()}
            onnx.helper.set_model_props(model, changed)
        except (ValueError, AttributeError, RecursionError):
            return  # not a set of properties
        path.write_bytes(model.SerializeToString())
        try:
            open_model(path, "cpu")
        except ModelError as error:
            assert "\n" not in str(error)

    fuzz(read, [json.dumps(properties, ensure_ascii=False).encode("utf-8")], minutes)


def test_a_checkpoint(minutes: float, tmp_path: Path, fashion_mini: Path) -> None:
    import torch

    from alexnet_tk.training.checkpoint import Checkpoint
    from alexnet_tk.training.run import Run

    content = torch.load(fashion_mini, weights_only=True)
    small = dict.fromkeys(content["weights"], torch.zeros(2))  # no network of any recipe; read to its end
    file = io.BytesIO()
    torch.save(content | {"weights": small}, file)
    path = tmp_path / "model.pt"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        for load in (Checkpoint.load, Run.load):
            try:
                load(path)
            except CheckpointError as error:
                assert "\n" not in str(error)

    fuzz(read, [file.getvalue()], minutes)


def test_a_packed_set(minutes: float, tmp_path: Path) -> None:
    from alexnet_tk.training import pack
    from alexnet_tk.training.packed import open_packed

    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(2):
            SCENE.save(tmp_path / "photos" / label / f"{number}.png")
    pack(tmp_path / "photos", tmp_path / "packed")
    sound = {
        path: path.read_bytes()
        for path in (tmp_path / "packed").iterdir()
        if path.stat().st_size < 10_000 and path.stat().st_size
    }

    for fuzzed in sound:

        def read(data: bytes, fuzzed: Path = fuzzed) -> None:
            for path, content in sound.items():
                path.write_bytes(data if path == fuzzed else content)
            try:
                open_packed(tmp_path / "packed")
            except DataError as error:
                assert "\n" not in str(error)

        fuzz(read, [sound[fuzzed]], minutes / len(sound))


def test_recipes_labels_and_preprocessing(minutes: float, tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    table = """
        [network]
        channels = [96, 256, 384, 384, 256]
        c1 = { kernel = 11, stride = 4 }
        [preprocess]
        mean = [1.0, 2.5, 3]
        filter = 'bilinear'
        [train]
        lr = 1e-2
        steps = [3]
    """

    def read(data: bytes) -> None:
        path.write_bytes(data)
        for reader in (Recipe.from_file, lambda path: read_preprocess(str(path)), read_labels):
            try:
                reader(path)
            except (RecipeError, InputError) as error:
                assert isinstance(error, AlexnetError)
                assert "\n" not in str(error)

    fuzz(read, [table.encode(), b"[preprocess]\nresize = 256\nmean = [0, 0, 0]\ncrop = 3\n"], minutes)
