"""Local response normalisation as one operator, `alexnet_tk::local_response_norm`.

Section 3.3 of the 2012 paper: with a the maps, n = `size` and the sum over the n maps around map i,

    b_i = a_i / (k + α Σ_j a_j²)^β          j from i - n // 2 to i + n // 2, within i's tower

α is not divided by n here; torch's and ONNX's own operators divide, so they take α·n. The sum stays within a
tower, as it did on two GPUs; `towers=1` lets it cross.

How it is computed: with pixels as rows and maps as columns (the memory layout of channels_last), the
windowed sum is the squares plus copies shifted by one and by two columns to either side, which a processor
adds as fast as it reads them. On the CPU the rows are processed in pieces that stay in the cache, all with
the same buffers: allocating new ones would cost more than the arithmetic. The backward pass saves only the
input: recomputing the sums is cheaper than reading them from memory.

As a custom operator it has a name in an exported graph, which exporting/lrn.py maps to ONNX's `LRN`, and an
autocast rule that keeps it in float32: squares overflow half precision above 256.

On CUDA, `operator_for` chooses the kernels of lrn_triton.py where they work; what is here is their reference.
"""

import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor

ROWS_PER_PIECE = 2048  # pixels, on the CPU: with 96 to 256 maps, 0.8 to 2 MB


@torch.library.custom_op("alexnet_tk::local_response_norm", mutates_args=())
def local_response_norm(x: Tensor, size: int, alpha: float, beta: float, k: float, towers: int) -> Tensor:
    """Divide each value by (k + alpha · the sum of its neighbours' squares) to the power of beta.

    Parameters
    ----------
    x
        floating (N, C, H, W), in any layout; half precision is computed in float32
    size
        the number of neighbouring maps in a sum, odd
    alpha, beta, k
        as in the formula above: alpha is not divided by size
    towers
        the number of groups, of C / towers maps each, that are normalised separately

    Returns
    -------
    (N, C, H, W) in x's dtype and layout

    """
    _check(x, size, towers)
    rows = _rows(x)
    y = torch.empty_like(rows)
    for (a, out), (q, d, p) in zip(_pieces(rows, y), _buffers(rows), strict=True):
        _denominator(a, size, alpha, k, towers, q, d)
        torch.mul(a, _power(d, beta, q, p), out=out)
    return _maps(y, x)


@torch.library.custom_op("alexnet_tk::local_response_norm_backward", mutates_args=())
def local_response_norm_backward(
    grad: Tensor, x: Tensor, size: int, alpha: float, beta: float, k: float, towers: int
) -> Tensor:
    """The gradient for x: g d^-β - 2αβ a Σ_j (g_j a_j d_j^(-β-1)), with d = k + α Σ a².

    `grad` and `x` are (N, C, H, W); so is the result, in x's dtype and layout.
    """
    rows = _rows(x)
    dx = torch.empty_like(rows)
    for (a, g, out), (q, d, p) in zip(_pieces(rows, _rows(grad), dx), _buffers(rows), strict=True):
        _denominator(a, size, alpha, k, towers, q, d)
        gp = _power(d, beta, q, p).mul_(g)
        torch.mul(gp, a, out=q).div_(d)
        _neighbour_sums(q, size, towers, d)
        torch.addcmul(gp, a, d, value=-2 * alpha * beta, out=out)
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


def operator_for(x: Tensor) -> Callable[..., Tensor]:
    """What normalises x: Triton's kernels on CUDA, where they work, else plain tensor code."""
    if not x.is_cuda or why_no_kernel() is not None:
        return local_response_norm
    from alexnet_tk.network import lrn_triton

    if torch.compiler.is_compiling() or type(x) is not Tensor:  # traced or fake
        operator: Callable[..., Tensor] = lrn_triton.fused_local_response_norm
        return operator
    return lrn_triton.launched_local_response_norm


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
@cache
def why_no_kernel() -> str | None:
    """What Triton lacks here to run the kernels on CUDA, with one warning, or None if they run.

    Triton comes with torch's builds for CUDA on Linux and builds its launchers with a C compiler and Python's
    headers, which small containers lack, so only a launch shows whether it works.
    """
    try:
        from alexnet_tk.network.lrn_triton import fused_local_response_norm

        fused_local_response_norm(torch.zeros(1, 1, 1, 1, device="cuda"), 1, 1.0, 0.75, 1.0, 1)
    except Exception as error:  # a missing package, compiler or header, or a driver that refuses the kernel
        reason = (str(error) or type(error).__name__).splitlines()[0]
        warnings.warn(
            f"LRN runs without its Triton kernel, correctly but slower ({reason}); "
            "Triton needs a C compiler and Python's headers",
            stacklevel=2,
        )
        return reason
    return None


def _check(x: Tensor, size: int, towers: int) -> None:
    if x.ndim != 4 or not x.is_floating_point():
        raise ValueError(f"local_response_norm takes floating (N, C, H, W), not {x.dtype} {tuple(x.shape)}")
    if size < 1 or size % 2 == 0:
        raise ValueError(f"local_response_norm takes an odd size, not {size}")
    if towers < 1 or x.shape[1] % towers:
        raise ValueError(f"{x.shape[1]} maps can't be split into {towers} towers")


def _layout(x: Tensor) -> torch.memory_format:
    """The layout of the result: channels_last where x has it, else contiguous."""
    return (
        torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    )


def _rows(x: Tensor) -> Tensor:
    """(N, C, H, W) as (N·H·W, C), half precision as float32; otherwise a view where x is channels_last."""
    rows = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    return rows.float() if x.dtype in (torch.float16, torch.bfloat16) else rows


def _maps(rows: Tensor, like: Tensor) -> Tensor:
    """(N·H·W, C) as (N, C, H, W), in the dtype and layout of `like`."""
    n, c, h, w = like.shape
    return rows.view(n, h, w, c).permute(0, 3, 1, 2).to(like.dtype).contiguous(memory_format=_layout(like))


def _pieces(*rows: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Views of a few rows at a time on the CPU, where temporaries should stay in the cache; else of all."""
    step = ROWS_PER_PIECE if rows[0].device.type == "cpu" else max(1, len(rows[0]))
    return zip(*(torch.split(tensor, step) for tensor in rows), strict=True)


def _buffers(rows: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Three temporaries for each piece of the rows, which reuse the same memory."""
    q = d = p = rows.new_empty(0)
    for (piece,) in _pieces(rows):
        if not len(q):
            q, d, p = (torch.empty_like(piece) for _ in range(3))
        count = len(piece)
        yield q[:count], d[:count], p[:count]


def _denominator(a: Tensor, size: int, alpha: float, k: float, towers: int, q: Tensor, d: Tensor) -> None:
    """Write the formula's k + α Σ a², (rows, C), to d, and the squares to q."""
    torch.mul(a, a, out=q)
    _neighbour_sums(q, size, towers, d)
    torch.add(d.new_full((), k), d, alpha=alpha, out=d)


def _power(d: Tensor, beta: float, q: Tensor, p: Tensor) -> Tensor:
    """Write d^-β to p and return it; for the paper's β = 3/4 by two square roots, cheaper than a power."""
    if beta == 0.75:
        torch.rsqrt(d, out=p)
        return p.mul_(torch.sqrt(p, out=q))
    return torch.pow(d, -beta, out=p)


def _neighbour_sums(values: Tensor, size: int, towers: int, sums: Tensor) -> None:
    """Write to `sums` each map's sum over its neighbours within its tower, (rows, C) to (rows, C)."""
    width = values.shape[1] // towers
    own, total = (tensor.view(-1, towers, width) for tensor in (values, sums))
    total.copy_(own)
    for distance in range(1, size // 2 + 1):
        total[..., distance:].add_(own[..., :-distance])
        total[..., :-distance].add_(own[..., distance:])
