"""Figures against numpy over pixels and against scikit-learn; every kind of model, pictures and output."""

import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from sklearn.metrics import confusion_matrix, top_k_accuracy_score

from alexnet_tk import sample, zoo
from alexnet_tk.errors import DataError, ModelError, OutputError, UsageError
from alexnet_tk.evaluation import Evaluation, Share, evaluate
from alexnet_tk.evaluation.figures import Z
from alexnet_tk.evaluation.output import text
from alexnet_tk.inference.model import FORMAT, INPUT, OUTPUT, preprocess_metadata
from alexnet_tk.recipe import Preprocess

LABELS = ["ant", "bee", "cat", "dog", "eel", "fox", "T-shirt"]
SIDE, SCALED = 8, 12  # of a crop, and of the square it is cut out of
NETWORK = {"image_size": SIDE, "pool_ceil": True, "c1": {"kernel": 3, "stride": 1, "padding": 1}}
# The mean red, green and blue of a picture times these are the logits; how bright it is does not count.
WEIGHTS, OTHERS = (
    (draws - draws.mean(axis=0)).astype(np.float32)
    for draws in np.random.default_rng(1).normal(0, 0.1, (2, 3, len(LABELS)))
)


def write_model(
    path: Path,
    labels: Sequence[str] = LABELS,
    weights: NDArray[np.float32] = WEIGHTS,
    ids: Sequence[str] = (),
    side: int = SIDE,
    scaled: int = SCALED,
) -> Path:
    """A file of ours whose network can be worked out by hand."""
    classes = weights.shape[1]
    nodes = [
        helper.make_node("Cast", [INPUT], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], [OUTPUT], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "means",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["batch", side, side, 3])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", classes])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.array([1, 2]), "axes")],
    )
    told: dict[str, Any] = {
        "format": FORMAT,
        "labels": list(labels),
        "label_ids": list(ids),
        "preprocess": preprocess_metadata(Preprocess(resize=scaled, mean=(0.0, 0.0, 0.0)), side, "uint8"),
        "network": NETWORK | {"image_size": side},
        "precision": "fp32",
    }
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {f"alexnet_tk.{key}": json.dumps(value) for key, value in told.items()})
    onnx.save(model, path)
    return path


def answers(views: NDArray[np.uint8], weights: NDArray[np.float32] = WEIGHTS) -> NDArray[np.float64]:
    """What that network gives for views uint8 (N, S, S, 3), in double precision."""
    logits = views.astype(np.float64).mean(axis=(1, 2)) @ weights.astype(np.float64)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]


def draw(count: int, side: int = SCALED, seed: int = 0) -> NDArray[np.uint8]:
    """Pictures uint8 (N, side, side, 3), of many colours that differ from place to place."""
    random = np.random.default_rng(seed)
    colours = random.integers(0, 256, (count, 2, 2, 3)).repeat(side // 2, axis=1).repeat(side // 2, axis=2)
    return (colours * 0.8 + random.integers(0, 50, (count, side, side, 3))).astype(np.uint8)


def centre(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pictures[:, 2:10, 2:10]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.uint8]:
    return draw(120)


@pytest.fixture(scope="module")
def truth(pictures: NDArray[np.uint8]) -> NDArray[np.int64]:
    """A class for each picture, right for some and wrong for others; none is an eel, the fifth."""
    classes: NDArray[np.int64] = answers(centre(pictures)).argmax(axis=1)
    random = np.random.default_rng(5)
    wrong = random.random(len(pictures)) < 0.5
    classes[wrong] = random.integers(0, len(LABELS), wrong.sum())
    classes[classes == 4] = 6
    return classes


def write_folder(
    folder: Path, pictures: NDArray[np.uint8], truth: NDArray[np.int64], labels: Sequence[str] = LABELS
) -> Path:
    for number, (picture, index) in enumerate(zip(pictures, truth, strict=True)):
        (folder / labels[index]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / labels[index] / f"{number:03}.png")
    return folder


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, pictures: NDArray[np.uint8], truth: NDArray[np.int64]
) -> Path:
    return write_folder(tmp_path_factory.mktemp("data") / "data", pictures, truth)


class Told:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.total = self.seen = 0

    def say(self, message: str) -> None:
        self.said.append(message)

    def begin(self, what: str, pictures: int) -> None:
        self.total += pictures

    def advance(self, pictures: int, loss: float | None = None) -> None:
        self.seen += pictures

    def epoch(self, *arguments: object) -> None:
        raise AssertionError("nothing is trained")


def assert_figures(found: Evaluation, truth: NDArray[np.int64], probabilities: NDArray[np.float64]) -> None:
    """Those that scikit-learn makes of the same probabilities."""
    every = range(len(LABELS))
    expected = confusion_matrix(truth, probabilities.argmax(axis=1), labels=every)
    places = [found.labels.index(label) for label in LABELS]
    assert np.array_equal(found.confusion[np.ix_(places, places)], expected)
    for share, k in ((found.top1, 1), (found.top5, 5)):
        assert share.count == top_k_accuracy_score(truth, probabilities, k=k, labels=every, normalize=False)
        assert share.of == len(truth)
    for each in found.classes():
        mine = truth == LABELS.index(each.label)
        right = probabilities.argmax(axis=1)[mine] == LABELS.index(each.label)
        assert (each.top1.count, each.top1.of) == (right.sum(), mine.sum())
        several = np.argsort(-probabilities[mine])[:, :5] == LABELS.index(each.label)
        assert each.top5.count == several.any(axis=1).sum()
        row = expected[LABELS.index(each.label)].copy()
        row[LABELS.index(each.label)] = 0
        assert each.times == row.max()
        assert not each.times or row[LABELS.index(each.taken_for)] == row.max()


def test_figures_are_those_of_numpy_and_scikit_learn(
    model: Path, folder: Path, pictures: NDArray[np.uint8], truth: NDArray[np.int64]
) -> None:
    probabilities = answers(centre(pictures))
    told = Told()
    found = evaluate([model], folder, progress=told)
    assert_figures(found, truth, probabilities)
    assert 0.3 < found.top1.value < 0.9 and found.top5.value < 1, "or the test could not tell"
    assert (told.total, told.seen) == (120, 120)
    assert [each.label for each in found.classes()] == [label for label in LABELS if label != "eel"]
    assert any("without figures: 1 of the model's labels (eel)" in line for line in told.said)
    sure = probabilities.max(axis=1)
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != truth)
    worst = wrong[np.argsort(-sure[wrong])][:20]
    assert [Path(each.path).stem for each in found.mistakes] == [f"{number:03}" for number in worst]
    for number, each in zip(worst, found.mistakes, strict=True):
        assert each.truth == Path(each.path).parent.name == LABELS[truth[number]]
        assert each.labels == tuple(LABELS[i] for i in np.argsort(-probabilities[number])[:5])
        assert each.probabilities[0] == pytest.approx(sure[number], rel=1e-4)


@pytest.mark.parametrize("batch_size", [None, 1, 25])
def test_ten_crops_are_averaged(
    model: Path,
    folder: Path,
    pictures: NDArray[np.uint8],
    truth: NDArray[np.int64],
    batch_size: int | None,
) -> None:
    corners = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)]
    views = [pictures[:, top : top + 8, left : left + 8] for top, left in corners]
    views += [each[:, :, ::-1] for each in views]
    probabilities = np.mean([answers(each) for each in views], axis=0)
    assert (probabilities.argmax(axis=1) != answers(centre(pictures)).argmax(axis=1)).any()
    found = evaluate([model], folder, crops=10, batch_size=batch_size, workers=2)
    assert_figures(found, truth, probabilities)


def test_several_models_are_averaged_by_label(
    model: Path, folder: Path, pictures: NDArray[np.uint8], truth: NDArray[np.int64], tmp_path: Path
) -> None:
    order = [3, 0, 6, 2, 1, 5, 4]
    other = write_model(tmp_path / "other.onnx", [LABELS[i] for i in order], OTHERS[:, order])
    first, second = answers(centre(pictures)), answers(centre(pictures), OTHERS)
    assert_figures(evaluate([other, other], folder), truth, second)
    assert_figures(evaluate([model, other], folder), truth, (first + second) / 2)
    assert evaluate([other, model], folder).top1 == evaluate([model, other], folder).top1


def test_models_of_other_labels_are_not_averaged(model: Path, folder: Path, tmp_path: Path) -> None:
    other = write_model(tmp_path / "other.onnx", [*LABELS[:-1], "shirt"])
    with pytest.raises(ModelError, match=r"'T-shirt' is a label of one of them"):
        evaluate([model, other], folder)
    less = write_model(tmp_path / "less.onnx", LABELS[:6], WEIGHTS[:, :6])
    with pytest.raises(ModelError, match="can't be averaged"):
        evaluate([model, less], folder)


@pytest.mark.parametrize("crops", [1, 10])
def test_a_checkpoint_and_its_export_agree_to_the_last_picture(
    fashion_mini: Path, tmp_path: Path, crops: Any
) -> None:
    """On the built-in validation pictures; the exported file is the one in the package."""
    import torch

    sample.write_pictures(tmp_path / "images")
    if crops == 10:  # takes ten times as long
        for path in (tmp_path / "images").glob("*/00[2-9]*.png"):
            path.unlink()
    threads = torch.get_num_threads()
    ours, exported = (
        evaluate([each], tmp_path / "images", crops=crops) for each in (fashion_mini, zoo.default_model())
    )
    assert np.array_equal(ours.confusion, exported.confusion)
    assert np.array_equal(ours.among_five, exported.among_five)
    assert [each.path for each in ours.mistakes] == [each.path for each in exported.mistakes]
    assert ours.pictures == (1_000 if crops == 1 else 200)
    assert 0.8 < ours.top1.value < 0.95
    assert torch.get_num_threads() == threads


@given(st.integers(1, 100_000), st.data())
def test_intervals_are_wilsons(of: int, data: st.DataObject) -> None:
    """Their ends are the shares from which the observed one is just Z standard deviations away."""
    share = Share(data.draw(st.integers(0, of)), of)
    low, high = share.interval
    assert 0 <= low <= share.value <= high <= 1 or np.isclose([low, high], share.value, atol=1e-12).any()
    for end in (low, high):
        if 1e-9 < end < 1 - 1e-9:
            assert abs(share.value - end) == pytest.approx(Z * sqrt(end * (1 - end) / of), rel=1e-6)
    assert share.rest.interval == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_the_interval_of_a_textbook() -> None:
    """Newcombe 1998, table I: 81 of 263, and none of 20."""
    assert Share(81, 263).interval == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert Share(0, 20).interval == pytest.approx((0.0, 0.1611), abs=5e-5)


# --- classes -----------------------------------------------------------------------------------------


def test_a_folder_that_the_model_does_not_know_is_refused(model: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "data", draw(3), np.array([0, 1, 2]), ["ant", "bees", "Cat"])
    with pytest.raises(DataError, match=r"holds 'Cat', 'bees', which .*model\.onnx does not know") as error:
        evaluate([model], tmp_path / "data")
    assert "labels are ant, bee, cat, dog, eel, …" in str(error.value)


def test_folders_may_be_ids(
    folder: Path, truth: NDArray[np.int64], pictures: NDArray[np.uint8], tmp_path: Path
) -> None:
    ids = [f"n{number:08}" for number in range(len(LABELS))]
    twice = ["ant", "bee", "cat", "dog", "eel", "fox", "ant"]  # as ImageNet has two cranes
    named = write_model(tmp_path / "ids.onnx", twice, ids=ids)
    write_folder(tmp_path / "data", pictures, truth, ids)
    answered = answers(centre(pictures)).argmax(axis=1)
    expected = confusion_matrix(truth, answered, labels=range(len(LABELS)))
    assert np.array_equal(evaluate([named, named], tmp_path / "data").confusion, expected)
    write_folder(tmp_path / "names", draw(1), np.array([0]), ["ant"])
    with pytest.raises(DataError, match=r"2 classes of .* have the label 'ant'; name the folders"):
        evaluate([named], tmp_path / "names")
    mixed = write_model(tmp_path / "mixed.onnx", ids=ids)
    assert evaluate([mixed], folder).top1 == evaluate([mixed], tmp_path / "data").top1


def test_what_data_may_be(model: Path, folder: Path, tmp_path: Path) -> None:
    pictures, classes = draw(9, seed=3), np.arange(9) % 3
    (tmp_path / "both").mkdir()
    write_folder(tmp_path / "both" / "val", pictures, classes)
    with pytest.raises(DataError, match="holds 'val', which"):
        evaluate([model], tmp_path / "both")
    write_folder(tmp_path / "both" / "train", draw(9, seed=4), classes)
    assert evaluate([model], tmp_path / "both").pictures == 9
    assert (
        evaluate([model], tmp_path / "both").top1.count
        == (answers(centre(pictures)).argmax(axis=1) == classes).sum()
    )
    with pytest.raises(DataError, match="is not a folder"):
        evaluate([model], tmp_path / "gone")
    with pytest.raises(DataError, match="holds no class folders"):
        evaluate([model], folder / "ant")
    (tmp_path / "none" / "ant").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no pictures"):
        evaluate([model], tmp_path / "none")
    write_folder(tmp_path / "none", draw(1), np.array([1]))
    (tmp_path / "none" / "bee" / "note.txt").write_text("ignored")
    found = evaluate([model], tmp_path / "none")
    assert (found.pictures, found.ignored) == (1, {".txt": 1})
    (tmp_path / "none" / "packed.json").write_text("{}")
    with pytest.raises(DataError, match="broken packed set"):
        evaluate([model], tmp_path / "none")


def test_a_packed_set_is_its_validation_pictures(tmp_path: Path) -> None:
    """Packing leaves pictures of its own size as they are."""
    from alexnet_tk.training import pack

    pictures, classes = draw(12, side=256, seed=7), np.arange(12) % 3
    write_folder(tmp_path / "data" / "train", draw(6, seed=8), np.arange(6) % 3)
    write_folder(tmp_path / "data" / "val", pictures, classes)
    (tmp_path / "data" / "val" / "bee" / "empty.png").write_bytes(b"")
    pack(tmp_path / "data", tmp_path / "packed")
    model = write_model(tmp_path / "model.onnx", side=224, scaled=256)
    probabilities = answers(pictures[:, 16:240, 16:240])
    found = evaluate([model], tmp_path / "packed", batch_size=5)
    assert found.top1.count == (probabilities.argmax(axis=1) == classes).sum() < 12
    assert found.failed == [], "packing has left it out"
    names = [each.path for each in found.mistakes]
    assert names and all(each.startswith(f"{tmp_path}/packed/val.npy, row ") for each in names)
    from_folder = evaluate([model], tmp_path / "data")
    assert np.array_equal(from_folder.confusion, found.confusion)
    assert [Path(path).name for path, _ in from_folder.failed] == ["empty.png"]


# --- what can't be read ------------------------------------------------------------------------------


def test_pictures_that_fail_are_listed_and_left_out(
    model: Path, pictures: NDArray[np.uint8], truth: NDArray[np.int64], tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "data", pictures, truth)
    broken = sorted(folder.glob("*/*.png"))[::7]
    for path in broken:
        path.write_bytes(b"rubbish")
    left = np.array(
        [number for number in range(120) if not any(f"{number:03}" == path.stem for path in broken)]
    )
    for models in ([model], [model, model]):
        found = evaluate(models, folder, batch_size=4)
        assert_figures(found, truth[left], answers(centre(pictures[left])))
        assert sorted(path for path, _ in found.failed) == [str(path) for path in broken]
        assert {error for _, error in found.failed} == {"not a picture that Pillow can read"}
    for path in folder.glob("*/*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"no picture in .* can be read; the first: .*: empty file"):
        evaluate([model], folder)


def test_memory_does_not_grow_with_the_pictures(
    model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are, no more than three batches a worker are read ahead of the figures."""
    opened = 0
    lead: list[int] = []
    open_image = Image.open

    def watched(path: Any) -> Image.Image:
        nonlocal opened
        opened += 1
        return open_image(path)

    class Watching(Told):
        def advance(self, pictures: int, loss: float | None = None) -> None:
            super().advance(pictures)
            lead.append(opened - self.seen)

    monkeypatch.setattr(Image, "open", watched)
    evaluate([model], folder, batch_size=2, workers=2, progress=Watching())
    assert opened == 120
    assert 0 < max(lead) <= 3 * 2 * 2


# --- outputs -----------------------------------------------------------------------------------------


def test_outputs_hold_the_figures(model: Path, folder: Path, tmp_path: Path) -> None:
    found = evaluate(
        [model],
        folder,
        output=tmp_path / "a.json",
        confusion=[tmp_path / "c.csv", tmp_path / "c.png"],
        report=tmp_path / "page.html",
    )
    told = json.loads((tmp_path / "a.json").read_text())
    assert told["confusion"] == found.confusion.tolist()
    assert (told["labels"], told["pictures"], told["failed"]) == (LABELS, 120, [])
    assert told["top1"]["accuracy"] == found.top1.value
    assert told["top5"]["error_interval"] == list(found.top5.rest.interval)
    assert [each["label"] for each in told["classes"]] == [each.label for each in found.classes()]
    assert [each["path"] for each in told["mistakes"]] == [each.path for each in found.mistakes]
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
        assert (line["label"], int(line["pictures"])) == (each.label, each.top1.of)
        assert (line["taken_for"], int(line["times"])) == (each.taken_for, each.times)
        numbers = [float(line[name]) for name in ("top1", "top1_low", "top1_high", "top5_high")]
        assert numbers == pytest.approx(
            [each.top1.value, *each.top1.interval, each.top5.interval[1]], rel=1e-5
        )


def test_the_page_tells_figures_and_truth(model: Path, tmp_path: Path) -> None:
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
    assert run["figures"] == text(found)
    assert run["figures"][0].startswith("top-1  accuracy ")


def test_text_of_many_classes_shows_the_worst() -> None:
    found = Evaluation([Path("m")], Path("d"), 1, [f"{number}" for number in range(100)])
    found.confusion[:] = np.eye(100, dtype=np.int64) * np.arange(1, 101)[:, None]
    found.confusion[:, 0] += 1
    lines = text(found)
    assert "the worst 40 of 100 classes; --output tells of all" in lines
    listed = lines[lines.index("the worst 40 of 100 classes; --output tells of all") + 3 :]
    assert listed[0] == " 66.7%    0.0%         3  1, 1 × 0"
    assert len(listed) == 40


def test_outputs_are_refused_before_the_work(model: Path, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("precious")
    copy = tmp_path / "copy.csv"
    copy.write_bytes(model.read_bytes())
    for error, message, options in (
        (OutputError, "--overwrite", {"output": tmp_path / "a.json"}),
        (OutputError, "--overwrite", {"report": tmp_path / "a.json"}),
        (OutputError, "does not exist", {"report": tmp_path / "gone" / "page.html"}),
        (OutputError, "the model itself", {"output": copy, "overwrite": True}),
        (UsageError, r"neither \.csv nor \.json", {"output": tmp_path / "a.txt"}),
        (UsageError, r"neither \.csv nor \.png", {"confusion": [tmp_path / "a.json"]}),
        (UsageError, "the same name", {"output": tmp_path / "a.csv", "confusion": [tmp_path / "a.csv"]}),
    ):
        told = Told()
        with pytest.raises(error, match=message):
            evaluate([copy], folder, progress=told, **options)
        assert told.said == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "copy.csv"]
    evaluate([model], folder, output=tmp_path / "a.json", overwrite=True)
    assert json.loads((tmp_path / "a.json").read_text())["pictures"] == 120


def test_an_onnx_file_needs_neither_torch_nor_onnx(model: Path, folder: Path, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from alexnet_tk.evaluation import evaluate\n"
        "model, data, out = map(Path, sys.argv[1:])\n"
        "found = evaluate([model], data, crops=10, output=out / 'a.json', confusion=[out / 'c.csv'], "
        "report=out / 'page.html')\n"
        "assert found.pictures == 120\n"
        "print(*{name.partition('.')[0] for name in sys.modules})\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, model, folder, tmp_path], capture_output=True, text=True, check=True
    )
    assert {"onnxruntime", "alexnet_tk"} <= set(ended.stdout.split())
    assert not set(ended.stdout.split()) & {"torch", "onnx", "onnxscript", "matplotlib", "sklearn", "rich"}
