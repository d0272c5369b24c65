"""Local response normalisation on CUDA in one Triton kernel each way, for the formula of `lrn.py`.

Plain tensor code is 12 kernels forward and 20 backward, each of which reads and writes all maps. Here a
program reads a few pixels with all their maps and writes the result once: neighbouring maps are neighbours in
memory (channels_last), so the window's loads are close together, and the backward pass exchanges its terms
between threads. The arithmetic is float32 whatever the maps are (float64 for float64), so half precision
stays half precision in memory without its squares overflowing, and there is no autocast rule.

`torch.library.triton_op` lets `torch.compile` see the kernels. Importing this file needs Triton, which
torch's builds for CUDA on Linux install; `lrn.py` does without.
"""

from functools import cache
from typing import Any

import torch
import triton
from torch import Tensor
from torch.library import triton_op, wrap_triton
from triton import language as tl

VALUES_PER_PROGRAM = 2048  # 16 for each of a program's 128 threads


@triton_op("alexnet_tk::fused_local_response_norm", mutates_args=())
def fused_local_response_norm(
    x: Tensor, size: int, alpha: float, beta: float, k: float, towers: int
) -> Tensor:
    """`lrn.local_response_norm` in one kernel; the result is (N, C, H, W) in x's dtype, channels_last.

    `size` is odd and `towers` divides C; `LocalResponseNorm` and the recipe see to both.
    """
    return _computed(wrap_triton(_forward), x, size, alpha, beta, k, towers)


@triton_op("alexnet_tk::fused_local_response_norm_backward", mutates_args=())
def fused_local_response_norm_backward(
    grad: Tensor, x: Tensor, size: int, alpha: float, beta: float, k: float, towers: int
) -> Tensor:
    """`lrn.local_response_norm_backward` in one kernel; the result is in x's dtype, channels_last."""
    return _computed(wrap_triton(_backward), grad, x, size, alpha, beta, k, towers)


@fused_local_response_norm.register_fake
def _(x: Tensor, size: int, alpha: float, beta: float, k: float, towers: int) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)


@fused_local_response_norm_backward.register_fake
def _(grad: Tensor, x: Tensor, size: int, alpha: float, beta: float, k: float, towers: int) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, *ctx.constants = inputs
    ctx.save_for_backward(x)


def _gradient(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None, None]:
    (x,) = ctx.saved_tensors
    return fused_local_response_norm_backward(grad, x, *ctx.constants), None, None, None, None, None


fused_local_response_norm.register_autograd(_gradient, setup_context=_setup_context)


def launched_local_response_norm(
    x: Tensor, size: int, alpha: float, beta: float, k: float, towers: int
) -> Tensor:
    """`fused_local_response_norm` for plain tensors outside of `torch.compile`.

    An operator's way through torch's dispatcher takes the host several times as long as a launch.
    """
    y: Tensor = _Launched.apply(x, size, alpha, beta, k, towers)
    return y


class _Launched(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *constants: Any) -> Tensor:
        _setup_context(ctx, (x, *constants), x)
        return _computed(_forward, x, *constants)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        (x,) = ctx.saved_tensors
        return _computed(_backward, grad, x, *ctx.constants), None, None, None, None, None


def _computed(kernel: Any, *arguments: Any) -> Tensor:
    """The kernel's result for its tensors, of which x is the last, and for the constants after them."""
    *tensors, size, alpha, beta, k, towers = arguments
    tensors = [each.contiguous(memory_format=torch.channels_last) for each in tensors]
    x = tensors[-1]
    result = torch.empty_like(x)
    pixels = x.shape[0] * x.shape[2] * x.shape[3]
    constants = _constants(x.shape[1], size, alpha, beta, k, towers)
    if pixels:
        kernel[(-(-pixels // constants["PIXELS"]),)](*tensors, result, pixels, **constants)
    return result


@cache
def _constants(maps: int, size: int, alpha: float, beta: float, k: float, towers: int) -> dict[str, Any]:
    """What the kernels are compiled for; each program takes PIXELS pixels with all maps, padded to MAPS."""
    padded = triton.next_power_of_2(maps)
    return {
        "alpha": alpha,
        "beta": beta,
        "k": k,
        "HALF": size // 2,
        "COUNT": maps,
        "WIDTH": maps // towers,
        "PIXELS": max(1, VALUES_PER_PROGRAM // padded),
        "MAPS": padded,
    }


@triton.jit
def _forward(
    x_ptr,
    y_ptr,
    pixels,
    alpha: tl.constexpr,
    beta: tl.constexpr,
    k: tl.constexpr,
    HALF: tl.constexpr,
    COUNT: tl.constexpr,
    WIDTH: tl.constexpr,
    PIXELS: tl.constexpr,
    MAPS: tl.constexpr,
):
    offsets, maps, inside = _tile(pixels, COUNT, PIXELS, MAPS)
    a = _load(x_ptr + offsets, inside)
    d = _denominator(a, x_ptr, offsets, maps, inside, alpha, k, HALF, COUNT, WIDTH)
    tl.store(y_ptr + offsets, (a * _power(d, beta)).to(y_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _backward(
    grad_ptr,
    x_ptr,
    dx_ptr,
    pixels,
    alpha: tl.constexpr,
    beta: tl.constexpr,
    k: tl.constexpr,
    HALF: tl.constexpr,
    COUNT: tl.constexpr,
    WIDTH: tl.constexpr,
    PIXELS: tl.constexpr,
    MAPS: tl.constexpr,
):
    offsets, maps, inside = _tile(pixels, COUNT, PIXELS, MAPS)
    a = _load(x_ptr + offsets, inside)
    d = _denominator(a, x_ptr, offsets, maps, inside, alpha, k, HALF, COUNT, WIDTH)
    gp = _load(grad_ptr + offsets, inside) * _power(d, beta)
    terms = gp * a / d
    sums = terms
    for step in tl.static_range(-HALF, HALF + 1):
        if step != 0:
            near = _same_tower(maps, step, COUNT, WIDTH)
            # A gather has no mask: where there is no neighbour it reads the map itself.
            index = tl.broadcast_to(tl.where(near, maps + step, maps), (PIXELS, MAPS))
            sums += tl.where(near, tl.gather(terms, index, 1), 0)
    tl.store(dx_ptr + offsets, (gp - 2 * alpha * beta * a * sums).to(dx_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _tile(pixels, COUNT: tl.constexpr, PIXELS: tl.constexpr, MAPS: tl.constexpr):
    """Where this program's values are, (PIXELS, MAPS), their maps (1, MAPS), and which of them exist."""
    pixel = tl.program_id(0).to(tl.int64) * PIXELS + tl.arange(0, PIXELS)[:, None]
    maps = tl.arange(0, MAPS)[None, :]
    return pixel * COUNT + maps, maps, (pixel < pixels) & (maps < COUNT)


@triton.jit
def _load(pointers, mask):
    values = tl.load(pointers, mask=mask, other=0)
    if values.dtype == tl.float64:
        return values
    else:
        return values.to(tl.float32)


@triton.jit
def _same_tower(maps, step: tl.constexpr, COUNT: tl.constexpr, WIDTH: tl.constexpr):
    near = maps + step
    return (near >= 0) & (near < COUNT) & (near // WIDTH == maps // WIDTH)


@triton.jit
def _denominator(
    a,
    x_ptr,
    offsets,
    maps,
    inside,
    alpha: tl.constexpr,
    k: tl.constexpr,
    HALF: tl.constexpr,
    COUNT: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """The formula's k + α Σ a²."""
    sums = a * a
    for step in tl.static_range(-HALF, HALF + 1):
        if step != 0:
            near = _load(x_ptr + offsets + step, inside & _same_tower(maps, step, COUNT, WIDTH))
            sums += near * near
    return k + alpha * sums


@triton.jit
def _power(d, beta: tl.constexpr):
    """d^-β; as in `lrn.py`, square roots for the paper's β = 3/4."""
    if beta == 0.75:
        root = tl.rsqrt(d)
        return root * tl.sqrt(root)
    else:
        return tl.exp2(-beta * tl.log2(d))
