"""All GPUs of a machine, here the CPU's provider under several names."""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alexnet_tk import benchmark, evaluate, predict
from alexnet_tk.benchmarking import run as benchmark_run
from alexnet_tk.errors import DeviceError, UsageError
from alexnet_tk.inference import Classifier, session_pool
from alexnet_tk.inference.session import Device, open_session
from alexnet_tk.model_files import open_models
from alexnet_tk.progress import Progress

PICTURES = 41


class OnGpu:
    """A session that counts its runs."""

    def __init__(self, session: Any) -> None:
        self.session, self.runs = session, 0

    def run(self, outputs: list[str], inputs: dict[str, Any], /) -> Any:
        self.runs += 1
        return self.session.run(outputs, inputs)

    def run_with_ortvaluevector(self, *arguments: Any) -> None:
        self.runs += 1
        self.session.run_with_ortvaluevector(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)


class Messages(Progress):
    """A progress that records its messages."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> dict[str, OnGpu]:
    """The sessions of two GPUs, which are opened in place of real ones, by the names of their devices."""
    opened: dict[str, OnGpu] = {}

    def open_on_gpu(path: Path, device: str, *_: object, **__: object) -> tuple[Any, Device]:
        if device == "cpu":
            return open_session(path, device)
        name = "cuda:0" if device in ("cuda", "auto") else device
        opened[name] = OnGpu(open_session(path, "cpu")[0])
        return opened[name], Device(name, "asked for")

    monkeypatch.setattr(session_pool, "open_session", open_on_gpu)
    monkeypatch.setattr(session_pool, "count_gpus", lambda: 2)
    return opened


@pytest.fixture
def folder(tmp_path: Path, labels: list[str]) -> Path:
    """Pictures in a folder for each class, one that is broken among them."""
    pixels = np.random.default_rng(1).integers(0, 256, (PICTURES, 1, 1, 3), dtype=np.uint8)
    for number, each in enumerate(pixels):
        path = tmp_path / "pictures" / labels[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.tile(each, (9, 9, 1))).save(path)
    (tmp_path / "pictures" / labels[0] / "03 broken.png").write_text("no picture")
    return tmp_path / "pictures"


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_the_answers_of_all_gpus_are_those_of_one(
    ending: str, gpus: dict[str, OnGpu], folder: Path, model_file: Path, tmp_path: Path
) -> None:
    one, both, messages = tmp_path / f"one.{ending}", tmp_path / f"both.{ending}", Messages()
    options: dict[str, Any] = {"model": model_file, "topk": 3, "batch_size": 4, "workers": 3}
    predict(folder, output=one, device="cuda", **options)
    gpus.clear()
    outcome = predict(folder, output=both, device="cuda:all", progress=messages, **options)
    assert both.read_bytes() == one.read_bytes()
    assert (outcome.answered, outcome.failed) == (PICTURES, 1)
    assert list(gpus) == ["cuda:0", "cuda:1"]
    assert all(each.runs for each in gpus.values())
    assert sum(each.runs for each in gpus.values()) == 11
    assert "device: cuda:0, cuda:1 (asked for; exact arithmetic)" in messages.said


def test_a_run_on_one_gpu_is_resumed_on_all(
    gpus: dict[str, OnGpu], folder: Path, model_file: Path, tmp_path: Path
) -> None:
    output = tmp_path / "answers.csv"
    predict(folder, output=output, model=model_file, device="cuda:1", batch_size=4)
    whole = output.read_bytes()
    output.write_bytes(whole[: len(whole) // 2])
    outcome = predict(folder, output=output, model=model_file, device="cuda:all", batch_size=4, resume=True)
    assert 0 < outcome.now.pictures < PICTURES
    assert output.read_bytes() == whole


def test_evaluate_and_benchmark_take_all_gpus(
    gpus: dict[str, OnGpu], folder: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_cpu = evaluate(model_file, folder, device="cpu")
    on_gpus = evaluate(model_file, folder, device="cuda:all")
    assert (on_gpus.confusion == on_cpu.confusion).all()
    assert all(each.runs for each in gpus.values())
    monkeypatch.setattr(benchmark_run, "SECONDS", 0.4)
    monkeypatch.setattr(benchmark_run, "UNSTEADY", 1e9)
    measured = {timing.device for timing in benchmark(model_file, device="cuda:all").networks}
    assert measured == {"cpu", "cuda:0, cuda:1"}
    assert {timing.device for timing in benchmark(model_file, device="cpu").networks} == {"cpu"}


def test_a_model_from_elsewhere_takes_all_gpus(
    gpus: dict[str, OnGpu], write_model: Callable[..., Path], labels: list[str], tmp_path: Path
) -> None:
    path, preprocess = write_model(tmp_path / "other.onnx", {}), tmp_path / "preprocess.toml"
    preprocess.write_text("resize = 8\ncrop = 8\nmean = [0, 0, 0]\n")
    pictures = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    given: dict[str, Any] = {"labels": labels, "preprocess": str(preprocess)}
    both, one = (Classifier(path, device, **given) for device in ("cuda:all", "cpu"))
    assert (both.device.name, both.device.gpus, both.device.kind) == ("cuda:0, cuda:1", 2, "cuda")
    expected = list(one.classify(pictures, 2, batch_size=4))
    assert list(both.classify(pictures, 2, batch_size=4)) == expected
    assert all(each.runs for each in gpus.values())


def test_a_checkpoint_computes_on_one_gpu(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match=r"m\.pt is a checkpoint, and --device cuda:all is for ONNX files"),
        open_models([tmp_path / "m.pt"], "cuda:all"),
    ):
        pass


class Driver:
    """The driver's library as far as it is asked: an error code, or a number of GPUs."""

    def __init__(self, error: int, count: int = 0) -> None:
        self.error, self.count = error, count

    def cuInit(self, flags: int) -> int:  # noqa: N802  the driver's names
        return self.error

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        ctypes.cast(count, ctypes.POINTER(ctypes.c_int))[0] = self.count
        return 0


def test_gpus_are_counted_by_the_driver() -> None:
    assert session_pool.count_gpus(lambda name: Driver(0, 8)) == 8


def no_library(name: str) -> Any:
    raise OSError(f"{name}: cannot open shared object file")


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (no_library, r"no NVIDIA driver: \S+ can't be found"),
        (lambda name: Driver(100), "the NVIDIA driver finds no GPU; .*CUDA_VISIBLE_DEVICES"),
        (lambda name: Driver(0, 0), "the NVIDIA driver finds no GPU; .*CUDA_VISIBLE_DEVICES"),
        (lambda name: Driver(701), "the NVIDIA driver answers with error 701; `nvidia-smi`"),
        (
            lambda name: Driver(803),
            "the parts of the NVIDIA driver are of different releases, .*; restart",
        ),
        (lambda name: Driver(802), "the GPUs' fabric manager does not run"),
        (lambda name: Driver(999), r"the GPU is busy or in a bad state \(CUDA error 999\); `nvidia-smi`"),
    ],
)
def test_no_gpu_is_one_line_with_the_cure(load: Callable[[str], Any], words: str) -> None:
    with pytest.raises(DeviceError, match=f"--device cuda:all: {words}") as caught:
        session_pool.count_gpus(load)
    assert str(caught.value).endswith("; --device cpu works everywhere")
    assert "\n" not in str(caught.value)
