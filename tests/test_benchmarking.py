"""Rounds and their order, medians, limits, and benchmarks of real files."""

import json
import threading
import time
from itertools import combinations
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from alexnet_tk import zoo
from alexnet_tk.benchmarking import MedianRange, benchmark, run
from alexnet_tk.benchmarking.measure import decoding_alone, limit, network_alone
from alexnet_tk.errors import InputError, ModelError, OutputError, UsageError
from alexnet_tk.inference import Classifier
from alexnet_tk.inference.model import Input, Model, open_model
from alexnet_tk.inference.session import Device
from alexnet_tk.machine import usable_cores
from alexnet_tk.preprocess import Preprocess
from alexnet_tk.progress import Progress


class Sleeper:
    """A session that answers after a pause and records its batches and threads."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.batches: list[int] = []
        self.threads: set[int] = set()

    def run(self, outputs: Any, inputs: dict[str, Any], /) -> Any:
        (pictures,) = inputs.values()
        self.batches.append(len(pictures))
        self.threads.add(threading.get_ident())
        time.sleep(self.seconds)
        return [np.full((len(pictures), 2), 0.5, np.float32)]


def sleeping(seconds: float, device: str = "cpu") -> tuple[Model, Sleeper]:
    session = Sleeper(seconds)
    preprocess = Preprocess(8, 8, "bilinear", "RGB", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    graph_input = Input.ours("uint8", preprocess)
    return Model(session, Device(device, "a test"), ["a", "b"], preprocess, graph_input, None, {}), session


class Messages(Progress):
    """A progress that records its messages."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shortens a benchmark to a second."""
    monkeypatch.setattr(run, "SECONDS", 0.6)
    monkeypatch.setattr(run, "PREDICT_SECONDS", 0.01)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for number, grey in enumerate((10, 90, 200)):
        Image.new("RGB", (40, 30), (grey, grey, 0)).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path / "photos"


def test_a_median_range_is_the_median_and_the_ends() -> None:
    assert MedianRange.of([3.0, 1.0, 10.0]) == MedianRange(3.0, 1.0, 10.0)
    assert MedianRange.of([2.0]) == MedianRange(2.0, 2.0, 2.0)


def test_how_often_another_runs_median_lies_outside() -> None:
    """The formula in `MedianRange` against all the orders in which two runs of five rounds can fall."""

    def formula(n: int) -> float:
        return 2 * comb(n + n // 2, n) / comb(2 * n, n)

    outside = 0
    for places in combinations(range(10), 5):
        other = sorted(set(range(10)) - set(places))
        outside += not places[0] < other[2] < places[-1]
    assert formula(5) == pytest.approx(outside / comb(10, 5))
    assert formula(run.ROUNDS) == pytest.approx(0.012, abs=5e-4)
    assert formula(run.PREDICT_ROUNDS) == pytest.approx(0.029, abs=5e-4)


@pytest.mark.parametrize(
    ("device", "threads"), [("cpu", usable_cores()), ("cuda:0", 2), ("cuda:0, cuda:1", 4)]
)
def test_a_network_alone_is_run_by_as_many_threads_as_predict_has(device: str, threads: int) -> None:
    model, session = sleeping(0.02, device)
    rate, latencies = network_alone(model, 4, 0.1)
    assert len(session.threads) == threads
    assert set(session.batches) == {4}
    assert len(latencies) == len(session.batches) >= 3 * threads
    assert min(latencies) >= 0.02
    assert threads * 4 / 0.2 < rate <= threads * 4 / 0.02
    _, latencies = network_alone(model, 1, 0.0)
    assert len(latencies) == threads, "one run at least"


def test_decoding_alone_counts_every_picture(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, session = sleeping(0)
    paths = [str(path) for path in sorted(photos.iterdir())] * 3
    seen: list[Any] = []

    def load(path: str, *_: object) -> None:
        seen.append(path)
        time.sleep(0.01)

    monkeypatch.setattr("alexnet_tk.images.load", load)
    rate = decoding_alone(model, paths)
    assert sorted(seen) == sorted(paths)
    assert 0 < rate <= 100 * usable_cores()
    assert session.batches == []


def test_the_limit_of_a_machine() -> None:
    assert limit(100.0, 300.0, "cpu") == pytest.approx(75.0)
    assert limit(100.0, 300.0, "cuda:0") == 100.0
    assert limit(900.0, 300.0, "cuda:0") == 300.0


def test_two_models_are_measured_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A drift that affects a whole round does not change the ratio of neighbours."""
    other = tmp_path / "other.onnx"
    other.write_bytes(zoo.default_model().read_bytes())
    order: list[tuple[int, int]] = []
    known: list[Model] = []

    def measured(model: Model, batch_size: int, seconds: float) -> tuple[float, list[float]]:
        if not any(each is model for each in known):
            known.append(model)
        which = next(place for place, each in enumerate(known) if each is model)
        if seconds:  # not when it warms up
            order.append((which, batch_size))
            drift = 1 + len(order) // 6  # of the round
            return drift * batch_size * (1.0, 2.5)[which], [0.001]
        return 1.0, [9.0]

    monkeypatch.setattr(run, "network_alone", measured)
    progress = Messages()
    found = benchmark(zoo.default_model(), compare=other, device="cpu", progress=progress)
    assert any("the machine is busy" in line for line in progress.said)
    assert found.models == [zoo.default_model(), other]
    assert len(order) == 6 * (run.ROUNDS + 1)
    for place in range(0, len(order), 2):
        (first, size), (second, same) = order[place : place + 2]
        assert (first != second, size) == (True, same), "neighbours"
    assert {order[place][0] for place in range(0, len(order), 2)} == {0, 1}, "each comes first at times"
    settings = [(each.device, each.batch_size) for each in found.ratios()]
    assert settings == [("cpu", 1), ("cpu", 8), ("cpu", 32)]
    for each in found.ratios():
        assert each.ratio.median == pytest.approx(2.5, rel=0.2)
    for timing in found.networks:
        assert timing.latencies == [0.001] * run.ROUNDS
        assert len(timing.rates) == run.ROUNDS


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("kind", ["onnx", "pt"])
def test_figures_of_a_real_file(kind: str, fashion_mini: Path, tmp_path: Path) -> None:
    model = {"onnx": zoo.default_model(), "pt": fashion_mini}[kind]
    progress = Messages()
    found = benchmark(model, output=tmp_path / "a.json", progress=progress)
    assert progress.said[0].startswith(f"{model}: ")
    assert " on cpu (" in progress.said[0] or "cuda" in progress.said[0]
    on_cpu = [each for each in found.networks if each.device == "cpu"]
    assert [each.batch_size for each in on_cpu] == [1, 8, 32]
    for each in on_cpu:
        assert len(each.rates) == run.ROUNDS
        fewest = run.ROUNDS * usable_cores()
        assert len(each.latencies) >= fewest
        assert 0 < each.milliseconds(50) <= each.milliseconds(90) <= each.milliseconds(99)
        # All cores together are not faster than each would be with its fastest run over and over.
        assert max(each.rates) <= 1.001 * usable_cores() * each.batch_size / min(each.latencies)
    written = json.loads((tmp_path / "a.json").read_text())
    assert written == found.to_dict()
    assert written["batches"][0]["milliseconds"]["p50"] == pytest.approx(
        1000 * np.median(found.networks[0].latencies)
    )
    rate = written["batches"][0]["pictures_per_second"]
    assert rate["low"] <= rate["median"] <= rate["high"]


@pytest.mark.usefixtures("short")
def test_a_file_with_one_batch_size_is_measured_with_it(tmp_path: Path) -> None:
    model = onnx.load(zoo.default_model())
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 3
    del model.graph.value_info[:]
    onnx.save(model, tmp_path / "three.onnx")
    assert open_model(tmp_path / "three.onnx", "cpu").batch == 3
    assert {each.batch_size for each in benchmark(tmp_path / "three.onnx").networks} == {3}


@pytest.mark.usefixtures("short")
def test_a_folder_is_predicted_and_compared_with_the_limit(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "9.png").write_bytes(b"rubbish")
    found = benchmark(zoo.default_model(), photos)
    (measured,) = found.predictions
    assert (measured.pictures, found.unreadable) == (3, 1)
    assert len(measured.rates) == len(measured.limits) == run.PREDICT_ROUNDS
    for network, decoding, together in zip(measured.network, measured.decoding, measured.limits, strict=True):
        assert together == pytest.approx(limit(network, decoding, measured.device))
    assert measured.speed is not None and len(measured.speed.batches) >= 1
    figures = found.to_dict()["folder"][0]
    assert figures["predict"]["median"] == pytest.approx(np.median(measured.rates))
    shares = [rate / most for rate, most in zip(measured.rates, measured.limits, strict=True)]
    assert figures["share"]["high"] == pytest.approx(max(shares))

    monkeypatch.setattr(run, "MAX_PICTURES", 2)
    assert benchmark(zoo.default_model(), photos).predictions[0].pictures == 2


@pytest.mark.usefixtures("short")
def test_one_picture_and_none(photos: Path, tmp_path: Path) -> None:
    progress = Messages()
    assert benchmark(zoo.default_model(), photos / "0.png", progress=progress).predictions[0].pictures == 1
    assert any("on 1 picture in" in line for line in progress.said)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no pictures in"):
        benchmark(zoo.default_model(), tmp_path / "empty")
    with pytest.raises(InputError, match="does not exist"):
        benchmark(zoo.default_model(), tmp_path / "gone")
    for path in photos.iterdir():
        path.write_bytes(b"")
    progress.said.clear()
    with pytest.raises(InputError, match="none of 3 pictures can be read"):
        benchmark(zoo.default_model(), photos, progress=progress)
    assert not any("rounds" in line for line in progress.said), "nothing was measured"


def test_unusable_arguments_are_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("precious")
    copy = tmp_path / "copy.json"
    copy.write_bytes(zoo.default_model().read_bytes())
    for error, message, model, options in (
        (UsageError, "the model itself", copy, {"compare": copy}),
        (UsageError, r"does not end in \.json", copy, {"output": tmp_path / "a.csv"}),
        (OutputError, "is the input itself", copy, {"output": copy, "overwrite": True}),
        (OutputError, "--overwrite", copy, {"output": tmp_path / "a.json"}),
        (ModelError, "does not exist", tmp_path / "gone.onnx", {}),
        (ModelError, "is text that begins 'precious'", tmp_path / "a.json", {}),
    ):
        with pytest.raises(error, match=message):
            benchmark(model, **options)
    assert (tmp_path / "a.json").read_text() == "precious"


def test_a_model_that_is_open_already_classifies(photos: Path) -> None:
    model, session = sleeping(0)
    records = list(Classifier(model).classify([str(photos / "0.png"), str(photos / "1.png")], batch_size=2))
    assert [record.labels for record in records] == [("a",), ("a",)]
    assert session.batches == [2]
