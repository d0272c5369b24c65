"""The page of a run, as a browser shows it."""

import base64
import json
import re
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_tk.errors import OutputError
from alexnet_tk.inference import Record
from alexnet_tk.inference.pictures import thumbnail
from alexnet_tk.prediction import report as module
from alexnet_tk.prediction.report import report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

RED, GREEN = (200, 30, 30), (30, 200, 30)
HOSTILE = (
    '</script><script>document.title="taken"</script><img src=x onerror="document.title=1">\udcff & "q".png'
)


def plain(color: tuple[int, int, int]) -> bytes:
    return thumbnail(np.asarray(Image.new("RGB", (224, 224), color)))


RECORDS = [
    Record("a.png", "", ("cat", "dog"), (0.6, 0.4), plain(RED)),
    Record("b.png", "", ("dog", "cat"), (0.99, 0.01), plain(GREEN)),
    Record("broken.png", "empty file"),
    Record(HOSTILE, "", ("<b>cat</b>", "dog"), (0.55, 0.45), plain(RED)),
    Record("sub/c.png", "", ("cat", "dog"), (0.8, 0.2), plain(GREEN)),
]


def write(path: Path, records: list[Record]) -> Path:
    with report(path, "model.onnx", Counter({".txt": 3})) as add:
        for record in records:
            add(record)
    return path


class Shown(HTMLParser):
    """The texts of the cards, of the options of the first list, and of elements with an id."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.cards: list[str] = []
        self.bars: list[str] = []
        self.pictures: list[str] = []
        self.elements: list[str] = []
        self.texts: dict[str, str] = {}
        self._id = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {key: value or "" for key, value in attrs}
        self.elements.append(tag)
        self._id = told.get("id", "" if tag in ("script", "article", "div") else self._id)
        if tag == "article":
            self.cards.append("")
        if tag == "img":
            self.pictures.append(told["src"])
        if tag == "i":
            self.bars.append(told["style"])

    def handle_endtag(self, tag: str) -> None:
        if tag in ("p", "span", "select"):
            self._id = ""

    def handle_data(self, data: str) -> None:
        self.texts[self._id] = self.texts.get(self._id, "") + data
        if self.cards and not self._id:
            self.cards[-1] += data + "|"


def browse(path: Path, actions: str = "", picture: Path | None = None) -> Shown:
    """What Chromium makes of the page when a person has done these things to it."""
    assert CHROMIUM is not None
    page = path.read_text(encoding="utf-8")
    acted = path.with_name("acted.html")
    acted.write_text(page.replace("</body>", f"<script>{actions}</script></body>"), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    options += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    options += [f"--user-data-dir={path.parent / 'profile'}", "--window-size=1200,900"]
    what = ["--dump-dom", "--virtual-time-budget=3000"] if picture is None else [f"--screenshot={picture}"]
    done = subprocess.run(
        [CHROMIUM, *options, *what, acted.as_uri()],
        capture_output=True,
        encoding="utf-8",
        check=True,
        timeout=60,
    )
    return Shown(done.stdout)


def do(control: str, value: str, event: str = "change") -> str:
    return f"document.getElementById('{control}').value = {json.dumps(value)};" + (
        f"document.getElementById('{control}').dispatchEvent(new Event('{event}'));"
    )


def paths(shown: Shown) -> list[str]:
    return [re.sub(r"^✕\|", "", card).split("|")[0] for card in shown.cards]


@browser
def test_every_record_is_a_card(tmp_path: Path) -> None:
    shown = browse(write(tmp_path / "page.html", RECORDS))
    assert paths(shown) == [each.path.replace("\udcff", "�") for each in RECORDS]
    assert shown.cards[0] == "a.png|cat|60.0 %|dog|40.0 %|"
    assert shown.cards[2] == "✕|broken.png|failed: empty file|"
    assert shown.bars[:2] == ["width: 60%;", "width: 40%;"]
    assert len(shown.pictures) == 4 and all(
        each.startswith("data:image/jpeg;base64,") for each in shown.pictures
    )
    assert shown.texts["summary"] == "model.onnx: 5 pictures, 4 answered, 1 failed, 3 other files ignored"
    assert shown.texts["shown"] == "5 of 5 shown"
    assert shown.texts["label"] == "all (5)failed (1)cat (2)dog (1)<b>cat</b> (1)"


@browser
def test_names_can_not_write_into_the_page(tmp_path: Path) -> None:
    shown = browse(write(tmp_path / "page.html", RECORDS))
    assert "b" not in shown.elements
    assert shown.elements.count("script") == 4, "records, run, the page's own and the test's"
    assert shown.elements.count("img") == 4


@browser
def test_filters_and_orders(tmp_path: Path) -> None:
    page = write(tmp_path / "page.html", RECORDS)
    assert paths(browse(page, do("label", "lcat"))) == ["a.png", "sub/c.png"]
    assert paths(browse(page, do("label", "f"))) == ["broken.png"]
    assert paths(browse(page, do("search", "SUB/", "input"))) == ["sub/c.png"]
    shown = browse(page, do("order", "least"))
    assert paths(shown)[1:] == ["a.png", "sub/c.png", "b.png", "broken.png"], "failed ones have no certainty"
    assert paths(browse(page, do("order", "most")))[:2] == ["b.png", "sub/c.png"]
    both = browse(page, do("order", "most") + do("label", "lcat"))
    assert paths(both) == ["sub/c.png", "a.png"]
    assert both.texts["shown"] == "2 of 5 shown"


@browser
def test_it_looks_like_something(tmp_path: Path) -> None:
    page, picture = write(tmp_path / "page.html", RECORDS), tmp_path / "page.png"
    browse(page, picture=picture)
    colors = np.unique(np.asarray(Image.open(picture).convert("RGB")).reshape(-1, 3), axis=0).astype(int)
    for wanted in ((200, 30, 30), (30, 200, 30), (201, 48, 44)):  # two thumbnails and the word failed
        assert np.abs(colors - wanted).max(axis=1).min() < 12, wanted


@browser
def test_a_click_shows_what_an_answer_rests_on(tmp_path: Path) -> None:
    explained = replace(RECORDS[0], heat_thumbnail=plain(GREEN))
    page, click = (
        write(tmp_path / "page.html", [explained, RECORDS[0]]),
        "document.querySelector('button').click();",
    )
    red, green = (
        f"data:image/jpeg;base64,{base64.b64encode(plain(color)).decode()}" for color in (RED, GREEN)
    )
    shown = browse(page)
    assert shown.pictures == [red, red]
    assert shown.texts["summary"].endswith("; click a picture to see what its answer rests on")
    assert browse(page, click).pictures == [green, red]
    assert browse(page, click * 2).pictures == [red, red]


@browser
def test_an_unknown_picture_says_so(tmp_path: Path) -> None:
    page = write(tmp_path / "page.html", [each.marked(0.7) for each in RECORDS[:3]])
    first, second, _ = browse(page).cards
    assert first.endswith("|unknown: less sure than was asked for|")
    assert "unknown" not in second


@browser
@pytest.mark.slow
def test_ten_thousand_pictures(tmp_path: Path) -> None:
    red = plain(RED)
    many = [
        Record(
            f"{number:05}.png",
            "",
            ("cat", "dog"),
            (0.5 + number / 20_001, 0.5 - number / 20_001),
            red,
        )
        for number in range(9_999)
    ]
    page = write(tmp_path / "page.html", [*many, RECORDS[2]])
    shown = browse(page)
    assert 120 <= len(shown.cards) <= 1_200, "cards are made as one scrolls, not all at once"
    assert paths(browse(page, do("order", "most")))[0] == "09998.png"
    scrolled = browse(page, "for (let i = 0; i < 100; i++) draw();")
    assert len(scrolled.cards) == 10_000
    assert paths(scrolled)[-1] == "broken.png"


def test_no_picture_at_all(tmp_path: Path) -> None:
    page = write(tmp_path / "page.html", []).read_text()
    assert json.loads(page.split('id="records">')[1].split("</script>")[0]) == []


def test_a_page_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_PAGE", 10)
    page = write(tmp_path / "page.html", [*RECORDS[:2] * 20, RECORDS[2]]).read_text()
    records = json.loads(page.split('id="records">')[1].split("</script>")[0])
    assert [each[0] for each in records] == ["a.png", "b.png"] * 4 + ["a.png", "broken.png"]
    assert "41 pictures, 40 answered, 1 failed" in page
    assert "this page shows 10 of them" in page


def test_a_run_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt), report(path, "m", Counter()) as add:
        add(RECORDS[0])
        raise KeyboardInterrupt
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]
    with pytest.raises(OutputError), report(tmp_path / "gone" / "page.html", "m", Counter()):
        pass
