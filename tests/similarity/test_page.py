"""The page of similar pictures, as a browser shows it."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_tk.inference import find
from alexnet_tk.similarity import page as module
from alexnet_tk.similarity.page import Row, write_page
from tests.prediction.test_report import HOSTILE, browse, browser, do

RED, GREEN, BLUE = (200, 30, 30), (30, 200, 30), (30, 30, 200)


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """Of a red picture, a broken one and one in an archive."""
    monkeypatch.chdir(tmp_path)
    for name, color in (("red.png", RED), ("green.png", GREEN), ("blue.png", BLUE)):
        Image.new("RGB", (120, 90), color).save(name)
    with zipfile.ZipFile("many.zip", "w") as archive:
        archive.write("blue.png", "sub/blue.png")
    (inside,) = find(["many.zip"]).paths
    return [
        ("red.png", "", [("green.png", 0.123456), ("gone.png", 2), ("many.zip/sub/blue.png", 34.56789)]),
        ("broken.png", "empty file", []),
        (inside, "", [(HOSTILE, 0.5)]),
    ]


@browser
def test_each_picture_stands_beside_those_like_it(rows: list[Row]) -> None:
    path = Path("page.html").absolute()
    write_page(path, "Similar pictures", "3 pictures <b>", rows)
    shown = browse(path)
    assert [card.partition("\n")[0] for card in shown.cards] == [
        "red.png|green.png|0.1235|no picture|gone.png|2|many.zip/sub/blue.png|34.57|",
        "no picture|broken.png|failed: empty file|",
        f"many.zip/sub/blue.png|no picture|{HOSTILE.replace(chr(0xDCFF), '�')}|0.5|",
    ]
    assert len(shown.pictures) == 4
    assert shown.elements.count("script") == 4, "records, run, the page's own and the test's"
    assert "b" not in shown.elements
    assert shown.texts["summary"] == "3 pictures <b>"
    assert shown.texts["shown"] == "3 of 3 shown"
    assert browse(path, do("search", "GREEN", "input")).cards[0].startswith(shown.cards[0])


@browser
def test_it_looks_like_something(rows: list[Row], tmp_path: Path) -> None:
    path, picture = tmp_path / "page.html", tmp_path / "page.png"
    write_page(path, "Similar pictures", "some", rows)
    browse(path, picture=picture)
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    places = {}
    for color in (RED, GREEN, BLUE):
        near = np.abs(pixels - color).max(axis=2) < 12
        assert near.sum() > 5000, color
        places[color] = near.nonzero()[1].mean()
    assert places[RED] < 130 < places[GREEN]


def test_a_page_has_an_end(rows: list[Row], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_PAGE", 6)
    path = Path("page.html").absolute()
    write_page(path, "Similar pictures", "9 pictures", rows * 3)
    text = path.read_text()
    assert "9 pictures; this page shows the first 6 of 21 pictures" in text
    write_page(path, "Near-equal pictures", "one group", [("a.png", "", [("b.png", 0.0)] * 9)])
    assert "one group; this page shows the first 6 of 10 pictures" in path.read_text()
    assert path.read_text().count("b.png") == 5
    write_page(path, "Similar pictures", "none", [])
    assert "this page shows" not in path.read_text()
