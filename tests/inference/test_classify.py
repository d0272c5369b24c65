"""Folders of pictures in, one record for each out: the right one, in order, whatever is broken."""

import gc
import random
import re
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from alexnet_tk.errors import PictureError, UsageError
from alexnet_tk.found import Unreadable
from alexnet_tk.inference import Classifier, Record, find
from alexnet_tk.inference.model import Model, open_model
from alexnet_tk.inference.session import Device
from alexnet_tk.prediction.local import LocalRun

Answer = Callable[[NDArray[np.uint8]], NDArray[np.float64]]
SPOILT = {"missing": "no such file", "empty": "empty file", "text": "not a picture", "truncated": "truncated"}


@pytest.fixture(scope="module", params=["cpu", "openvino"])
def classifier(model_file: Path, request: pytest.FixtureRequest) -> Classifier:
    if request.param == "openvino":
        pytest.importorskip("openvino", exc_type=ImportError)
    return Classifier(model_file, request.param)


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.uint8]:
    """Forty pictures of 8×8, each with an answer of its own."""
    draw = np.random.default_rng(3)
    colours = draw.integers(30, 226, (40, 1, 1, 3))
    return (colours + draw.integers(-30, 30, (40, 8, 8, 3))).astype(np.uint8)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, pixels: NDArray[np.uint8]) -> list[str]:
    """The files of these pictures."""
    folder = tmp_path_factory.mktemp("sound")
    for number, picture in enumerate(pixels):
        Image.fromarray(picture).save(folder / f"{number:02}.png")
    return find([folder]).paths


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory, pixels: NDArray[np.uint8]) -> list[str]:
    """The same files, a third of them spoilt, in every way, at random places; some are there twice."""
    folder = tmp_path_factory.mktemp("mixed")
    draw = random.Random(5)
    spoilt = [*SPOILT, *draw.choices(list(SPOILT), k=10)] + [""] * (len(pixels) - 14)
    draw.shuffle(spoilt)
    spoilt[0], spoilt[-3:] = "empty", ["truncated", "missing", "text"]  # at the edges as well
    spoilt[20:24] = ["text", "missing", "truncated", "empty"]  # and whole batches of them
    paths = []
    for number, (picture, how) in enumerate(zip(pixels, spoilt, strict=True)):
        path = folder / f"{number:02}-{how}.png"
        paths.append(str(path))
        if how == "missing":
            continue
        Image.fromarray(picture).save(path)
        if how:
            whole = path.read_bytes()
            path.write_bytes({"empty": b"", "text": b"text", "truncated": whole[: len(whole) // 2]}[how])
    return [*paths, paths[1], paths[0], paths[1], paths[5]]


@pytest.fixture(scope="module")
def one_by_one(classifier: Classifier, mixed: list[str]) -> list[Record]:
    """The records of the mixed files, each classified alone."""
    return [record for path in mixed for record in classifier.classify([path], 3, batch_size=1, workers=1)]


def assert_same(records: list[Record], expected: list[Record]) -> None:
    """The same but for what the order of a sum does to the last digits."""
    assert [(r.path, r.error, r.labels) for r in records] == [(r.path, r.error, r.labels) for r in expected]
    for record, other in zip(records, expected, strict=True):
        assert record.probabilities == pytest.approx(other.probabilities, rel=1e-5)


class Watched:
    """A session that notes the shapes it is given."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.shapes: list[tuple[int, ...]] = []

    def run(self, outputs: list[str], inputs: dict[str, NDArray[np.uint8]]) -> Any:
        self.shapes += [value.shape for value in inputs.values()]
        return self.session.run(outputs, inputs)


@pytest.fixture
def as_on_cuda(model_file: Path) -> tuple[Classifier, Watched]:
    """A classifier that takes the CPU's session for one on a GPU."""
    model = open_model(model_file, "cpu")
    session = Watched(model.session)
    return Classifier(replace(model, device=Device("cuda:0", "a test"), session=session)), session


def test_answers_are_what_numpy_computes(
    classifier: Classifier, sound: list[str], pixels: NDArray[np.uint8], labels: list[str], answer: Answer
) -> None:
    records = list(classifier.classify(sound, 5))
    assert [record.path for record in records] == sound
    for record, row in zip(records, answer(pixels), strict=True):
        assert (record.status, record.error) == ("ok", "")
        assert list(record.probabilities) == sorted(record.probabilities, reverse=True)
        assert record.labels == tuple(labels[i] for i in sorted(range(5), key=lambda i: -row[i]))
        for label, probability in zip(record.labels, record.probabilities, strict=True):
            assert probability == pytest.approx(row[labels.index(label)], rel=1e-4)
    assert len({record.labels for record in records}) > 3, "or the test could not tell pictures apart"


def test_pictures_are_scaled_and_cropped_as_the_file_says(
    classifier: Classifier, labels: list[str], answer: Answer, tmp_path: Path
) -> None:
    """Of a wide picture only the middle square counts, and what scaling takes from beside it."""
    wide = np.zeros((100, 300, 3), np.uint8)
    wide[:, 85:215] = (200, 120, 90)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    (record,) = classifier.classify([str(tmp_path / "wide.png")])
    (row,) = answer(np.full((1, 8, 8, 3), (200, 120, 90), np.uint8))
    assert record.labels == (labels[row.argmax()],)
    assert record.probabilities[0] == pytest.approx(row.max(), rel=1e-4)


@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_broken_pictures_change_no_other_answer(
    workers: int, batch_size: int, classifier: Classifier, mixed: list[str], one_by_one: list[Record]
) -> None:
    records = list(classifier.classify(mixed, 3, batch_size=batch_size, workers=workers))
    assert_same(records, one_by_one)


def test_broken_pictures_are_failed_with_their_reason(one_by_one: list[Record], mixed: list[str]) -> None:
    assert [record.path for record in one_by_one] == mixed
    for record in one_by_one:
        how = Path(record.path).stem.partition("-")[2]
        if how:
            assert record.status == "failed"
            assert SPOILT[how] in record.error
            assert (record.labels, record.probabilities) == ((), ())
        else:
            assert record.status == "ok"
            assert len(record.labels) == 3


def test_sound_pictures_among_broken_ones_get_their_own_answers(
    one_by_one: list[Record], pixels: NDArray[np.uint8], labels: list[str], answer: Answer
) -> None:
    rows = answer(pixels)
    for record in one_by_one:
        if not record.error:
            row = rows[int(Path(record.path).stem.partition("-")[0])]
            assert record.labels[0] == labels[row.argmax()]
            assert record.probabilities[0] == pytest.approx(row.max(), rel=1e-4)


def test_batches_and_threads_of_their_own_choice(
    classifier: Classifier, mixed: list[str], one_by_one: list[Record]
) -> None:
    assert_same(list(classifier.classify(mixed, 3)), one_by_one)


@pytest.mark.parametrize(("topk", "given"), [(1, 1), (2, 2), (5, 5), (6, 5), (1000, 5)])
def test_more_labels_than_there_are_is_all_of_them(
    topk: int, given: int, classifier: Classifier, sound: list[str]
) -> None:
    for record in classifier.classify(sound[:4], topk):
        assert len(record.labels) == len(record.probabilities) == len(set(record.labels)) == given


def test_one_label_without_a_wish(classifier: Classifier, sound: list[str]) -> None:
    assert all(len(record.labels) == 1 for record in classifier.classify(sound[:4]))


def test_the_same_file_twice_is_answered_twice(classifier: Classifier, sound: list[str]) -> None:
    first, other, second = classifier.classify([sound[0], sound[1], sound[0]])
    assert first == second
    assert other.path == sound[1]


def test_no_pictures_no_records(classifier: Classifier) -> None:
    assert list(classifier.classify([])) == []


def test_what_find_lists_can_be_classified_whatever_it_is(classifier: Classifier, tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "linked.png").symlink_to(tmp_path / "folder.png", target_is_directory=True)
    (tmp_path / "dangling.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    paths = find([tmp_path]).paths
    records = list(classifier.classify(paths))
    assert [record.path for record in records] == paths
    assert paths
    assert all(record.status == "failed" for record in records)


# --- stopping --------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["close", "garbage", "never begun"])
@pytest.mark.parametrize("cuda", [False, True])
def test_stopping_early_leaves_no_thread(
    end: str, cuda: bool, model_file: Path, sound: list[str], as_on_cuda: tuple[Classifier, Watched]
) -> None:
    before = set(threading.enumerate())
    classifier = as_on_cuda[0] if cuda else Classifier(model_file, "cpu")
    records = classifier.classify(sound * 20, batch_size=2, workers=4)
    if end != "never begun":
        assert [next(records).path for _ in range(3)] == sound[:3]
        assert set(threading.enumerate()) > before, "or the test could not tell"
    if end == "garbage":
        del records
        gc.collect()
    else:
        records.close()
    assert set(threading.enumerate()) <= before


def test_memory_does_not_grow_with_the_folder(
    classifier: Classifier, sound: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more than three batches for each worker are read before the first answer is taken."""
    opened: list[object] = []
    open_image = Image.open

    def watched(path: Any) -> Image.Image:
        opened.append(path)
        return open_image(path)

    monkeypatch.setattr(Image, "open", watched)
    records = classifier.classify(sound * 100, batch_size=2, workers=2)
    next(records)
    records.close()
    assert 2 <= len(opened) <= 2 * 3 * 2


# --- the path that a GPU takes ---------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 3, 32, 100])
def test_on_cuda_every_run_has_the_same_shape_and_answers_are_unchanged(
    batch_size: int, as_on_cuda: tuple[Classifier, Watched], mixed: list[str], one_by_one: list[Record]
) -> None:
    classifier, session = as_on_cuda
    records = list(classifier.classify(mixed, 3, batch_size=batch_size, workers=2))
    assert_same(records, one_by_one)
    assert set(session.shapes) == {(batch_size, 8, 8, 3)}


def test_on_cuda_a_batch_of_broken_pictures_is_not_run(
    as_on_cuda: tuple[Classifier, Watched], mixed: list[str]
) -> None:
    classifier, session = as_on_cuda
    broken = [path for path in mixed if not path.endswith("-.png")]
    records = list(classifier.classify(broken, batch_size=4))
    assert [record.path for record in records] == broken
    assert all(record.error for record in records)
    assert session.shapes == []


def test_on_cuda_ten_crops_have_one_shape_too(
    as_on_cuda: tuple[Classifier, Watched], mixed: list[str], one_by_one: list[Record], labels: list[str]
) -> None:
    """The pictures are as large as the crop, so the views are one square and its mirror: the same colours."""
    classifier, session = as_on_cuda
    answers = list(classifier.answers(mixed, crops=10, batch_size=35, workers=2))
    assert set(session.shapes) == {(30, 8, 8, 3)}
    assert [(each.path, each.error) for each in answers] == [(each.path, each.error) for each in one_by_one]
    for answer, record in zip(answers, one_by_one, strict=True):
        if not record.error:
            top = labels.index(record.labels[0])
            assert answer.probabilities[top] == pytest.approx(record.probabilities[0], rel=1e-4)


def test_on_the_cpu_nothing_is_padded(model_file: Path, sound: list[str]) -> None:
    """A blank picture costs as much as a real one there."""
    model = open_model(model_file, "cpu")
    session = Watched(model.session)
    classifier = Classifier(replace(model, session=session))
    assert len(list(classifier.classify(sound[:7], batch_size=3, workers=1))) == 7
    assert session.shapes == [(3, 8, 8, 3), (3, 8, 8, 3), (1, 8, 8, 3)]


# --- what it needs ---------------------------------------------------------------------------------


def test_prediction_needs_neither_torch_nor_onnx(model_file: Path, sound: list[str]) -> None:
    program = (
        "import sys\n"
        "from alexnet_tk.inference import Classifier, find\n"
        "records = list(Classifier(sys.argv[1]).classify(find(sys.argv[2:]).paths))\n"
        "assert len(records) == 1 and records[0].status == 'ok', records\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(model_file), sound[0]], capture_output=True, text=True, check=True
    )
    loaded = set(ended.stdout.strip("[]\n").replace("'", "").split(", "))
    assert {"onnxruntime", "alexnet_tk"} <= loaded
    assert not loaded & {"torch", "onnx", "onnxscript", "matplotlib", "pyarrow", "rich", "typer"}


def test_arrays_pillow_images_and_archives_answer_as_files_do(
    classifier: Classifier, sound: list[str], pixels: NDArray[np.uint8], tmp_path: Path
) -> None:
    expected = list(classifier.classify(sound, 3))
    pillow = [Image.open(path) for path in sound]
    assert list(classifier.classify(pillow, 3)) == expected, "an image that was opened knows its path"
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for path in sound:
            archive.write(path, Path(path).name)
    for number, others in enumerate(
        (iter(pixels), [Image.fromarray(each) for each in pixels], find([tmp_path / "x.zip"]).paths)
    ):
        records = list(classifier.classify(others, 3, workers=2))
        assert [each.labels for each in records] == [each.labels for each in expected]
        np.testing.assert_allclose(
            [each.probabilities for each in records], [each.probabilities for each in expected], rtol=1e-5
        )
        assert records[7].path == ("picture 7" if number < 2 else f"{tmp_path}/x.zip/07.png")


def test_an_array_that_is_no_picture_fails_alone(classifier: Classifier, pixels: NDArray[np.uint8]) -> None:
    first, second, third = classifier.classify([pixels[0], np.zeros((2, 3, 4, 5)), pixels[1]])
    assert (first.status, second.status, third.status) == ("ok", "failed", "ok")
    assert second.error.startswith("an array of float64 (2, 3, 4, 5); a picture is uint8")


def test_the_callers_image_stays_as_it_is(classifier: Classifier, tmp_path: Path) -> None:
    Image.new("RGB", (640, 480), "red").save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as picture:
        list(classifier.classify([picture]))
        assert picture.size == (640, 480)


def test_batches_suit_pictures_workers_and_memory(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pictures, workers, size in (
        (None, 2, 32),
        (0, 2, 32),
        (1, 2, 1),
        (63, 2, 32),
        (65, 2, 17),  # two batches for each worker, and not one with 1 picture
        (200, 2, 25),  # 4 for each worker; 32 would give one of them 4 and the other 3
        (1_000, 2, 25),
        (50_000, 2, 32),
        (10**6, 8, 32),
    ):
        assert classifier.batch_size(pictures, workers) == size
    # Half of 1 MB for four workers, 8 × 8 pixels of 128 bytes each: 15 pictures and a bit.
    monkeypatch.setattr("alexnet_tk.inference.pipeline.usable_memory", lambda: 10**6)
    assert classifier.batch_size(None, 4) == 15
    monkeypatch.setattr("alexnet_tk.inference.pipeline.usable_memory", lambda: 10)
    assert classifier.batch_size(None, 4) == 1
    monkeypatch.setattr("alexnet_tk.inference.pipeline.usable_memory", lambda: None)
    assert classifier.batch_size(None, 4) == 32


def test_for_latency_pictures_are_answered_alone_one_at_a_time(
    model_file: Path, classifier: Classifier, mixed: list[str], one_by_one: list[Record]
) -> None:
    class Alone(Watched):
        running = 0

        def run(self, outputs: list[str], inputs: dict[str, NDArray[np.uint8]]) -> Any:
            self.running += 1
            time.sleep(0.001)  # long enough for another worker's run to begin
            assert self.running == 1
            answers = super().run(outputs, inputs)
            self.running -= 1
            return answers

    model = open_model(model_file, "cpu", latency=True)
    session = Alone(model.session)
    records = list(Classifier(replace(model, session=session)).classify(mixed, 3, workers=4))
    assert_same(records, one_by_one)
    assert set(session.shapes) == {(1, 8, 8, 3)}
    assert Classifier(model_file, "cpu", latency=True).batch_size(1_000) == 1


def test_batches_on_cuda_are_larger(as_on_cuda: tuple[Classifier, Watched]) -> None:
    assert as_on_cuda[0].batch_size(None, 2) == 128
    assert as_on_cuda[0].batch_size(100, 2) == 100
    assert as_on_cuda[0].batch_size(150, 2) == 75


def test_an_image_that_was_only_opened_is_answered_as_often_as_it_is_given(
    classifier: Classifier, tmp_path: Path
) -> None:
    """Pillow reads its file when it is first looked into, here by many threads."""
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    (expected,) = classifier.classify([noise])
    for _ in range(4):
        with Image.open(tmp_path / "a.png") as lazy:
            records = list(classifier.classify([lazy] * 32, batch_size=1, workers=8))
        assert {(each.error, each.labels, each.probabilities) for each in records} == {
            ("", expected.labels, expected.probabilities)
        }


def test_a_picture_without_pixels_fails(classifier: Classifier) -> None:
    (record,) = classifier.classify([np.zeros((0, 0, 3), np.uint8)])
    assert record.error == "no pixels"


def test_an_answer_that_is_not_a_number_fails_alone(
    model_file: Path, sound: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = Classifier(model_file, "cpu")
    run = Model.run_with

    def spoilt(model: Any, pictures: NDArray[np.uint8], *extras: str) -> list[NDArray[np.float32]]:
        rows, *others = run(model, pictures, *extras)
        rows = rows.copy()
        rows[1] = np.nan
        return [rows, *others]

    whole = list(classifier.classify(sound[:3]))
    monkeypatch.setattr(Model, "run_with", spoilt)
    records = list(classifier.classify([*sound[:2], "gone.png", sound[2]], batch_size=4, thumbnails=True))
    assert [each.error for each in records] == [
        "",
        "the network's answer is not a number",
        "no such file",
        "",
    ]
    assert [records[0].labels, records[3].labels] == [whole[0].labels, whole[2].labels]
    assert records[0].thumbnail != records[3].thumbnail


def test_a_disk_that_is_full_leaves_no_thread(classifier: Classifier, sound: list[str]) -> None:
    """Whoever still holds the error, and with it all that stood around it."""

    def full(records: list[Record], rows: list[bytes]) -> None:
        raise OSError(28, "No space left on device")

    before = threading.active_count()
    with pytest.raises(OSError, match="No space") as caught:
        LocalRun(classifier, sound * 20, 1, batch_size=1, workers=4).write_records(full)
    assert threading.active_count() == before
    del caught


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_what_was_given_before_an_error_is_answered(
    classifier: Classifier, pixels: NDArray[np.uint8], batch_size: int
) -> None:
    def pictures() -> Iterator[NDArray[np.uint8]]:
        yield from pixels[:7]
        raise ValueError("the camera is gone")

    records = classifier.classify(pictures(), batch_size=batch_size, workers=2)
    assert [next(records).path for _ in range(7)] == [f"picture {i}" for i in range(7)]
    with pytest.raises(ValueError, match="camera"):
        next(records)


def test_rows_of_a_mapped_file_have_names_of_their_own(
    classifier: Classifier, pixels: NDArray[np.uint8], tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", pixels)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert [each.path for each in classifier.classify(mapped[:2])] == ["picture 0", "picture 1"]


def test_what_can_not_be_listed_is_one_failed_record(classifier: Classifier) -> None:
    (record,) = classifier.classify([Unreadable.of("folder", "a folder that can't be listed: no")])
    assert (record.path, record.error) == ("folder", "a folder that can't be listed: no")


def test_what_can_not_be_opened_took_time_to_read(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(picture: object) -> None:
        time.sleep(0.05)
        raise PictureError("no answer from there")

    monkeypatch.setattr("alexnet_tk.inference.pipeline.open_picture", slow)
    answers = classifier.classify(["a.png"])
    list(answers)
    assert answers.speed.read >= 0.05 > answers.speed.decode


@pytest.mark.parametrize("kind", ["path", "Path", "image", "array", "grey array"])
def test_one_picture_alone_is_one_record(classifier: Classifier, sound: list[str], kind: str) -> None:
    with Image.open(sound[0]) as opened:
        image = opened.convert("RGB")
    pixels = np.asarray(image)
    one: Any = {
        "path": sound[0],
        "Path": Path(sound[0]),
        "image": image,
        "array": pixels,
        "grey array": pixels[..., 0],
    }[kind]
    assert list(classifier.classify(one)) == list(classifier.classify([one]))
    (alone,), (listed,) = classifier.answers(one), classifier.answers([one])
    assert (alone.path, alone.error) == (listed.path, "")
    np.testing.assert_array_equal(alone.probabilities, listed.probabilities)


@pytest.mark.parametrize("shape", [(5, 40, 30, 3), (5, 40, 30), (0, 40, 30, 3)])
def test_an_array_of_pictures_is_as_many_as_it_holds(classifier: Classifier, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    records = list(classifier.classify(pixels))
    assert [each.path for each in records] == [f"picture {index}" for index in range(shape[0])]
    assert records == list(classifier.classify(list(pixels)))


def test_bytes_are_not_taken_for_many_pictures(classifier: Classifier) -> None:
    content: Any = b"\x89PNG"
    with pytest.raises(TypeError, match=r"give io\.BytesIO of it, a path or an array"):
        classifier.classify(content)


def test_an_open_file_alone_is_one_picture(classifier: Classifier, sound: list[str]) -> None:
    (expected,) = classifier.classify(sound[0])
    with Path(sound[0]).open("rb") as file:
        (record,) = classifier.classify(file)  # type: ignore[arg-type]
    assert record.probabilities == expected.probabilities


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "LA")])
def test_an_array_of_one_or_two_channels_is_one_picture(
    classifier: Classifier, channels: int, mode: str
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, channels), dtype=np.uint8)
    picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    assert picture.mode == mode
    (expected,), (record,) = classifier.classify(picture), classifier.classify(pixels)
    assert record.probabilities == expected.probabilities


@pytest.mark.parametrize("topk", [0, -1])
def test_no_labels_can_not_be_asked_for(classifier: Classifier, sound: list[str], topk: int) -> None:
    with pytest.raises(UsageError, match=f"topk is {topk}"):
        list(classifier.classify(sound[:1], topk))


@pytest.mark.parametrize("arguments", [{"topk": "2"}, {"topk": 2.0}, {"batch_size": 0}, {"workers": 0}])
def test_numbers_that_make_no_sense_are_refused(
    classifier: Classifier, sound: list[str], arguments: dict[str, Any]
) -> None:
    name, value = next(iter(arguments.items()))
    with pytest.raises(UsageError, match=f"{name} is {value!r}; it must be a whole number of at least 1"):
        list(classifier.classify(sound[:1], **arguments))


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (np.zeros((9, 9, 3), np.float32), r"an array of float32 \(9, 9, 3\); a picture is uint8 \(H, W, 3\)"),
        (np.zeros((9, 9, 3), np.int64), r"an array of int64 \(9, 9, 3\)"),
        (np.zeros((3, 9, 9), np.uint8), r"an array of uint8 \(3, 9, 9\)"),
        (np.zeros(9, np.uint8), r"an array of uint8 \(9,\)"),
        (None, "NoneType is no picture; give a path, an open file, an image or an array"),
        (b"a.png", "bytes is no picture"),
        ([b"a.png"], "list is no picture"),
    ],
)
def test_what_is_no_picture_says_what_is_one(classifier: Classifier, picture: Any, words: str) -> None:
    (record,) = classifier.classify([picture])
    assert re.match(words, record.error)
