"""The section of benchmarks/gpu.py about local response normalisation: its kernels' results and times."""

import time
from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from torch import Tensor

from alexnet_tk.network.lrn import local_response_norm, why_no_kernel
from benchmarks.gpu_section import Section
from benchmarks.gpu_training import need_torch_on, wait_for

SHAPES = ((128, 96, 55, 55), (128, 96, 27, 27), (128, 256, 13, 13))
CONSTANTS = (5, 1e-4, 0.75, 2.0, 2)
# Of the largest value; half precision rounds its results.
TOLERANCES = {torch.float32: 1e-6, torch.bfloat16: 8e-3, torch.float16: 1e-3}
ROUNDS = 50


def lrn(section: Section) -> None:
    """Every operator, forward and backward: against float64, and its times in milliseconds."""
    need_torch_on(section.device)
    found = operators(section)
    shapes = ((2, 96, 5, 5),) if section.quick else SHAPES
    for shape, dtype in product(shapes, TOLERANCES):
        if not section.has_time(f"{shape}, {dtype}"):
            continue
        generator = torch.Generator().manual_seed(0)
        x, grad = (
            values.to(section.device, dtype).contiguous(memory_format=torch.channels_last)
            for values in (
                torch.randn(shape, generator=generator) * 30,
                torch.randn(shape, generator=generator),
            )
        )
        exact = both_ways(local_response_norm, x.double(), grad.double())
        for name, operator in found.items():
            what = f"{name}, {shape}, {str(dtype).removeprefix('torch.')}"
            with section.part(what):
                results = both_ways(operator, x, grad)
                errors = [
                    ((ours.double() - true).abs().max() / true.abs().max()).item()
                    for ours, true in zip(results, exact, strict=True)
                ]
                section.note(f"{what}: error forward, backward", [float(f"{each:.1e}") for each in errors])
                allowed = TOLERANCES[dtype]
                section.expect(max(errors) <= allowed, f"{what}: within {allowed:g} of float64")
                rounds = 2 if section.quick else ROUNDS
                section.note(f"{what}: ms forward, backward", both_times(operator, x, grad, rounds))


def operators(section: Section) -> dict[str, Callable[..., Tensor]]:
    """Plain tensor code, and where Triton works, its kernels the two ways in which training runs them."""
    found: dict[str, Callable[..., Tensor]] = {"plain": local_response_norm}
    if section.device != "cuda":
        section.skip("fused, launched: Triton's kernels run on CUDA")
    elif (reason := why_no_kernel()) is not None:
        section.skip(f"fused, launched: {reason}")
    else:
        from alexnet_tk.network import lrn_triton

        found["launched (training)"] = lrn_triton.launched_local_response_norm
        found["fused (training --compile)"] = lrn_triton.fused_local_response_norm
    return found


def both_ways(operator: Callable[..., Tensor], x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """The normalised maps, and the gradient for x."""
    x = x.detach().requires_grad_()
    y = operator(x, *CONSTANTS)
    (dx,) = torch.autograd.grad(y, x, grad)
    return y.detach(), dx


def both_times(operator: Callable[..., Tensor], x: Tensor, grad: Tensor, rounds: int) -> list[float]:
    """Milliseconds of the operator forward, and of its gradient."""
    x = x.detach().requires_grad_()
    y = operator(x, *CONSTANTS)
    times = (
        milliseconds(lambda: operator(x, *CONSTANTS), x.device, rounds),
        milliseconds(lambda: torch.autograd.grad(y, x, grad, retain_graph=True), x.device, rounds),
    )
    return [round(each, 4) for each in times]


def milliseconds(work: Callable[[], Any], device: torch.device, rounds: int) -> float:
    """The mean time of `work` on its device, over many launches in a row."""
    work()
    wait_for(device.type)
    if device.type != "cuda":
        begun = time.perf_counter()
        for _ in range(rounds):
            work()
        return (time.perf_counter() - begun) / rounds * 1e3
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    # Keeps the GPU busy while the launches are queued: small kernels would otherwise wait for the host.
    square = torch.ones(8192, 8192, device=device)
    torch.mm(square, square)
    begin.record()
    for _ in range(rounds):
        work()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / rounds
