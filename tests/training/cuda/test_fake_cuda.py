"""Training on CUDA without a GPU: devices, copies, waits, layouts and what processes send, on fake tensors.

Not covered: `--parallel data`, whose gradients torch reads in C++, and `pipeline`, whose schedule learns
shapes from the messages of the other stage.
"""

import json
import subprocess
import sys
from pathlib import Path
from shutil import which
from typing import Any

import pytest
import torch

from alexnet_tk.choices import Parallelism

ROOT = Path(__file__).parents[3]
TORCH = Path(torch.__file__).parent
MODES: tuple[Parallelism, ...] = ("towers", "hybrid")
CASES = [
    *({"precision": each, "unreadable": count} for each in ("fp32", "bf16", "fp16") for count in (0, 2)),
    *(
        {"mode": mode, "size": size, "rank": rank, "precision": "bf16", "unreadable": 2}
        for mode in MODES
        for size in (2, 8)
        for rank in (0, size - 1)
    ),
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(which("g++") is None, reason="g++ is missing"),
    pytest.mark.skipif(not (TORCH / "include/c10/core/impl").is_dir(), reason="torch's headers are missing"),
    pytest.mark.skipif(torch.version.cuda is not None, reason="this torch has devices of its own"),
]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What happened in each case, in another process: torch keeps the stand-in's devices."""
    library = tmp_path_factory.mktemp("stand_in") / "libstand_in.so"
    source = Path(__file__).with_name("stand_in.cpp")
    flags = ["-shared", "-fPIC", "-O0", "-std=c++20", "-w", f"-I{TORCH / 'include'}", f"-L{TORCH / 'lib'}"]
    subprocess.run(["g++", *flags, "-o", library, source, "-lc10", "-ltorch_cpu"], check=True)
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.cuda.fake_cuda", library, json.dumps(CASES)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_step_and_an_evaluation_wait_for_nothing(seen: list[dict[str, Any]]) -> None:
    """Every case ran, so no operator met tensors of two devices."""
    assert len(seen) == len(CASES)
    for case, each in zip(CASES, seen, strict=True):
        assert each["waits"] == [], case
        assert each["blocking"] == [], case
        assert each["operators"]["aten._fused_sgd_.default"] == 1, case


def test_batches_are_copied_on_a_stream_of_their_own(seen: list[dict[str, Any]]) -> None:
    for each in seen:
        assert len(each["uploads"]) >= 4 * 3  # pictures, targets, weights, slots of a step and two batches
        assert set(each["uploads"]) == {"1"}
        events = each["events"]
        assert events.count("0 waits for 1") == 3
        assert events.count("in use") == events.count("upload")
        first_wait = events.index("0 waits for 1")
        assert set(events[:first_wait]) == {"upload"}
        assert events[first_wait + 1] == "in use"


def test_weights_and_gradients_are_channels_last(seen: list[dict[str, Any]]) -> None:
    for each in seen:
        assert set(each["layouts"]) == {f"c{number}.weight" for number in range(1, 6)}
        assert all(all(layouts) for layouts in each["layouts"].values())


def test_half_precision_computes_the_layers(seen: list[dict[str, Any]]) -> None:
    """One cast of each layer's weights at least; the scaled update of fp16 reads no gradient on the host."""
    casts = [each["operators"].get("aten._to_copy.default", 0) for each in seen[:6]]
    assert min(casts[2:]) > casts[0] + 8
    scaled = "aten._amp_update_scale_.default"
    assert [each["operators"].get(scaled, 0) for each in seen[:6]] == [0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize("mode", MODES)
def test_processes_send_contiguous_half_precision(seen: list[dict[str, Any]], mode: str) -> None:
    for case, each in zip(CASES, seen, strict=True):
        if case.get("mode") != mode:
            continue
        assert each["collectives"]
        assert all(contiguous for _, _, contiguous in each["collectives"])
        exchanged = {
            (name, dtype)
            for name, dtype, _ in each["collectives"]
            if "gather" in name or "reduce_scatter" in name
        }
        assert exchanged and {dtype for _, dtype in exchanged} == {"torch.bfloat16"}, case
