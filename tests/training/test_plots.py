"""The pictures of a run, looked at pixel by pixel where that says something."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib import font_manager
from PIL import Image

from alexnet_tk.training import plots


def test_filters_stand_tower_above_tower(tmp_path: Path) -> None:
    """Eight kernels of one colour each: the first tower's are seen in the upper half, in their order."""
    kernels = np.zeros((8, 3, 5, 5), np.float32)
    kernels[:4, 0] = 1  # red in the first tower
    kernels[4:, 2] = 1  # blue in the second
    kernels[0] = 0
    kernels[0, 1] = 7  # and one green, whose size does not matter
    plots.draw_filters(kernels, 2, tmp_path / "filters.png")
    picture = np.asarray(Image.open(tmp_path / "filters.png").convert("RGB")).astype(int)
    upper, lower = np.array_split(picture, 2)
    assert (upper.argmax(axis=2)[upper.std(axis=2) > 50] != 2).all()
    assert (lower.argmax(axis=2)[lower.std(axis=2) > 50] == 2).all()
    quarter = upper[:, : upper.shape[1] // 4]
    assert (quarter.argmax(axis=2)[quarter.std(axis=2) > 50] == 1).mean() > 0.95


def test_curves_and_confusion_are_drawn(tmp_path: Path) -> None:
    history = [
        {"epoch": i, "loss": 2 / i, "val_loss": 2.1 / i, "val_top1": 1 - 1 / i, "val_top5": 1.0}
        for i in (1, 2, 3)
    ]
    plots.draw_curves(history, tmp_path / "curves.png")
    for classes in (2, 1000):
        counts = np.eye(classes, dtype=np.int64) * 5
        counts[0] = 0  # a class without validation pictures
        plots.draw_confusion(counts, [f"label {i}" for i in range(classes)], tmp_path / f"{classes}.png")
    for name in ("curves", "2", "1000"):
        picture = np.asarray(Image.open(tmp_path / f"{name}.png").convert("L"))
        assert picture.std() > 5
        assert min(picture.shape) > 300


def test_labels_that_are_no_text_are_drawn(tmp_path: Path) -> None:
    labels = ["caf\udce9", "line\nbreak", "$math", "nul\x01"]
    assert plots.draw_confusion(np.eye(4, dtype=np.int64), labels, tmp_path / "c.png", "t\udce9") == ""
    assert np.asarray(Image.open(tmp_path / "c.png").convert("L")).std() > 5


def test_characters_without_a_font_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(font_manager, "findSystemFonts", list)
    note = plots.draw_confusion(np.eye(2, dtype=np.int64), ["翘头", "直 a"], tmp_path / "c.png")
    assert note.startswith("no font here has 头, 直, 翘, so boxes stand for them")


def test_an_installed_font_that_has_them_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path
    monkeypatch.setattr(
        font_manager, "findSystemFonts", lambda: [str(own / "broken.ttf"), str(own / "x.ttf")]
    )
    monkeypatch.setattr(
        plots,
        "_characters",
        lambda path: {"x.ttf": {"翘"}, "broken.ttf": set()}.get(Path(path).name, {"a"}),
    )
    added: list[str] = []
    monkeypatch.setattr(font_manager.fontManager, "addfont", added.append)
    monkeypatch.setattr(font_manager, "get_font", lambda path: SimpleNamespace(family_name="Its Name"))
    assert plots._fonts_for("翘a 直") == (["Its Name"], ["直"])
    assert added == [str(own / "x.ttf")]


def test_a_long_label_is_shortened(tmp_path: Path) -> None:
    """Else nothing is left of the matrix, and matplotlib warns of it."""
    plots.draw_confusion(np.eye(2, dtype=np.int64) * 9, ["a" * 250, "b"], tmp_path / "c.png")
    picture = np.asarray(Image.open(tmp_path / "c.png").convert("RGB")).astype(int)
    dark_blue = (picture[..., 2] > picture[..., 0] + 60) & (picture[..., 0] < 50)
    assert dark_blue.mean() > 0.05
