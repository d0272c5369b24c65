"""What an answer rests on, against the gradient worked out by hand."""

import numpy as np
import torch

from alexnet_tk.network.alexnet import AlexNet
from alexnet_tk.network.explanation import explanation
from alexnet_tk.recipe import Recipe
from tests.conftest import TINY


def test_it_is_activation_times_gradient_summed_over_the_maps() -> None:
    """In float64: the gradient is f8's row through f7's and f6's weights, where their units are not zero."""
    recipe = Recipe().override(*TINY, "network.image_size=96", "preprocess.resize=96")
    network = AlexNet(recipe.network, 7).double().eval()
    network.initialise(3)
    x = torch.randn(5, 3, 96, 96, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        pooled = network.pooled_maps(x).numpy()
    state = network.state_dict()
    (w6, b6), (w7, b7), (w8, b8) = (
        [state[f"{name}.{kind}"].numpy() for kind in ("weight", "bias")] for name in ("f6", "f7", "f8")
    )
    expected = []
    for maps in pooled:
        h6 = np.maximum(w6 @ maps + b6, 0)
        h7 = np.maximum(w7 @ h6 + b7, 0)
        best = np.argmax(w8 @ h7 + b8)
        gradient = ((w8[best] * (h7 > 0)) @ w7 * (h6 > 0)) @ w6
        expected.append(np.maximum((maps * gradient).reshape(8, -1).sum(axis=0), 0))
    side = round(pooled[0].size / 8) ** 0.5
    found = explanation(network, x)
    assert found.shape == (5, side, side)
    assert side > 1
    assert not found.requires_grad
    assert (found > 0).any()
    np.testing.assert_allclose(found.numpy().reshape(5, -1), expected, rtol=1e-10, atol=1e-16)
    with torch.inference_mode():  # as exported files are verified in
        torch.testing.assert_close(explanation(network, x), found)


def test_it_moves_with_the_object() -> None:
    """By two cells where the object moves by 64 pixels, if the hidden layers count all places alike."""
    settings = ("network.image_size=448", "preprocess.resize=448", "network.channels=[8,16,16,16,8]")
    recipe = Recipe().override(*settings, "network.hidden=[8,8]", "network.init=he")
    network = AlexNet(recipe.network, 5).double().eval()
    network.initialise(1)
    with torch.no_grad():
        for layer in (network.f6, network.f7):
            layer.weight.fill_(1e-3)
        network.f8.weight.copy_(torch.arange(5.0)[:, None].expand_as(network.f8.weight))
    left = torch.zeros(1, 3, 448, 448, dtype=torch.float64)  # so large that no cell of both sees an edge
    left[..., 200:230, 150:170] = torch.randn(3, 30, 20, generator=torch.Generator().manual_seed(2))
    right = left.roll(64, dims=3)
    first, second = explanation(network, torch.cat([left, right]))
    assert first.shape == (13, 13)
    assert (first > 0).any()
    torch.testing.assert_close(second[:, 2:], first[:, :-2], rtol=1e-10, atol=1e-14)
    assert not first[:, -2:].any()
    assert not torch.equal(first, second)
