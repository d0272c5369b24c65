"""Training on CUDA without a GPU: devices, copies, waits, layouts, and what processes send; fake tensors."""

import json
import subprocess
import sys
from pathlib import Path
from shutil import which
from typing import Any, get_args

import pytest
import torch

from alexnet_tk.choices import Parallelism

ROOT = Path(__file__).parents[3]
TORCH = Path(torch.__file__).parent
MODES: tuple[Parallelism, ...] = get_args(Parallelism)
CASES: list[dict[str, Any]] = [
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
    for case, each in zip(CASES, seen, strict=True):
        is_last_stage = case.get("mode") == "pipeline" and case["rank"] % 2
        assert set(each["layouts"]) == {f"c{number}.weight" for number in range(1, 0 if is_last_stage else 6)}
        assert all(all(layouts) for layouts in each["layouts"].values())


def test_half_precision_computes_the_layers(seen: list[dict[str, Any]]) -> None:
    """One cast of each layer's weights at least; the scaled update of fp16 reads no gradient on the host."""
    casts = [each["operators"].get("aten._to_copy.default", 0) for each in seen[:6]]
    assert min(casts[2:]) > casts[0] + 8
    scaled = "aten._amp_update_scale_.default"
    assert [each["operators"].get(scaled, 0) for each in seen[:6]] == [0, 0, 0, 0, 1, 1]


SUM = "c10d.allreduce_.default"


@pytest.mark.parametrize("mode", MODES)
def test_processes_send_contiguous_tensors(seen: list[dict[str, Any]], mode: str) -> None:
    """Maps and units in half precision; sums, of weights and gradients, in float32."""
    for case, each in zip(CASES, seen, strict=True):
        if case.get("mode") != mode:
            continue
        assert all(contiguous for _, _, contiguous in each["collectives"])
        sums = [dtype for name, dtype, _ in each["collectives"] if name == SUM]
        assert set(sums) <= {"torch.float32", "torch.int64"}, case  # int64: targets
        exchanged = {dtype for name, dtype, _ in each["collectives"] if name != SUM}
        assert exchanged == (set() if mode == "data" else {"torch.bfloat16"}), case


def test_gradients_of_several_copies_are_summed(seen: list[dict[str, Any]]) -> None:
    """Beside the number of pictures; `data` begins with the last layers' while others are computed."""
    for case, each in zip(CASES, seen, strict=True):
        copies = {"data": case.get("size"), "towers": case.get("size", 2) // 2, "hybrid": 2}
        copies["pipeline"] = copies["towers"]
        sums = [name for name, _, _ in each["collectives"] if name == SUM]
        if (mode := case.get("mode")) is None:
            assert not sums
        else:
            assert (len(sums) > 1) == (copies[mode] > 1), case


def test_stages_send_a_piece_at_a_time(seen: list[dict[str, Any]]) -> None:
    """Four pieces' maps to the second stage and their gradients back; in two batches of validation, maps."""
    for case, each in zip(CASES, seen, strict=True):
        if case.get("mode") == "pipeline":
            names = [name for name, _, _ in each["collectives"]]
            counts = names.count("c10d.send.default"), names.count("c10d.recv_.default")
            assert counts == ((4, 12) if case["rank"] % 2 else (12, 4))
