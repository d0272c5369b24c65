"""benchmarks/gpu.py runs where there is no GPU, so that it works where there is one."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch

from alexnet_tk import images, zoo
from alexnet_tk.errors import DeviceError
from alexnet_tk.inference.model import Model, open_model
from alexnet_tk.network.alexnet import AlexNet
from alexnet_tk.training.parallel import MODES
from alexnet_tk.training.trainer import Trainer
from benchmarks import gpu, gpu_material, gpu_modes, gpu_prediction, gpu_training
from benchmarks.gpu_section import Section, Skipped

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where sections share their files, which take seconds to make."""
    return tmp_path_factory.mktemp("sections")


def test_every_section_runs_on_the_cpu(tmp_path: Path) -> None:
    output = tmp_path / "gpu.json"
    command = ["benchmarks/gpu.py", "--device", "cpu", "--quick", "--output", str(output)]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(output.read_text(encoding="utf-8"))
    assert list(results) == list(gpu.SECTIONS)
    for name, result in results.items():
        assert f"== {name}: " in done.stdout
        assert result["figures"], name
        assert not result["failures"], name


def fails(section: Section) -> None:
    """Expect what does not hold."""
    section.note("seen", 1)
    section.expect(False, "two is three")


def raises(section: Section) -> None:
    """Raise."""
    raise ZeroDivisionError("by\nzero")


def lacks(section: Section) -> None:
    """Have no ground."""
    raise Skipped("one GPU")


def late(section: Section) -> None:
    """Come too late."""
    section.deadline = 0.0
    section.has_time("fp16")


def cut_off(section: Section) -> None:
    """End as Ctrl-C does."""
    section.note("half", 0.5)
    raise KeyboardInterrupt


def run(monkeypatch: pytest.MonkeyPatch, output: Path, *functions: Callable[[Section], None]) -> int:
    sections = {each.__name__: (f"{__name__}:{each.__name__}", 1.0) for each in functions}
    monkeypatch.setattr(gpu, "SECTIONS", sections)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", "--output", str(output)])
    return gpu.main()


def test_failures_and_reasons_are_kept_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, tmp_path / "gpu.json", fails, raises, lacks, late) == 1
    results: dict[str, Any] = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert results["fails"]["figures"] == {"seen": 1}
    assert results["fails"]["failures"] == ["two is three"]
    assert results["raises"]["failures"] == ["raises: ZeroDivisionError: by"]
    assert results["lacks"]["skipped"] == ["one GPU"]
    assert not results["lacks"]["failures"]
    *_, counts, _, _ = lines = capsys.readouterr().out.splitlines()
    assert counts.endswith("4 sections, 2 failures, 1 skipped, 1 not compared: late, fp16")
    assert "  fails: two is three" in lines
    assert run(monkeypatch, tmp_path / "gpu.json", lacks) == 0


@pytest.fixture
def sigint() -> Iterator[None]:
    """Restores what Ctrl-C does."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("sigint")
def test_ctrl_c_keeps_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, tmp_path / "gpu.json", fails, cut_off, lacks) == 130
    results = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert [result["figures"] for result in results.values()] == [{"seen": 1}, {"half": 0.5}]
    (line,) = capsys.readouterr().err.splitlines()
    assert "interrupted in cut_off" in line


def test_ctrl_c_is_not_taken_for_the_interruption_that_accuracy_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gpu_training, "train", interrupted)
    section = Section("cpu", True, tmp_path, time.monotonic() + 60)
    with pytest.raises(KeyboardInterrupt):
        gpu_training.accuracy(section)
    assert not section.figures


def refuses_half(path: Path, device: str = "auto", math: Any = "exact") -> Model:
    """Open files as on a GPU that computes fp32 and refuses fp16."""
    if device != "cpu" and path.name.startswith("fp16"):
        raise DeviceError("this onnxruntime-gpu has no CUDA kernel for Conv")
    return open_model(path, "cpu", math)


def test_a_file_that_a_gpu_refuses_is_a_failure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "gpus", lambda: 1)
    monkeypatch.setattr(gpu_prediction, "open_model", refuses_half)
    for name in ("answers", "forms", "predict"):
        result = gpu.run(name, Section("cuda", True, folder, time.monotonic() + 100))
        assert any("no CUDA kernel for Conv" in each for each in result["failures"]), name
        assert not result["skipped"], name


def test_without_a_gpu_or_its_package_nothing_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_installed(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(gpu, "gpus", lambda: 0)
    result = gpu.run("answers", Section("cuda", True, folder, time.monotonic() + 100))
    assert (result["failures"], len(result["skipped"])) == ([], 1)
    monkeypatch.setattr(gpu, "gpus", lambda: 1)
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(gpu_prediction, "version", not_installed)
    result = gpu.run("answers", Section("cuda", True, folder, time.monotonic() + 100))
    assert (result["failures"], result["skipped"]) == ([], ["onnxruntime-gpu is not installed"])


def test_each_form_is_compared_once_it_is_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = Section("cpu", False, tmp_path, time.monotonic() + 100)

    def export_one(section: Section, form: str) -> Path:
        section.deadline = 0.0 if form.startswith("fp16") else section.deadline
        return Path(form)

    monkeypatch.setattr(gpu_prediction, "exported", export_one)
    monkeypatch.setattr(gpu_prediction, "compare", lambda section, form, path: section.note(form, 1))
    gpu_prediction.answers(section)
    assert list(section.figures) == ["fp32 native", "fp16 decomposed"]
    assert section.out_of_time == ["fp32 decomposed", "fp16 native"]


def test_equal_answers_for_all_pictures_prove_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blank = np.zeros((16, 40, 40, 3), np.uint8)
    monkeypatch.setattr(gpu_prediction, "pictures", lambda count, side, seed: blank)
    result = gpu.run("answers", Section("cpu", True, folder, time.monotonic() + 100))
    assert any("3 different answers, not 1" in each for each in result["failures"])
    section = Section("cuda", True, folder, time.monotonic() + 100)
    gpu_prediction.compare_records(section, {"a": "x", "b": "x"}, {"a": "x", "b": "x"})
    assert section.failures == ["the pictures have different answers, without which nothing is proven"]


def test_the_pictures_of_a_folder_have_different_answers(folder: Path) -> None:
    section = Section("cpu", True, folder, time.monotonic() + 100)
    model = open_model(gpu_material.exported(section, "fp32 native"), "cpu")
    paths = sorted(gpu_material.jpegs(section, 40).iterdir())
    shown = [images.load(path, model.preprocess) for path in paths]
    answers = model.run(np.stack(shown)).argmax(1).tolist()
    assert len(set(answers)) >= 3
    assert answers[:8] != answers[8:16] != answers[16:24]  # batches that change places are noticed


def test_there_is_an_int8_file_for_cuda_to_refuse(folder: Path) -> None:
    section = Section("cuda", True, folder, time.monotonic() + 100)
    assert open_model(gpu_prediction.int8_file(section), "cpu").metadata["precision"] == "int8"


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_steps_are_timed_in_the_arithmetic_of_training(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    taken = Trainer.step

    def step(self: Trainer, *args: Any) -> Any:
        seen.append((torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32))
        return taken(self, *args)

    monkeypatch.setattr(Trainer, "step", step)
    section = Section("cpu", True, Path(), 0.0)
    recipe = zoo.recipe("alexnet-2012").override(
        *gpu_material.settings(section), "train.batch_size=4", f"train.precision={precision}"
    )
    gpu_training.time_steps(recipe, "cpu", 100, 1, compile=False)
    assert set(seen) == {(precision == "tf32",) * 2}


def test_the_runs_that_tell_most_come_first() -> None:
    runs = gpu_training.runs(quick=False)
    assert runs[:4] == [
        (128, "fp32", False),
        (128, "bf16", False),
        (512, "bf16", False),
        (128, "bf16", True),
    ]
    assert len(set(runs)) == len(runs) == 16


def test_what_was_compiled_for_another_batch_size_is_not_reused(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []

    def backend(graph: Any, inputs: list[Any]) -> Any:
        shapes.append(["dynamic" for each in inputs if isinstance(each, torch.SymInt)])
        return graph.forward

    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model: compiled(model, backend=backend))
    section = Section("cpu", True, Path(), 0.0)
    for batch_size in (4, 6):
        recipe = zoo.recipe("alexnet-2012").override(
            *gpu_material.settings(section), f"train.batch_size={batch_size}", "train.precision=fp32"
        )
        gpu_training.time_steps(recipe, "cpu", 200, 1, compile=True)
    assert shapes
    assert not any(shapes)


def test_only_waits_of_the_steps_are_counted() -> None:
    def event(name: str, start: int, end: int, device: str = "CPU") -> SimpleNamespace:
        times = SimpleNamespace(start=start, end=end)
        return SimpleNamespace(name=name, time_range=times, device_type=SimpleNamespace(name=device))

    steps = gpu_training.PROFILED
    events = [event(steps, 10, 90), event(steps, 20, 95, "CUDA"), event("cudaDeviceSynchronize", 92, 99)]
    assert gpu_training.waits(events) == {}
    events += [event("cudaMemcpy", 11, 12), event("cudaMemcpy", 50, 51), event("cudaLaunchKernel", 30, 31)]
    assert gpu_training.waits(events) == {"cudaMemcpy": 2}


@pytest.mark.parametrize("gpus", range(2, 18))
def test_every_mode_divides_among_the_processes(gpus: int) -> None:
    count = gpu_modes.processes(gpus)
    assert gpus / 2 < count <= gpus or count == 8
    recipe = zoo.recipe("own-pictures").override(*gpu_modes.run_settings(count))
    model = AlexNet(recipe.network, gpu_material.CLASSES)
    for mode in MODES.values():
        strategy: Any = object.__new__(mode)
        strategy.model, strategy.recipe = model, recipe
        strategy.world = SimpleNamespace(size=count, rank=0)
        strategy.divide()


NO_ONNX_RUNTIME = """
import runpy, sys
sys.modules["onnxruntime"] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("name", ["lrn", "answers"])
def test_without_onnx_runtime_the_other_sections_run(name: str, tmp_path: Path) -> None:
    output = tmp_path / "gpu.json"
    command = ["benchmarks/gpu.py", "--device", "cpu", "--quick", "--only", name, "--output", str(output)]
    done = subprocess.run(
        [sys.executable, "-c", NO_ONNX_RUNTIME, *command],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(output.read_text(encoding="utf-8"))[name]
    assert bool(result["figures"]) == (name == "lrn")
    if name == "answers":
        assert result["skipped"] == ["answers: onnxruntime is not installed"]


def test_training_is_skipped_where_torch_lacks_cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "gpus", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    section = Section("cuda", True, tmp_path, time.monotonic() + 100)
    for name in ("lrn", "steps", "accuracy", "modes"):
        assert not gpu.run(name, section)["failures"]
    assert len(section.skipped) == 4
    monkeypatch.setattr(torch.version, "cuda", "13.0")  # built for the GPU that it can't use
    assert gpu.run("steps", section)["failures"]


def test_a_part_without_time_is_left_out(tmp_path: Path) -> None:
    section = Section("cpu", True, tmp_path, time.monotonic() - 1)
    assert not section.has_time("fp32")
    assert section.out_of_time == ["fp32"]


def test_without_a_gpu_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "gpus", lambda: 0)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--output", str(tmp_path / "gpu.json")])
    assert gpu.main() == 1
    assert "--device cpu --quick" in capsys.readouterr().err
