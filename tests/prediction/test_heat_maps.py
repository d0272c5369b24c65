"""`predict --explain`: a heat map for every answer, under its number; and where it can't be."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_tk import predict, sample
from alexnet_tk.errors import ModelError, OutputError, UsageError
from alexnet_tk.exporting import export
from alexnet_tk.inference import Classifier
from alexnet_tk.inference.record import Record
from alexnet_tk.prediction.heat_maps import heat_map_writer, make_heat_map_folder


@pytest.fixture(scope="module")
def model(fashion_mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("explained") / "model.onnx"
    export(fashion_mini, path, explain=True)
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Eleven files in folders, of which the fourth is broken, and two share a name."""
    folder = tmp_path / "pictures"
    for number, pixels in enumerate(sample.pictures("val")[0][:11]):
        path = folder / f"{number % 2}" / f"{number // 2} é.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    (folder / "0" / "3 é.png").write_bytes(b"text")
    return folder


EXPECTED = [f"{row:07}-{row % 6 if row < 6 else row - 6} é.jpg" for row in range(11) if row != 3]


def test_every_answer_has_one(model: Path, pictures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "maps"
    outcome = predict([pictures], model=model, explain=folder, batch_size=4, device="cpu")
    assert (outcome.answered, outcome.failed) == (10, 1)
    assert sorted(each.name for each in folder.iterdir()) == EXPECTED
    records = list(
        Classifier(model, "cpu").classify([record.path for record in outcome.records], explain=True)
    )
    for name, record in zip(EXPECTED, [each for each in records if not each.error], strict=True):
        assert (folder / name).read_bytes() == record.heat_map
        assert Image.open(io.BytesIO(record.heat_map)).size == (96, 96)
    assert not any(record.heat_map for record in outcome.records), "ten kB each would not stay in memory"
    assert not records[3].heat_map


def test_a_resumed_run_writes_those_that_are_missing(model: Path, pictures: Path, tmp_path: Path) -> None:
    options = {"model": model, "output": tmp_path / "a.csv", "batch_size": 2, "device": "cpu"}
    with pytest.raises(KeyboardInterrupt):

        def stop(record: Record) -> None:
            if record.path.endswith("4 é.png"):
                raise KeyboardInterrupt

        predict([pictures], explain=tmp_path / "maps", on_record=stop, **options)  # type: ignore[arg-type]
    before = {each.name for each in (tmp_path / "maps").iterdir()}
    assert before < set(EXPECTED)
    for explain in (None, tmp_path / "other maps"):
        with pytest.raises(OutputError, match="with another --explain, or without one"):
            predict([pictures], explain=explain, resume=True, **options)  # type: ignore[arg-type]
    predict([pictures], explain=tmp_path / "maps", resume=True, **options)  # type: ignore[arg-type]
    predict([pictures], explain=tmp_path / "whole", model=model, batch_size=2, device="cpu")
    assert sorted(each.name for each in (tmp_path / "maps").iterdir()) == EXPECTED
    for name in EXPECTED:
        assert (tmp_path / "maps" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_what_is_there_is_not_overwritten_unasked(model: Path, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="maps is not empty; --overwrite"):
        predict([pictures], model=model, explain=tmp_path / "maps", device="cpu")
    with pytest.raises(OutputError, match="is a file; --explain names a folder"):
        predict([pictures], model=model, explain=tmp_path / "maps" / "mine.txt", device="cpu")
    (tmp_path / "maps" / "0000099-of an earlier run.jpg").write_text("old")
    predict([pictures], model=model, explain=tmp_path / "maps", overwrite=True, device="cpu")
    assert sorted(each.name for each in (tmp_path / "maps").iterdir()) == [*EXPECTED, "mine.txt"]


def test_no_picture_is_taken_for_an_earlier_heat_map(model: Path, tmp_path: Path) -> None:
    """One with such a name, in the folder that is to be written, which may be named through a link."""
    picture = tmp_path / "photos" / "maps" / "0000007-mine.jpg"
    picture.parent.mkdir(parents=True)
    Image.new("RGB", (30, 30)).save(picture)
    (tmp_path / "link").symlink_to(picture.parent)
    for explain in (picture.parent, tmp_path / "link"):
        with pytest.raises(OutputError, match=r"holds pictures to be answered, such as .*0000007-mine\.jpg"):
            predict([tmp_path / "photos"], model=model, explain=explain, overwrite=True, device="cpu")
    assert picture.is_file()


def test_a_file_that_does_not_say_it_names_the_next_step(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"fashion-mini/model.onnx .*`alexnet-tk export model.pt --explain`"):
        predict([pictures], explain=tmp_path / "maps", output=tmp_path / "a.csv", device="cpu")
    assert not (tmp_path / "maps").exists()
    assert not (tmp_path / "a.csv").exists()
    with pytest.raises(UsageError, match="--explain need all answers in one process"):
        predict([pictures], explain=tmp_path / "maps", output=tmp_path / "a.parquet", engine="ray")


def test_a_folder_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="can't be created"):
        make_heat_map_folder(tmp_path / "file" / "maps", [], resume=False)
    make_heat_map_folder(tmp_path / "maps", [], resume=False)
    write = heat_map_writer(tmp_path / "maps", 7)
    (tmp_path / "maps" / "0000007-a.jpg").mkdir()
    with pytest.raises(OutputError, match=r"0000007-a.jpg can't be written: "):
        write(Record("b/a.png", heat_map=b"jpeg"))
    (left,) = (tmp_path / "maps").iterdir()
    assert left.name == "0000007-a.jpg", "no part of a file is left"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("picture 5", b"0000000-picture 5.jpg"),
        ("https://example.org/x/photo.jpg?size=large", b"0000000-photo.jpg"),
        (os.fsdecode(b"odd\xff.png"), b"0000000-odd\xff.jpg"),
        ("é" * 120 + ".png", b"0000000-" + "é".encode() * 50 + b".jpg"),
    ],
)
def test_names_of_files(tmp_path: Path, path: str, name: bytes) -> None:
    heat_map_writer(tmp_path, 0)(Record(path, heat_map=b"jpeg"))
    assert [os.fsencode(each.name) for each in tmp_path.iterdir()] == [name]


def test_the_page_has_both_thumbnails(model: Path, pictures: Path, tmp_path: Path) -> None:
    predict([pictures], model=model, explain=tmp_path / "maps", report=tmp_path / "page.html", device="cpu")
    explained = (tmp_path / "page.html").read_text()
    predict([pictures], model=model, report=tmp_path / "plain.html", device="cpu")
    assert len(explained) > len((tmp_path / "plain.html").read_text()) + 10 * 500
    records = list(Classifier(model, "cpu").classify([str(pictures / "0" / "0 é.png")], explain=True))
    assert records[0].heat_thumbnail == b"", "where no thumbnails are asked for"
    assert np.asarray(Image.open(io.BytesIO(records[0].heat_map))).std() > 5
