"""The text, the files and the page of an evaluation."""

import base64
import csv
import json
from collections import Counter
from dataclasses import asdict, astuple
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_tk import sample
from alexnet_tk.errors import OutputError, UsageError
from alexnet_tk.evaluation import Evaluation, evaluate
from alexnet_tk.exporting import export
from alexnet_tk.inference import Classifier
from tests.evaluation.known import LABELS, RecordedProgress, draw, write_folder, write_model


def test_outputs_hold_the_figures(model: Path, folder: Path, tmp_path: Path) -> None:
    found = evaluate(
        [model],
        folder,
        output=tmp_path / "a.json",
        confusion=[tmp_path / "c.csv", tmp_path / "c.png"],
        report=tmp_path / "page.html",
    )
    written = json.loads((tmp_path / "a.json").read_text())
    assert written["confusion"] == found.confusion.tolist()
    assert (written["labels"], written["pictures"], written["failed"]) == (LABELS, 120, [])
    assert written["top1"]["accuracy"] == found.top1.fraction
    assert written["top5"]["error_interval"] == list(found.top5.complement.interval)
    assert [each["label"] for each in written["classes"]] == [each.label for each in found.classes()]
    assert written["macro"] == asdict(found.macro)
    for line, each in zip(written["classes"], found.classes(), strict=True):
        assert (line["precision"], line["recall"], line["f1"]) == astuple(each.scores)
    assert [each["path"] for each in written["mistakes"]] == [each.path for each in found.mistakes]
    with (tmp_path / "c.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["true label", *LABELS]
    assert [row[0] for row in rows[1:]] == LABELS
    assert [[int(each) for each in row[1:]] for row in rows[1:]] == found.confusion.tolist()
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.format == "PNG"

    evaluate([model], folder, output=tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    for line, each in zip(lines, found.classes(), strict=True):
        assert (line["label"], int(line["pictures"])) == (each.label, each.top1.total)
        assert (line["taken_for"], int(line["times"])) == (each.mistaken_for, each.times_mistaken)
        columns = ("top1", "top1_low", "top1_high", "top5_high", "precision", "recall", "f1")
        assert [float(line[name]) for name in columns] == pytest.approx(
            [each.top1.fraction, *each.top1.interval, each.top5.interval[1], *astuple(each.scores)], rel=1e-5
        )


def test_the_page_shows_figures_and_true_labels(model: Path, tmp_path: Path) -> None:
    labels = ["<b>ant", *LABELS[1:]]
    named = write_model(tmp_path / "named.onnx", labels)
    folder = write_folder(tmp_path / "data", draw(20), np.zeros(20, int), labels)
    (folder / labels[0] / "x.png").write_bytes(b"")
    found = evaluate([named], folder, report=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<b>ant" not in page
    records = json.loads(page.split('id="records">')[1].split("</script>")[0])
    run = json.loads(page.split('id="run">')[1].split("</script>")[0])
    assert len(records) == 21
    assert {each[5] for each in records} == {labels[0]}
    assert sum(each[2][:1] == [labels[0]] for each in records) == found.top1.count
    assert all(each[4] for each in records if not each[1]), "thumbnails"
    assert run["figures"] == found.summary()
    assert run["figures"][0].startswith("top-1  accuracy ")


def test_the_page_shows_what_answers_rest_on(fashion_mini: Path, tmp_path: Path) -> None:
    """Those that `classify` gives, if the file has them; ten views have none."""
    pictures, truth = sample.pictures("val")
    wrong = (truth[:12].astype(np.int64) + 1) % len(sample.LABELS)
    folder = write_folder(tmp_path / "data", pictures[:12], wrong, sample.LABELS)
    model = tmp_path / "model.onnx"
    export(fashion_mini, model, explain=True)
    evaluate([model], folder, report=tmp_path / "page.html", device="cpu")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    records = json.loads(page.split('id="records">')[1].split("</script>")[0])
    paths = sorted(map(str, folder.rglob("*.png")))
    expected = Classifier(model, "cpu").classify(paths, thumbnails=True, explain=True)
    assert [base64.b64decode(each[6]) for each in records] == [each.heat_thumbnail for each in expected]
    assert all(each[6] for each in records)
    evaluate([model], folder, report=tmp_path / "ten.html", crops=10, device="cpu")
    page = (tmp_path / "ten.html").read_text(encoding="utf-8")
    records = json.loads(page.split('id="records">')[1].split("</script>")[0])
    assert len(records) == 12
    assert not any(each[6] for each in records)


def test_text_of_many_classes_shows_the_worst() -> None:
    confusion = np.eye(100, dtype=np.int64) * np.arange(1, 101)[:, None]
    confusion[:, 0] += 1
    labels, zeros = [f"{number}" for number in range(100)], np.zeros(100, np.int64)
    found = Evaluation([Path("m")], Path("d"), 1, labels, confusion, zeros, [], [], Counter(), [], 1.0)
    lines = found.summary()
    assert "the worst 40 of 100 classes; --output F.csv lists all" in lines
    listed = lines[lines.index("the worst 40 of 100 classes; --output F.csv lists all") + 3 :]
    assert listed[0] == " 66.7%    0.0%     100.0%   80.0%         3  1, 1 × 0"
    assert len(listed) == 40


def test_outputs_are_refused_before_the_work(model: Path, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("precious")
    copy = tmp_path / "copy.csv"
    copy.write_bytes(model.read_bytes())
    for error, message, options in (
        (OutputError, "--overwrite", {"output": tmp_path / "a.json"}),
        (OutputError, "--overwrite", {"report": tmp_path / "a.json"}),
        (OutputError, "does not exist", {"report": tmp_path / "gone" / "page.html"}),
        (OutputError, "is the input itself", {"output": copy, "overwrite": True}),
        (UsageError, r"neither \.csv nor \.json", {"output": tmp_path / "a.txt"}),
        (UsageError, r"neither \.csv nor \.png", {"confusion": [tmp_path / "a.json"]}),
        (UsageError, "the same name", {"output": tmp_path / "a.csv", "confusion": [tmp_path / "a.csv"]}),
    ):
        progress = RecordedProgress()
        with pytest.raises(error, match=message):
            evaluate([copy], folder, progress=progress, **options)
        assert progress.messages == []
    with pytest.raises(UsageError, match="no model"):
        evaluate([], folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "copy.csv"]
    evaluate([model], folder, output=tmp_path / "a.json", overwrite=True)
    assert json.loads((tmp_path / "a.json").read_text())["pictures"] == 120
