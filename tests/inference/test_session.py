"""Devices: what is refused and in which words, and where a model computes."""

import re
import subprocess
import sys
from pathlib import Path

import onnxruntime as ort
import pytest

from alexnet_tk.choices import Math
from alexnet_tk.errors import DeviceError, UsageError
from alexnet_tk.inference import session as sessions
from alexnet_tk.inference.cuda import arithmetic
from alexnet_tk.inference.model import open_model
from alexnet_tk.inference.session import open_session


@pytest.fixture(scope="module")
def cuda_works(model_file: Path) -> bool:
    try:
        open_model(model_file, "cuda")
    except DeviceError:
        return False
    return True


@pytest.mark.parametrize(
    "device",
    ["", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:x", "cpu:0", "cuda:0\n", "auto ", "cuda:ALL", "openvino:0"],
)
def test_an_unknown_device_is_wrong_usage(device: str, model_file: Path) -> None:
    with pytest.raises(UsageError, match="auto, cpu, openvino, cuda, cuda:N or cuda:all") as caught:
        open_model(model_file, device)
    assert repr(device) in str(caught.value)


def test_an_unknown_math_is_wrong_usage(model_file: Path) -> None:
    with pytest.raises(UsageError, match="--math is 'tf32'; it must be exact or fast"):
        open_model(model_file, "cpu", "tf32")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("device", "math", "half", "expected"),
    [
        ("cpu", "exact", False, "exact"),
        ("cpu", "fast", False, "exact"),
        ("cpu", "fast", True, "exact"),
        ("cuda", "exact", False, "exact"),
        ("cuda:1", "fast", False, "tf32"),
        ("cuda", "exact", True, "tf32"),
    ],
)
def test_tf32_is_for_cuda_where_it_is_allowed_or_products_are_half(
    device: str, math: Math, half: bool, expected: str
) -> None:
    assert arithmetic(device, math, half) == expected


def test_for_latency_one_run_has_all_cores(model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise as many runs as there are cores have one each."""
    monkeypatch.setattr(sessions, "usable_cores", lambda: 3)
    for latency, threads, runs in ((True, 3, 1), (False, 1, 0)):
        session, device = open_session(model_file, "cpu", latency=latency)
        assert isinstance(session, ort.InferenceSession)
        assert session.get_session_options().intra_op_num_threads == threads
        assert device.runs == runs


@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_cuda_where_there_is_none_names_what_is_missing(
    device: str, model_file: Path, cuda_works: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    if cuda_works:
        pytest.skip("CUDA works here")
    with pytest.raises(DeviceError) as caught:
        open_model(model_file, device)
    words = str(caught.value)
    assert f"--device {device}:" in words
    assert re.search(r"\blib\w+\.so|\w+\.dll|onnxruntime-gpu", words), words
    assert "\n" not in words
    assert capfd.readouterr().out == ""


def test_auto_says_why_it_is_on_the_cpu(
    model_file: Path, cuda_works: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    if cuda_works:
        pytest.skip("CUDA works here")
    device = open_model(model_file, "auto").device
    assert device.name == "cpu"
    assert re.search(r"\blib\w+\.so|\w+\.dll|onnxruntime-gpu", device.why), device.why
    assert tuple(capfd.readouterr()) == ("", "")


def test_cuda_where_it_works(model_file: Path, cuda_works: bool) -> None:
    if not cuda_works:
        pytest.skip("no CUDA here")
    assert open_model(model_file, "cuda").device.name == "cuda:0"
    assert open_model(model_file, "auto").device.name == "cuda:0"


def test_opening_a_model_prints_nothing_to_stdout(model_file: Path) -> None:
    """In a process of its own, since libraries print what they have to say only once."""
    program = "import sys, pathlib, alexnet_tk.inference.model as s; s.open_model(pathlib.Path(sys.argv[1]))"
    ended = subprocess.run(
        [sys.executable, "-c", program, str(model_file)], capture_output=True, text=True, check=True
    )
    assert ended.stdout == ""
