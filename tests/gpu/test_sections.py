"""What benchmarks/gpu.py measures on a GPU, at small sizes, as assertions."""

import time
from pathlib import Path

import pytest

from benchmarks import gpu
from benchmarks.gpu_section import Section


@pytest.mark.gpu
@pytest.mark.parametrize("name", gpu.SECTIONS)
def test_a_section_finds_nothing_wrong(name: str, tmp_path: Path) -> None:
    section = Section("cuda", True, tmp_path, time.monotonic() + 600)
    result = gpu.run(name, section)
    assert not result["failures"]
    assert not result["out_of_time"]
    if not result["figures"]:
        pytest.skip("; ".join(result["skipped"]))
