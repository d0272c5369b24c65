"""Normalisation within a map against its formula written out, and its gradient."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from alexnet_tk.geometry import Spatial
from alexnet_tk.network.spatial import SpatialResponseNorm, spatial_response_norm


def normalised(a: NDArray[np.float64], n: int, alpha: float, beta: float, k: float) -> NDArray[np.float64]:
    """b = a / (k + α Σ a²)^β, pixel by pixel."""
    b = np.empty_like(a)
    for row, column in np.ndindex(a.shape[2:]):
        rows = slice(max(0, row - n // 2), row + n // 2 + 1)
        columns = slice(max(0, column - n // 2), column + n // 2 + 1)
        sums = np.square(a[:, :, rows, columns]).sum(axis=(2, 3))
        b[:, :, row, column] = a[:, :, row, column] / (k + alpha * sums) ** beta
    return b


@settings(deadline=None, max_examples=40)
@given(
    n=st.sampled_from([1, 3, 5, 7]),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    beta=st.sampled_from([0.75, 0.5, 1.0]),
    channels_last=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_it_is_the_formula(
    n: int, height: int, width: int, beta: float, channels_last: bool, seed: int
) -> None:
    a = np.random.default_rng(seed).normal(0, 30, (2, 3, height, width))
    x = torch.from_numpy(a)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    b = spatial_response_norm(x, n, 1e-2, beta, 2.0)
    np.testing.assert_allclose(b.numpy(), normalised(a, n, 1e-2, beta, 2.0), rtol=1e-12)


def test_the_layer_has_the_recipes_constants() -> None:
    a = np.random.default_rng(1).normal(0, 30, (2, 4, 6, 6))
    b = SpatialResponseNorm(Spatial(size=3, alpha=0.2, beta=0.5, k=3))(torch.from_numpy(a))
    np.testing.assert_allclose(b.numpy(), normalised(a, 3, 0.2, 0.5, 3), rtol=1e-12)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("n", "beta"), [(5, 0.75), (3, 0.6), (1, 0.75)])
def test_the_gradient(n: int, beta: float, channels_last: bool) -> None:
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    # A large alpha, so that the sum matters to the gradient.
    assert torch.autograd.gradcheck(lambda x: spatial_response_norm(x, n, 0.5, beta, 2.0), (x,))


def test_half_precision_does_not_overflow() -> None:
    """300² is infinite in float16."""
    x = torch.full((1, 4, 3, 3), 300.0)
    half = spatial_response_norm(x.half(), 5, 1e-4, 0.75, 1.0)
    assert half.dtype == torch.float16
    expected = normalised(x.double().numpy(), 5, 1e-4, 0.75, 1.0)
    np.testing.assert_allclose(half.float().numpy(), expected, rtol=1e-3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = spatial_response_norm(x.bfloat16(), 5, 1e-4, 0.75, 1.0)
    assert cast.dtype == torch.float32


def test_torch_finds_nothing_wrong_with_the_operator() -> None:
    x = torch.randn(2, 6, 4, 4)
    for each in (x, x.contiguous(memory_format=torch.channels_last)):
        inputs = (each.requires_grad_(), 3, 0.3, 0.75, 2.0)
        checks = torch.library.opcheck(spatial_response_norm, inputs)
        assert set(checks.values()) == {"SUCCESS"}
