"""The LRN operator against the paper's formula written out, and its gradient."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from alexnet_tk.geometry import LRN
from alexnet_tk.network.alexnet import LocalResponseNorm
from alexnet_tk.network.lrn import local_response_norm
from tests.network.formula import normalised


@settings(deadline=None, max_examples=60)
@given(
    n=st.sampled_from([1, 3, 5, 7, 11]),
    towers=st.sampled_from([1, 2, 4]),
    width=st.integers(1, 40),
    beta=st.sampled_from([0.75, 0.5, 1.0]),
    channels_last=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_it_is_the_printed_formula(
    n: int, towers: int, width: int, beta: float, channels_last: bool, seed: int
) -> None:
    a = np.random.default_rng(seed).normal(0, 30, (2, towers * width, 2, 3))
    x = torch.from_numpy(a)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    b = local_response_norm(x, n, 1e-2, beta, 2.0, towers)
    np.testing.assert_allclose(b.numpy(), normalised(a, n, 1e-2, beta, 2.0, towers), rtol=1e-12)
    assert b.stride() == x.stride()


@pytest.mark.parametrize("convention", ["paper", "divided"])
@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("towers", [1, 2])
def test_the_layer_keeps_to_the_recipe(convention: Any, across: bool, towers: int) -> None:
    a = np.random.default_rng(1).normal(0, 30, (2, 12, 3, 2))
    lrn = LRN(size=5, alpha=0.3, convention=convention, across_towers=across)
    b = LocalResponseNorm(lrn, towers)(torch.from_numpy(a))
    alpha = 0.3 if convention == "paper" else 0.3 / 5
    expected = normalised(a, 5, alpha, 0.75, 2.0, 1 if across else towers)
    np.testing.assert_allclose(b.numpy(), expected, rtol=1e-12)


def test_a_layer_that_is_turned_off_passes_its_input_through() -> None:
    x = torch.randn(1, 4, 2, 2)
    assert LocalResponseNorm(LRN(enabled=False), 2)(x) is x


def test_torchs_own_agrees_when_it_is_handed_alpha_times_n() -> None:
    x = torch.randn(3, 10, 4, 4) * 30
    theirs = F.local_response_norm(x, 5, alpha=5e-4, beta=0.75, k=2.0)
    torch.testing.assert_close(local_response_norm(x, 5, 1e-4, 0.75, 2.0, 1), theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("n", "towers", "beta"), [(5, 2, 0.75), (3, 1, 0.75), (5, 1, 0.6), (1, 2, 0.75)])
def test_the_gradient(n: int, towers: int, beta: float, channels_last: bool) -> None:
    x = torch.randn(2, 12, 2, 3, dtype=torch.float64)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    # A large alpha, so that the sum matters to the gradient.
    assert torch.autograd.gradcheck(lambda x: local_response_norm(x, n, 0.5, beta, 2.0, towers), (x,))


def test_many_pieces_are_one() -> None:
    """More pixels than fit in one piece on the CPU give the same as each picture alone."""
    x = torch.randn(6, 8, 40, 41).contiguous(memory_format=torch.channels_last).requires_grad_()
    grad = torch.randn(6, 8, 40, 41)
    whole = local_response_norm(x, 5, 0.1, 0.75, 2.0, 2)
    (of_whole,) = torch.autograd.grad(whole, x, grad)
    for i in range(6):
        alone = local_response_norm(x[i : i + 1], 5, 0.1, 0.75, 2.0, 2)
        (of_one,) = torch.autograd.grad(alone, x, grad[i : i + 1])
        torch.testing.assert_close(alone[0], whole[i])
        torch.testing.assert_close(of_one[i], of_whole[i])


def test_half_precision_does_not_overflow() -> None:
    """300² is infinite in float16."""
    x = torch.full((1, 4, 2, 2), 300.0)
    expected = normalised(x.numpy(), 5, 1e-4, 0.75, 2.0, 1)
    half = local_response_norm(x.half(), 5, 1e-4, 0.75, 2.0, 1)
    assert half.dtype == torch.float16
    np.testing.assert_allclose(half.float().numpy(), expected, rtol=1e-3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = local_response_norm(x.bfloat16(), 5, 1e-4, 0.75, 2.0, 1)
    assert cast.dtype == torch.float32


def test_torch_finds_nothing_wrong_with_the_operator() -> None:
    for x in (
        torch.randn(2, 6, 3, 3, requires_grad=True),
        torch.randn(2, 6, 3, 3).contiguous(memory_format=torch.channels_last).requires_grad_(),
    ):
        checks = torch.library.opcheck(local_response_norm, (x, 5, 0.3, 0.75, 2.0, 2))
        assert set(checks.values()) == {"SUCCESS"}


@pytest.mark.parametrize(
    ("shape", "n", "towers", "word"),
    [((2, 6, 3, 3), 4, 2, "odd"), ((2, 6, 3, 3), 5, 4, "towers"), ((2, 6, 3), 5, 2, "N, C, H, W")],
)
def test_what_makes_no_sense_is_refused(shape: tuple[int, ...], n: int, towers: int, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        local_response_norm(torch.zeros(shape), n, 1e-4, 0.75, 2.0, towers)


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu() -> None:
    x = torch.randn(4, 96, 27, 27) * 30
    grad = torch.randn_like(x)
    results = []
    for device in ("cpu", "cuda"):
        each = x.to(device).requires_grad_()
        y = local_response_norm(each, 5, 1e-4, 0.75, 2.0, 2)
        results.append((y.cpu(), torch.autograd.grad(y, each, grad.to(device))[0].cpu()))
    torch.testing.assert_close(results[0], results[1])
