"""The lines of `doctor`."""

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from alexnet_tk import doctor


def test_versions_machine_and_devices() -> None:
    found = doctor.examine()
    for package in ("numpy", "pillow", "torch", "onnx"):
        assert found[package] == importlib.metadata.version(package)
    cores = re.fullmatch(r"(\d+) usable of (\d+)", found["cores"])
    assert cores is not None
    assert 1 <= int(cores[1]) <= len(os.sched_getaffinity(0))
    assert int(cores[2]) == os.cpu_count()
    assert "CPUExecutionProvider" in found["providers"]
    assert found["predict"].startswith(("on cpu (", "on cuda:0 ("))
    assert found["train"].startswith("on ")


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        if package in ("torch", "onnxruntime"):
            raise importlib.metadata.PackageNotFoundError
        return "1.0"

    monkeypatch.setattr(doctor, "version", version)
    found = doctor.examine()
    assert found["torch"] == "not installed; pip install 'alexnet-tk[train]'"
    assert "onnxruntime" not in found
    monkeypatch.setattr(doctor, "version", lambda package: "1.0")
    assert "pip uninstall" in doctor.examine()["onnxruntime"]


def test_the_command_prints_a_line_for_each(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("alexnet-tk")
    done = subprocess.run([script, "doctor"], cwd=tmp_path, capture_output=True, encoding="utf-8", check=True)
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(doctor.examine())


def test_what_is_broken_hides_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the current folder changes nothing, and a failing runtime only its own line."""
    (tmp_path / "model.onnx").write_text("no model")
    monkeypatch.chdir(tmp_path)
    assert doctor.examine()["predict"].startswith("on ")

    def broken(*arguments: object) -> None:
        raise RuntimeError("libonnxruntime is broken")

    monkeypatch.setattr("alexnet_tk.inference.model.open_model", broken)
    found = doctor.examine()
    assert found["predict"] == "not possible: libonnxruntime is broken"
    assert found["train"].startswith("on ")


@pytest.mark.parametrize(
    ("lacking", "words"), [(None, "LRN by its kernel)"), ("no gcc", "LRN without its kernel: no gcc)")]
)
def test_on_cuda_it_says_how_lrn_is_computed(
    monkeypatch: pytest.MonkeyPatch, lacking: str | None, words: str
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: "Card")
    monkeypatch.setattr("alexnet_tk.network.lrn.why_no_kernel", lambda: lacking)
    found = doctor.examine()["train"]
    assert found.startswith("on Card (CUDA ")
    assert found.endswith(words)
