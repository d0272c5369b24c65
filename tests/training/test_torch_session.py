"""Checkpoints run from several threads, as exported files are."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from alexnet_tk.choices import Math
from alexnet_tk.errors import DeviceError
from alexnet_tk.inference.model import INPUT_NAME, OUTPUT_NAME
from alexnet_tk.model_files import open_models
from alexnet_tk.training.torch_session import TorchSession, open_checkpoint


@pytest.mark.parametrize(("math", "allowed"), [("exact", False), ("fast", True)])
def test_all_threads_multiply_as_was_asked_for(
    fashion_mini: Path, monkeypatch: pytest.MonkeyPatch, math: Math, allowed: bool
) -> None:
    """torch's settings are the process's: a run that ends must not change them for one that goes on."""
    seen: list[tuple[bool, bool]] = []
    run = TorchSession.run

    def watched(self: TorchSession, outputs: list[str], inputs: dict[str, Any]) -> Any:
        answers = run(self, outputs, inputs)
        seen.append((torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32))
        return answers

    monkeypatch.setattr(TorchSession, "run", watched)
    with open_models([fashion_mini], "cpu", math) as (model,), ThreadPoolExecutor(4) as threads:
        size = model.image_size
        pictures = np.zeros((2, size, size, 3), np.uint8)
        list(threads.map(lambda _: model.run(pictures), range(20)))
    assert set(seen) == {(allowed, allowed)}


def test_a_run_makes_its_gpu_the_threads_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton launches its kernels on the device that is current in the thread."""
    current: list[int] = []

    @contextmanager
    def device(wanted: torch.device) -> Iterator[None]:
        current.append(wanted.index)
        yield
        current.append(-1)

    class Network(nn.Module):
        def with_features(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            assert current[-1] == 1
            return pictures[:, 0, 0, :1].float(), pictures[:, 0, 0].float()

    monkeypatch.setattr(torch.cuda, "device", device)
    session: Any = TorchSession.__new__(TorchSession)
    session._classifier = Network()
    session._device = torch.device("cuda", 1)
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device: self)
    pictures = np.full((2, 4, 4, 3), 7, np.uint8)
    with ThreadPoolExecutor(1) as thread:
        (answers,) = thread.submit(session.run, [OUTPUT_NAME], {INPUT_NAME: pictures}).result()
    assert answers.tolist() == [[7.0], [7.0]]
    assert current == [1, -1]


def test_a_gpu_without_memory_is_named(fashion_mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: TorchSession, *arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(TorchSession, "__init__", full)
    with pytest.raises(DeviceError, match=r"--device cpu: the GPU has no memory left .* `nvidia-smi`"):
        open_checkpoint(fashion_mini, "cpu")
