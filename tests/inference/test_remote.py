"""Pictures by URL, through pyarrow's file systems; file:// stands for those that need a network."""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.fs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from alexnet_tk import images
from alexnet_tk.errors import InputError, PictureError
from alexnet_tk.inference import Classifier, find
from alexnet_tk.inference import remote as remote_module
from alexnet_tk.inference.remote import is_url, open_url
from alexnet_tk.preprocess import Square

SQUARE = Square(8, 8, "bilinear")

# Everything that means something in a URL, or is no ASCII.
ODD = ["a b.png", "100%.png", "%41.png", "a#1.png", "a?b=c.png", "é☃.png", "a+b&c.png", "a;b.png", "a:b.png"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    names = [
        *ODD,
        "b.png",
        "a/2.png",
        "a/10.PNG",
        "a/z/0.png",
        "a.png",
        "notes.txt",
        ".hidden.png",
        ".git/x.png",
    ]
    for number, name in enumerate(names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((9, 9, 3), number, np.uint8)).save(tmp_path / name, "PNG")
    return tmp_path


def test_a_folder_by_url_gives_what_the_folder_gives(folder: Path, model_file: Path) -> None:
    here, there = find([folder]), find([folder.as_uri(), f"{folder.as_uri()}/"])
    assert there.ignored == Counter({".txt": 2})
    half = len(here.paths)
    assert half == len(ODD) + 5
    assert there.paths[:half] == there.paths[half:]
    # Pixels differ from file to file, so these are the same files in the same order.
    pixels = [[images.load(path, SQUARE).tolist() for path in here.paths]]
    pixels += [[images.load(open_url(url), SQUARE).tolist() for url in there.paths[:half]]]
    assert pixels[0] == pixels[1]
    assert len({str(each) for each in pixels[0]}) == half
    records = list(Classifier(model_file, "cpu").classify(there.paths, 2))
    assert [record.path for record in records] == there.paths
    assert {record.status for record in records} == {"ok"}
    for url in there.paths[:half]:
        assert find([url]).paths == [url], "what was found can be named again"


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8))
def test_any_name_survives(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder = tmp_path_factory.mktemp("names")
    (folder / f"x{name}.png").write_bytes(name.encode())
    (url,) = find([folder.as_uri()]).paths
    assert open_url(url).read() == name.encode()


def test_what_stands_behind_the_question_mark_goes_with_every_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Buckets:
        @staticmethod
        def from_uri(root: str) -> tuple[pyarrow.fs.FileSystem, str]:
            asked.append(root)
            return pyarrow.fs.LocalFileSystem(), str(folder)

    monkeypatch.setattr(pyarrow.fs, "FileSystem", Buckets)
    remote_module._file_system.cache_clear()
    found = find(["s3://bucket/a?region=eu-north-1"]).paths
    assert found == [f"s3://bucket/a/{name}?region=eu-north-1" for name in ("10.PNG", "2.png", "z/0.png")]
    for url in found:
        assert Image.open(open_url(url)).size == (9, 9)
    assert asked == ["s3://bucket/?region=eu-north-1"], "once for all files of a bucket"
    remote_module._file_system.cache_clear()


def test_what_is_wrong_with_a_url(folder: Path) -> None:
    with pytest.raises(InputError, match="none does not exist"):
        find([f"{folder.as_uri()}/none"])
    with pytest.raises(InputError, match="can't be listed"):
        find(["nosuchthing://bucket/folder"])
    (folder / "a.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match="read in place from disks only"):
        find([f"{folder.as_uri()}/a.zip"])


def test_one_picture_is_one_failed_record(folder: Path, model_file: Path) -> None:
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("no picture")
    urls = [f"{folder.as_uri()}/{name}" for name in ("gone.png", "empty.png", "text.png", "a", "b.png")]
    urls.append("nosuchthing://bucket/a.png")
    found = find([], listed=urls).paths
    assert found == urls, "a list is not looked up"
    errors = [record.error for record in Classifier(model_file, "cpu").classify(found)]
    assert errors[:3] == ["no such file", "empty file", "not a picture that Pillow can read"]
    assert errors[4] == ""
    for each in (errors[3], errors[5]):
        assert each.startswith("can't be read: ")
        assert "\n" not in each


def test_a_large_file_is_not_read_into_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{folder.as_uri()}/b.png"
    small = images.load(open_url(url), SQUARE)
    monkeypatch.setattr(remote_module, "WHOLE", 10)
    with open_url(url) as file:
        assert file.tell() == 0
        assert (images.load(file, SQUARE) == small).all()
    with pytest.raises(PictureError, match="no such file"):
        open_url(f"{folder.as_uri()}/gone.png")


def test_paths_are_no_urls() -> None:
    assert is_url("s3://bucket/a")
    assert is_url("file:///a")
    assert not any(is_url(path) for path in ("a/b", "/a://b", "C://a", "a:/b", "://a", ""))


def test_without_pyarrow_a_listed_url_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.fs", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    remote_module._file_system.cache_clear()
    with pytest.raises(PictureError, match=r"needs pyarrow.*pip install 'alexnet-tk\[parquet\]'"):
        open_url("s3://bucket/a.png")
