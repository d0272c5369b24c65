"""Local response normalisation as one operator, `alexnet_tk::local_response_norm`.

Section 3.3 of the 2012 paper: with a the maps, n = `size` and the sum over the n maps around map i,

    b_i = a_i / (k + α Σ_j a_j²)^β          j from i - n // 2 to i + n // 2, within i's tower

α is not divided by n here; torch's and ONNX's own operators divide, so they are handed α·n. The sum
stays within a tower, as it did on two GPUs; `towers=1` lets it cross.

How it is computed: with the pixels as rows and the maps as columns (channels_last holds them so), the
windowed sum is a product with a 0/1 matrix whose ones stand in a band around the diagonal. Blocks
of 32 columns at a time leave out most of the zeros, and they stop at a tower's edge. On the CPU the
rows are taken in pieces that stay in the cache. The gradient keeps no more than the input: the sums
are cheaper made again than fetched from memory.

As one operator of its own it has a name in an exported graph, which export/onnx.py maps to ONNX's
`LRN`, and an autocast rule that keeps it in float32: squares overflow half precision above 256.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

BLOCK = 32  # maps computed at a time
ROWS = 4096  # pixels in a piece on the CPU: with 96 to 256 maps, 1.5 to 4 MB


@torch.library.custom_op("alexnet_tk::local_response_norm", mutates_args=())
def local_response_norm(x: Tensor, size: int, alpha: float, beta: float, k: float, towers: int) -> Tensor:
    """Each value divided by (k + alpha · the sum of its neighbours' squares) to the power of beta.

    Parameters
    ----------
    x
        floating (N, C, H, W), in any layout; half precision is computed in float32
    size
        how many neighbouring maps are summed over, odd
    alpha, beta, k
        as in the formula above: alpha is not divided by size
    towers
        the groups of C / towers maps that are normalised apart

    Returns
    -------
    (N, C, H, W) in x's dtype and layout

    """
    _check(x, size, towers)
    y = torch.empty_like(_rows(x))
    for a, out in zip(_pieces(_rows(x)), _pieces(y), strict=True):
        d = _denominator(a, size, alpha, k, towers)
        torch.mul(a, _power(d, beta), out=out)
    return _maps(y, x)


@torch.library.custom_op("alexnet_tk::local_response_norm_backward", mutates_args=())
def local_response_norm_backward(
    grad: Tensor, x: Tensor, size: int, alpha: float, beta: float, k: float, towers: int
) -> Tensor:
    """The gradient for x: g d^-β - 2αβ a Σ_j (g_j a_j d_j^(-β-1)), with d = k + α Σ a².

    `grad` and `x` are (N, C, H, W); so is the result, in x's dtype and layout.
    """
    dx = torch.empty_like(_rows(x))
    for a, g, out in zip(_pieces(_rows(x)), _pieces(_rows(grad)), _pieces(dx), strict=True):
        d = _denominator(a, size, alpha, k, towers)
        gp = _power(d, beta).mul_(g)
        sums = _neighbour_sums((gp * a).div_(d), size, towers)
        torch.sub(gp, sums.mul_(a), alpha=2 * alpha * beta, out=out)
    return _maps(dx, x)


@local_response_norm.register_fake
def _(x: Tensor, size: int, alpha: float, beta: float, k: float, towers: int) -> Tensor:
    _check(x, size, towers)
    return torch.empty_like(x, memory_format=_layout(x))


@local_response_norm_backward.register_fake
def _(grad: Tensor, x: Tensor, size: int, alpha: float, beta: float, k: float, towers: int) -> Tensor:
    return torch.empty_like(x, memory_format=_layout(x))


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, *ctx.constants = inputs
    ctx.save_for_backward(x)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None, None]:
    (x,) = ctx.saved_tensors
    return local_response_norm_backward(grad, x, *ctx.constants), None, None, None, None, None


local_response_norm.register_autograd(_backward, setup_context=_setup_context)
for _device in ("cpu", "cuda"):
    local_response_norm.register_autocast(_device, torch.float32)


def _check(x: Tensor, size: int, towers: int) -> None:
    if x.ndim != 4 or not x.is_floating_point():
        raise ValueError(f"local_response_norm takes floating (N, C, H, W), not {x.dtype} {tuple(x.shape)}")
    if size < 1 or size % 2 == 0:
        raise ValueError(f"local_response_norm takes an odd size, not {size}")
    if towers < 1 or x.shape[1] % towers:
        raise ValueError(f"{x.shape[1]} maps can't be split into {towers} towers")


def _layout(x: Tensor) -> torch.memory_format:
    """The layout of the result: x's own where that is channels_last, else the plain one."""
    return (
        torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    )


def _rows(x: Tensor) -> Tensor:
    """(N, C, H, W) as (N·H·W, C), at least float32: a view where x is channels_last and no half."""
    rows = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    return rows.float() if x.dtype in (torch.float16, torch.bfloat16) else rows


def _maps(rows: Tensor, like: Tensor) -> Tensor:
    """(N·H·W, C) as (N, C, H, W), in the dtype and layout of the other."""
    n, c, h, w = like.shape
    return rows.view(n, h, w, c).permute(0, 3, 1, 2).to(like.dtype).contiguous(memory_format=_layout(like))


def _pieces(rows: Tensor) -> tuple[Tensor, ...]:
    """Views of a few rows each on the CPU, where temporaries should stay in the cache; elsewhere all rows."""
    return torch.split(rows, ROWS) if rows.device.type == "cpu" else (rows,)


def _denominator(a: Tensor, size: int, alpha: float, k: float, towers: int) -> Tensor:
    """The formula's k + α Σ a², (rows, C)."""
    return _neighbour_sums(a.square(), size, towers).mul_(alpha).add_(k)


def _power(d: Tensor, beta: float) -> Tensor:
    """One over d to the power of β; for the paper's β = 3/4 two square roots, much cheaper than a power."""
    if beta == 0.75:
        r = d.rsqrt()
        return r.sqrt().mul_(r)
    return d.pow(-beta)


def _neighbour_sums(values: Tensor, size: int, towers: int) -> Tensor:
    """For every map the sum over its neighbours within its tower, (rows, C) to (rows, C)."""
    sums = torch.empty_like(values)
    for columns, neighbours, band in _bands(values.shape[1], size, towers, values.dtype, values.device):
        torch.mm(values[:, neighbours], band, out=sums[:, columns])
    return sums


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _bands(
    maps: int, size: int, towers: int, dtype: torch.dtype, device: torch.device
) -> list[tuple[slice, slice, Tensor]]:
    """For each block of maps: its columns, the columns it sums over, and the 0/1 matrix between them."""
    width, reach = maps // towers, size // 2
    bands = []
    for tower in range(0, maps, width):
        for first in range(tower, tower + width, BLOCK):
            last = min(first + BLOCK, tower + width)
            low, high = max(first - reach, tower), min(last + reach, tower + width)
            source = torch.arange(low, high, device=device)[:, None]
            target = torch.arange(first, last, device=device)[None, :]
            band = ((source - target).abs() <= reach).to(dtype)
            bands.append((slice(first, last), slice(low, high), band))
    return bands
