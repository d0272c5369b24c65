"""Which device trains, what it computes in, and what is said when its memory runs out."""

from pathlib import Path
from typing import Any

import pytest
import torch

from alexnet_tk import train
from alexnet_tk.errors import TrainingError
from alexnet_tk.training.device import autocast_dtype, choose_device, device_line, tf32
from alexnet_tk.training.parallel import join_world
from tests.training.log import Log

CUDA = torch.device("cuda", 1)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """Two devices as torch describes them; the list of those that were made current."""
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device.index}")
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    return current


def test_a_single_process_makes_its_device_the_current_one(two_gpus: list[torch.device]) -> None:
    with join_world(choose_device("cuda:1")) as world:
        assert world.device == CUDA
    with join_world(choose_device("auto")):
        pass
    with join_world(choose_device("cpu")):
        pass
    assert two_gpus == [CUDA, torch.device("cuda", 0)]


@pytest.mark.parametrize(("emulates", "expected"), [(False, torch.bfloat16), (True, torch.float16)])
def test_auto_takes_bfloat16_only_where_it_is_not_emulated(
    monkeypatch: pytest.MonkeyPatch, emulates: bool, expected: torch.dtype
) -> None:
    def is_supported(including_emulation: bool = True) -> bool:
        return including_emulation or not emulates

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_supported)
    assert autocast_dtype("auto", CUDA) is autocast_dtype("half", CUDA) is expected
    assert autocast_dtype("auto", torch.device("cpu")) is None


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, torch.bfloat16),
        ({"avx512_bf16": False, "amx_bf16": True}, torch.bfloat16),
        ({"avx512_f": True, "avx512_bf16": False}, None),  # torch would compute in bfloat16, but slowly
        ({"architecture": "aarch64"}, None),
    ],
)
def test_half_takes_bfloat16_on_a_cpu_with_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, object], expected: torch.dtype | None
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert autocast_dtype("half", torch.device("cpu")) is expected
    assert autocast_dtype("auto", torch.device("cpu")) is None


@pytest.mark.parametrize(
    ("precision", "arithmetic"),
    [("fp32", "float32"), ("tf32", "TF32"), ("bf16", "bfloat16"), ("fp16", "float16")],
)
def test_the_device_line_says_what_it_computes_in(
    two_gpus: list[torch.device], precision: str, arithmetic: str
) -> None:
    assert device_line("auto", CUDA, precision) == f"device: cuda:1, GPU 1, {arithmetic}"  # type: ignore[arg-type]
    on_cpu = device_line("cpu", torch.device("cpu"), precision)  # type: ignore[arg-type]
    expected = "float32" if precision == "tf32" else arithmetic
    assert on_cpu == f"device: cpu, {torch.get_num_threads()} threads, {expected}"


@pytest.mark.parametrize(("precision", "allowed"), [("fp32", False), ("tf32", True)])
def test_training_multiplies_exactly_unless_tf32_is_asked_for(
    pictures: Path, tmp_path: Path, tiny: tuple[str, ...], precision: str, allowed: bool
) -> None:
    def flags() -> tuple[bool, bool]:
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    class FlagsLog(Log):
        def advance(self, count: int, loss: float | None = None) -> None:
            if loss is not None:
                seen.add(flags())

    seen: set[tuple[bool, bool]] = set()
    before = flags()
    settings = (*tiny, f"train.precision={precision}", "train.epochs=1")
    log = FlagsLog()
    train(pictures, settings=settings, output=tmp_path / "m.pt", device="cpu", progress=log)
    assert seen == {(allowed, allowed)}
    assert flags() == before
    assert [line for line in log.said if line.startswith("device: ")] == [
        f"device: cpu, {torch.get_num_threads()} threads, float32"
    ]


def test_tf32_ends_with_its_block() -> None:
    before = torch.backends.cudnn.allow_tf32
    with pytest.raises(ZeroDivisionError), tf32(not before):
        assert torch.backends.cudnn.allow_tf32 is not before
        1 / 0  # noqa: B018
    assert torch.backends.cudnn.allow_tf32 is before


@pytest.mark.parametrize(
    ("stage", "error"),
    [
        ("changes.normalise", torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")),
        ("changes.normalise", RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")),
        ("trainer.normalise", RuntimeError("CUDA error: out of memory")),  # in an evaluation
        ("trainer.on_device", RuntimeError("DefaultCPUAllocator: can't allocate memory")),
    ],
)
def test_memory_that_runs_out_names_a_batch_size(
    pictures: Path,
    tmp_path: Path,
    tiny: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    error: RuntimeError,
) -> None:
    def out_of_memory(*arguments: object) -> torch.Tensor:
        raise error

    monkeypatch.setattr(f"alexnet_tk.training.{stage}", out_of_memory)
    settings = (*tiny, "train.batch_size=12", "train.epochs=1")
    with pytest.raises(TrainingError, match=r"train\.batch_size=12; try --set train\.batch_size=6$"):
        train(pictures, settings=settings, output=tmp_path / "model.pt", device="cpu")


def test_a_process_with_the_other_setting_keeps_its_own() -> None:
    """`allow_tf32` can't be read where `fp32_precision` has set convolutions and recurrent layers apart."""
    conv: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before, conv.fp32_precision = conv.fp32_precision, "ieee"
    try:
        with tf32(True):
            assert conv.fp32_precision == "ieee"
        assert conv.fp32_precision == "ieee"
    finally:
        conv.fp32_precision = before
    assert torch.backends.cudnn.allow_tf32 in (True, False)


@pytest.mark.parametrize("stage", ["trainer.PaperSGD", "metrics.torch.cat"])
def test_memory_may_run_out_anywhere(
    pictures: Path, tmp_path: Path, tiny: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    def fail(*arguments: object, **keywords: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(f"alexnet_tk.training.{stage}", fail)
    with pytest.raises(TrainingError, match=r"no memory left .* try --set train.batch_size=\d+"):
        train(pictures, settings=tiny, output=tmp_path / "m.pt", device="cpu")
