"""benchmarks/gpu.py runs where there is no GPU, so that it works where there is one."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu_section import Section, Skipped

ROOT = Path(__file__).parent.parent


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


def cut_off(section: Section) -> None:
    """End as Ctrl-C does."""
    raise KeyboardInterrupt


def run(monkeypatch: pytest.MonkeyPatch, output: Path, *functions: Callable[[Section], None]) -> int:
    monkeypatch.setattr(gpu, "SECTIONS", {each.__name__: (each, 1.0) for each in functions})
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", "--output", str(output)])
    return gpu.main()


def test_failures_and_reasons_are_kept_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, tmp_path / "gpu.json", fails, raises, lacks) == 1
    results: dict[str, Any] = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert results["fails"]["figures"] == {"seen": 1}
    assert results["fails"]["failures"] == ["two is three"]
    assert results["raises"]["failures"] == ["raises: ZeroDivisionError: by"]
    assert results["lacks"]["skipped"] == ["one GPU"]
    assert not results["lacks"]["failures"]
    assert "  fails: two is three" in capsys.readouterr().out.splitlines()
    assert run(monkeypatch, tmp_path / "gpu.json", lacks) == 0


def test_a_run_that_is_cut_off_leaves_what_it_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(monkeypatch, tmp_path / "gpu.json", fails, cut_off)
    assert list(json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))) == ["fails"]


def test_a_part_without_time_is_skipped_with_the_reason(tmp_path: Path) -> None:
    section = Section("cpu", True, tmp_path, time.monotonic() - 1)
    assert not section.has_time("fp32")
    assert section.skipped == ["fp32: no time left; --minutes gives more"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA works here")
def test_without_cuda_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--output", str(tmp_path / "gpu.json")])
    assert gpu.main() == 1
    assert "--device cpu --quick" in capsys.readouterr().err
