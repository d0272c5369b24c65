"""OpenVINO as a device: its answers are ONNX Runtime's, and who gets it and why."""

import builtins
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from alexnet_tk import sample, zoo
from alexnet_tk.doctor import examine
from alexnet_tk.errors import DeviceError, MissingExtraError, ModelError, UsageError
from alexnet_tk.evaluation import evaluate
from alexnet_tk.inference import Classifier, openvino_session
from alexnet_tk.inference.model import open_model
from alexnet_tk.inference.openvino_session import OpenVinoSession
from alexnet_tk.inference.session import open_session
from alexnet_tk.machine import usable_cores
from alexnet_tk.model_files import open_models

pytest.importorskip("openvino", exc_type=ImportError)

MISSING = "this needs openvino, which is not installed: pip install 'alexnet-tk[openvino]'"


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing openvino fails as where it is not installed."""
    found = builtins.__import__

    def find(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "openvino":
            raise ModuleNotFoundError("No module named 'openvino'", name="openvino")
        return found(name, *rest)

    monkeypatch.setattr(openvino_session, "_loaded", openvino_session._loaded.__wrapped__)
    monkeypatch.setattr(builtins, "__import__", find)


def random_pictures(count: int, side: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def test_it_computes_what_numpy_does(
    model_file: Path, answer: Callable[[NDArray[np.uint8]], NDArray[np.float64]]
) -> None:
    model = open_model(model_file, "openvino")
    assert str(model.device) == "openvino (asked for; exact arithmetic)"
    pictures = random_pictures(3, 8)
    probabilities = model.run(pictures)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, answer(pictures), rtol=1e-4)


def test_any_number_of_pictures_is_answered_by_few_networks(
    model_file: Path,
    answer: Callable[[NDArray[np.uint8]], NDArray[np.float64]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each compiled network holds the weights once more, so there must not be one for each number."""
    compiled: list[Any] = []
    compile_network = OpenVinoSession._compile

    def count(session: OpenVinoSession, shape: Any) -> Any:
        compiled.append(shape)
        return compile_network(session, shape)

    monkeypatch.setattr(OpenVinoSession, "_compile", count)
    model = open_model(model_file, "openvino")
    for number in (1, 7, 2, 5, 1, 3, 9, 2):
        pictures = random_pictures(number, 8)
        np.testing.assert_allclose(model.run(pictures), answer(pictures), rtol=1e-4)
    assert compiled == [(1, 8, 8, 3), (7, 8, 8, 3), (2, 8, 8, 3), (5, 8, 8, 3), ["?", 8, 8, 3]]


def test_all_batches_have_one_shape(model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, ...]] = []
    run = OpenVinoSession.run

    def note(session: OpenVinoSession, outputs: list[str], inputs: dict[str, NDArray[Any]], /) -> list[Any]:
        shapes.extend(each.shape for each in inputs.values())
        return run(session, outputs, inputs)

    monkeypatch.setattr(OpenVinoSession, "run", note)
    pictures = random_pictures(18, 8)
    records = list(Classifier(model_file, "openvino").classify(pictures, 5, batch_size=4, workers=3))
    expected = list(Classifier(model_file, "cpu").classify(pictures, 5, batch_size=4))
    assert shapes == [(4, 8, 8, 3)] * 5, "the last one is padded"
    assert [each.labels for each in records] == [each.labels for each in expected]
    for record, other in zip(records, expected, strict=True):
        np.testing.assert_allclose(record.probabilities, other.probabilities, atol=1e-6)


def test_as_many_streams_as_usable_cores(model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is one thread, so that runs at once, and no single run, take all cores."""
    for cores in range(1, min(2, usable_cores()) + 1):  # it takes no more than there are
        monkeypatch.setattr(openvino_session, "usable_cores", lambda cores=cores: cores)
        session = OpenVinoSession(model_file)
        session.prepare((4, 8, 8, 3))
        network = session._compiled[4, 8, 8, 3]._network
        assert network.get_property("NUM_STREAMS") == cores
        assert network.get_property("INFERENCE_NUM_THREADS") == cores


def test_for_latency_one_stream_has_all_cores(model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cores = min(2, usable_cores())
    monkeypatch.setattr(openvino_session, "usable_cores", lambda: cores)
    session, device = open_session(model_file, "openvino", latency=True)
    assert isinstance(session, OpenVinoSession)
    session.prepare((1, 8, 8, 3))
    network = session._compiled[1, 8, 8, 3]._network
    assert network.get_property("NUM_STREAMS") == 1
    assert network.get_property("INFERENCE_NUM_THREADS") == cores
    assert device.runs == 1


def test_threads_that_are_the_first_to_run_do_not_wait_for_each_other_for_ever(model_file: Path) -> None:
    """OpenVINO's binding would, now and then, in a process that has not used it before."""
    program = """if True:
        import os, sys, threading
        from pathlib import Path
        import numpy as np
        from alexnet_tk.inference.openvino_session import OpenVinoSession

        session, barrier = OpenVinoSession(Path(sys.argv[1])), threading.Barrier(8)
        pictures = np.zeros((1, 8, 8, 3), np.uint8)
        session.prepare(pictures.shape)

        def run():
            barrier.wait()
            session.run(["probabilities"], {"image": pictures})

        threads = [threading.Thread(target=run, daemon=True) for _ in range(8)]
        [each.start() for each in threads]
        [each.join(20) for each in threads]
        os._exit(any(each.is_alive() for each in threads))
    """
    for _ in range(4):
        ended = subprocess.run([sys.executable, "-c", program, model_file], timeout=60, check=False)
        assert ended.returncode == 0


class TestArithmetic:
    def test_bfloat16_only_where_it_is_allowed_and_the_processor_has_it(self, model_file: Path) -> None:
        flags = Path("/proc/cpuinfo").read_text() if platform.system() == "Linux" else ""
        has = "avx512_bf16" in flags or "amx_bf16" in flags
        exact, fast = (open_model(zoo.built_in_model(), "openvino", math) for math in ("exact", "fast"))
        assert exact.device.arithmetic == "exact"
        assert fast.device.arithmetic == ("bf16" if has else "exact")
        assert str(fast.device).endswith(f"; {fast.device.arithmetic} arithmetic)")
        pictures = random_pictures(16, 96)
        expected = open_model(zoo.built_in_model(), "cpu").run(pictures)
        np.testing.assert_allclose(exact.run(pictures), expected, atol=1e-5)
        difference = np.abs(fast.run(pictures) - expected).max()
        assert difference < 0.05
        assert (difference > 1e-5) == has

    def test_a_processor_without_it_computes_exactly(
        self, model_file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        core, reader, _ = openvino_session._load()
        monkeypatch.setattr(openvino_session, "_load", lambda: (core, reader, False))
        assert open_model(model_file, "openvino", "fast").device.arithmetic == "exact"


class TestAuto:
    """Without CUDA: where it works, it comes first."""

    @pytest.fixture(autouse=True)
    def _no_cuda(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> None:
            raise DeviceError("no GPU")

        monkeypatch.setattr("alexnet_tk.inference.session.open_on_cuda", refuse)
        monkeypatch.setattr(platform, "machine", lambda: "x86_64")
        monkeypatch.setattr(openvino_session, "SMALLEST", 0)

    def test_small_networks_are_left_to_onnx_runtime(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(openvino_session, "SMALLEST", zoo.built_in_model().stat().st_size + 1)
        why = "OpenVINO takes longer to open than it gains with so small a network"
        assert str(open_model(zoo.built_in_model()).device) == f"cpu (no GPU; {why})"

    def test_one_picture_alone_is_left_to_onnx_runtime(self) -> None:
        """Except in half precision: so far as that was measured."""
        assert open_model(zoo.built_in_model(), latency=True).device.name == "cpu"
        assert open_model(zoo.built_in_model(), math="fast", latency=True).device.name == "openvino"

    def test_files_in_a_form_in_which_it_was_measured(self) -> None:
        device = open_model(zoo.built_in_model()).device
        faster = "OpenVINO is faster than ONNX Runtime with such files"
        assert str(device) == f"openvino (no GPU; {faster}; exact arithmetic)"

    def test_other_forms_are_left_to_onnx_runtime(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(openvino_session, "FASTER", {("int8", "decomposed")})
        device = open_model(zoo.built_in_model()).device
        assert str(device) == "cpu (no GPU; OpenVINO was not measured with such files)"

    def test_other_processors_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(platform, "machine", lambda: "aarch64")
        assert (
            str(open_model(zoo.built_in_model()).device)
            == "cpu (no GPU; OpenVINO was not measured on aarch64)"
        )

    def test_and_files_from_elsewhere(
        self, tmp_path: Path, write_model: Callable[..., Path], labels: list[str]
    ) -> None:
        other = write_model(tmp_path / "other.onnx", {})
        (tmp_path / "p.toml").write_text("resize = 8\nmean = [0, 0, 0]\n")
        classifier = Classifier(other, labels=labels, preprocess=str(tmp_path / "p.toml"))
        assert str(classifier.device) == "cpu (no GPU)"

    @pytest.mark.usefixtures("not_installed")
    def test_where_it_is_not_installed(self) -> None:
        assert str(open_model(zoo.built_in_model()).device) == "cpu (no GPU)"

    def test_a_broken_file_is_told_as_onnx_runtime_tells_it(self, tmp_path: Path) -> None:
        path = tmp_path / "half.onnx"
        path.write_bytes(zoo.built_in_model().read_bytes()[:100_000])
        said = []
        for device in ("auto", "cpu"):
            with pytest.raises(ModelError) as caught:
                open_model(path, device)
            said.append(str(caught.value))
        assert said[0] == said[1]


@pytest.mark.usefixtures("not_installed")
def test_where_it_is_not_installed_the_error_names_the_command(model_file: Path) -> None:
    with pytest.raises(MissingExtraError) as caught:
        open_model(model_file, "openvino")
    assert str(caught.value) == MISSING


def test_where_it_cannot_be_loaded_the_error_says_why(
    model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import openvino

    def broken() -> None:
        raise RuntimeError("Exception from src/core.cpp:1:\nCannot load libopenvino_intel_cpu_plugin.so\n\n")

    monkeypatch.setattr(openvino_session, "_loaded", openvino_session._loaded.__wrapped__)
    monkeypatch.setattr(openvino, "Core", broken)
    with pytest.raises(DeviceError) as caught:
        open_model(model_file, "openvino")
    assert str(caught.value) == "OpenVINO can't be loaded: Cannot load libopenvino_intel_cpu_plugin.so"


@pytest.mark.parametrize("device", ["auto", "openvino"])
def test_a_release_or_a_library_that_is_broken(
    model_file: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    """The library for CPUs is loaded by the first word to it; an old release lacks parts of the package."""
    import openvino

    monkeypatch.setattr(openvino_session, "SMALLEST", 0)

    class Core:
        def get_property(self, *words: str) -> None:
            raise RuntimeError("Exception from src/core.cpp:1:\nCannot load the CPU library\n\n")

    def old(*words: object) -> None:
        raise AttributeError("no Tensor")

    for name, broken, message in (
        ("Core", Core, "Cannot load the CPU library"),
        ("Tensor", old, "no Tensor"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(openvino_session, "_loaded", openvino_session._loaded.__wrapped__)
            patch.setattr(openvino, name, broken)
            if device == "openvino":
                with pytest.raises(DeviceError, match=f"^OpenVINO can't be loaded: {message}$"):
                    open_model(model_file, device)
            else:
                found = open_model(model_file, device).device
                assert found.name == "cpu"
                assert f"OpenVINO can't be loaded: {message}" in found.why


def test_there_is_one_core_and_one_reader() -> None:
    """With one for each session, this file's process crashed every other time, when networks were freed."""
    first, second = (openvino_session._load() for _ in range(2))
    assert first[0] is second[0]
    assert first[1] is second[1]


def test_a_checkpoint_is_for_torch(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match=r"m\.pt is a checkpoint, and --device openvino is for ONNX files"),
        open_models([tmp_path / "m.pt"], "openvino"),
    ):
        pass


def test_a_network_that_it_cannot_compute_is_a_line(tmp_path: Path, model_file: Path) -> None:
    import onnx

    model = onnx.load(model_file)
    model.graph.node[-1].op_type = "NoSuchThing"
    path = tmp_path / "new.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(
        ModelError, match=r"new\.onnx can't be opened .*NoSuchThing.*; `alexnet-tk export`"
    ) as caught:
        open_model(path, "openvino")
    assert "\n" not in str(caught.value)
    assert "src/" not in str(caught.value)


@pytest.mark.parametrize("layout", ["NHWC", "fixed batch"])
def test_models_from_elsewhere(
    layout: str, tmp_path: Path, write_model: Callable[..., Path], labels: list[str]
) -> None:
    import onnx

    path = write_model(tmp_path / "other.onnx", {})
    if layout == "fixed batch":
        model = onnx.load(path)
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = 4
        onnx.save(model, path)
    (tmp_path / "p.toml").write_text("resize = 8\nmean = [0, 0, 0]\n")
    here, there = (
        Classifier(path, device, labels=labels, preprocess=str(tmp_path / "p.toml"))
        for device in ("openvino", "cpu")
    )
    assert here.model.batch == there.model.batch == (4 if layout == "fixed batch" else None)
    assert here.settings == there.settings
    pictures = random_pictures(11, 8)
    np.testing.assert_allclose(here.model.run(pictures), there.model.run(pictures), atol=1e-6)
    records, expected = (list(each.classify(pictures, 3)) for each in (here, there))
    assert [each.labels for each in records] == [each.labels for each in expected]


def test_evaluate(tmp_path: Path) -> None:
    sample.write_pictures(tmp_path / "images")
    for folder in (tmp_path / "images").iterdir():
        for path in sorted(folder.iterdir())[12:]:
            path.unlink()
    here, there = (
        evaluate(zoo.built_in_model(), tmp_path / "images", crops=10, device=device)
        for device in ("openvino", "cpu")
    )
    assert here.confusion.sum() == 120
    assert (here.confusion == there.confusion).all()


def test_nothing_is_printed(model_file: Path, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_bytes(b"\x08no network")
    program = """if True:
        import sys
        from pathlib import Path
        import numpy as np
        from alexnet_tk.errors import ModelError
        from alexnet_tk.inference.model import open_model

        open_model(Path(sys.argv[1]), "openvino").run(np.zeros((2, 8, 8, 3), np.uint8))
        try:
            open_model(Path(sys.argv[2]), "openvino")
        except ModelError:
            sys.exit(5)
    """
    words = [sys.executable, "-c", program, str(model_file), str(tmp_path / "text.onnx")]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (5, "", "")


def test_nothing_is_reported(model_file: Path, tmp_path: Path) -> None:
    """OpenVINO would count its uses in the home folder, and send the count."""
    program = """if True:
        import sys
        from pathlib import Path
        import numpy as np
        from alexnet_tk.inference.model import open_model

        open_model(Path(sys.argv[1]), "openvino").run(np.zeros((2, 8, 8, 3), np.uint8))
        assert "openvino_telemetry" not in sys.modules
    """
    words = [sys.executable, "-c", program, str(model_file)]
    subprocess.run(words, env=os.environ | {"HOME": str(tmp_path)}, check=True)
    assert not (tmp_path / "intel").exists()


def test_doctor_says_what_fast_would_be() -> None:
    fast = open_model(zoo.built_in_model(), "openvino", "fast").device.arithmetic
    assert ("--math fast computes in bfloat16" in examine()["openvino"]) == (fast == "bf16")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_affinity_is_heeded(model_file: Path) -> None:
    """In a process that may use one core, it computes on that one, however many there are."""
    program = """if True:
        import os, sys
        from pathlib import Path
        from alexnet_tk.inference.openvino_session import OpenVinoSession

        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        session = OpenVinoSession(Path(sys.argv[1]))
        session.prepare((1, 8, 8, 3))
        print(session._compiled[1, 8, 8, 3]._network.get_property("NUM_STREAMS"))
    """
    words = [sys.executable, "-c", program, str(model_file)]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "1\n"
