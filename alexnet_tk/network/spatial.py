"""Normalisation within each map as one operator, `alexnet_tk::spatial_response_norm`.

The network whose results the 2012 paper reports normalises a second time after c2, over neighbouring pixels
in place of neighbouring maps: with a one map and the sum over the n × n pixels around a pixel p,

    b_p = a_p / (k + α Σ_q a_q²)^β          q in the square, as far as it lies in the map

α is not divided by n². As with LRN, half precision is computed in float32, the backward pass saves only the
input, and exporting/lrn.py translates the operator by its name.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet_tk.geometry import Spatial


class SpatialResponseNorm(nn.Module):
    """The normalisation with a recipe's constants; (N, C, H, W) to the same shape."""

    def __init__(self, spatial: Spatial) -> None:
        super().__init__()
        self.spatial = spatial

    def forward(self, x: Tensor) -> Tensor:
        """Normalise."""
        spatial = self.spatial
        y: Tensor = spatial_response_norm(x, spatial.size, spatial.alpha, spatial.beta, spatial.k)
        return y


@torch.library.custom_op("alexnet_tk::spatial_response_norm", mutates_args=())
def spatial_response_norm(x: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
    """Divide each value by (k + alpha · the sum of its neighbours' squares) to the power of beta.

    Parameters
    ----------
    x
        floating (N, C, H, W); half precision is computed in float32
    size
        the side of the square of pixels in a sum, odd
    alpha, beta, k
        as in the formula above: alpha is not divided

    Returns
    -------
    (N, C, H, W) in x's dtype and layout

    """
    a = _at_least_float32(x)
    return (a * _denominator(a, size, alpha, k).pow_(-beta)).to(x.dtype)


@torch.library.custom_op("alexnet_tk::spatial_response_norm_backward", mutates_args=())
def spatial_response_norm_backward(
    grad: Tensor, x: Tensor, size: int, alpha: float, beta: float, k: float
) -> Tensor:
    """The gradient for x: g d^-β - 2αβ a Σ_q (g_q a_q d_q^(-β-1)), with d = k + α Σ a²; in x's dtype."""
    a = _at_least_float32(x)
    d = _denominator(a, size, alpha, k)
    gp = d.pow(-beta).mul_(grad)
    sums = _square_sums(gp * a / d, size)
    return torch.addcmul(gp, a, sums, value=-2 * alpha * beta).to(x.dtype)


@spatial_response_norm.register_fake
def _(x: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
    return torch.empty_like(x)


@spatial_response_norm_backward.register_fake
def _(grad: Tensor, x: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
    return torch.empty_like(x)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, *ctx.constants = inputs
    ctx.save_for_backward(x)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
    (x,) = ctx.saved_tensors
    return spatial_response_norm_backward(grad, x, *ctx.constants), None, None, None, None


spatial_response_norm.register_autograd(_backward, setup_context=_setup_context)
for _device in ("cpu", "cuda"):
    spatial_response_norm.register_autocast(_device, torch.float32)


def _at_least_float32(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _denominator(a: Tensor, size: int, alpha: float, k: float) -> Tensor:
    """The formula's k + α Σ a²."""
    return _square_sums(a * a, size).mul_(alpha).add_(k)


def _square_sums(values: Tensor, size: int) -> Tensor:
    """The sum of the size × size pixels around each, in every map: an average that is not divided."""
    return F.avg_pool2d(values, size, 1, size // 2, divisor_override=1)
