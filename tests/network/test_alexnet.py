"""The layers: shapes, parameters, towers, initial values, preprocessing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from alexnet_tk.choices import ChannelOrder
from alexnet_tk.errors import RecipeError
from alexnet_tk.network.alexnet import AlexNet, dropout_masks, normalise
from alexnet_tk.network.classifier import PictureClassifier
from alexnet_tk.network.initial_values import INITIAL_VALUES
from alexnet_tk.preprocess import Preprocess
from alexnet_tk.recipe import Recipe
from tests.conftest import TINY


def small(*settings: str) -> AlexNet:
    net = AlexNet(Recipe().override(*TINY, *settings).network, 10)
    net.initialise(0)
    return net


def test_the_full_model_has_the_papers_parameters() -> None:
    with torch.device("meta"):
        net = AlexNet(Recipe().network, 1000)
    per_layer = {name: sum(p.numel() for p in layer.parameters()) for name, layer in net.named_children()}
    assert {name: count for name, count in per_layer.items() if count} == {
        "c1": 34_944,
        "c2": 307_456,
        "c3": 885_120,
        "c4": 663_936,
        "c5": 442_624,
        "f6": 37_752_832,
        "f7": 16_781_312,
        "f8": 4_097_000,
    }
    assert sum(per_layer.values()) == 60_965_224


def test_the_shapes_of_the_full_model() -> None:
    with torch.device("meta"):
        net = AlexNet(Recipe().network, 1000)
        shapes: dict[str, tuple[int, ...]] = {}
        for name in ("c1", "c2", "c3", "c4", "c5", "f6", "f7", "f8"):
            net.get_submodule(name).register_forward_hook(
                lambda module, inputs, output, name=name: shapes.update({name: tuple(output.shape)})
            )
        net(torch.zeros(2, 3, 224, 224))
    assert shapes == {
        "c1": (2, 96, 55, 55),
        "c2": (2, 256, 27, 27),
        "c3": (2, 384, 13, 13),
        "c4": (2, 384, 13, 13),
        "c5": (2, 256, 13, 13),
        "f6": (2, 4096),
        "f7": (2, 4096),
        "f8": (2, 1000),
    }


@settings(deadline=None, max_examples=60)
@given(
    size=st.integers(1, 260),
    kernel=st.integers(1, 12),
    stride=st.integers(1, 5),
    padding=st.integers(0, 5),
    ceil=st.booleans(),
)
def test_the_recipes_arithmetic_is_torchs(
    size: int, kernel: int, stride: int, padding: int, ceil: bool
) -> None:
    c1 = f"network.c1={{kernel={kernel},stride={stride},padding={padding}}}"
    try:
        network = (
            Recipe()
            .override(
                f"network.image_size={size}",
                "preprocess.resize=260",
                f"network.pool_ceil={'true' if ceil else 'false'}",
                "network.channels=[2,2,2,2,2]",
                "network.hidden=[2,2]",
                c1,
            )
            .network
        )
    except RecipeError:
        return
    with torch.device("meta"):
        assert AlexNet(network, 3)(torch.zeros(1, 3, size, size)).shape == (1, 3)


def test_the_towers_meet_only_where_the_paper_says() -> None:
    """Tower 1's maps of c1 reach tower 0's maps of c2, but not before c3; so do c3's and c4's."""
    net = small().double()
    for first, second, meets in (("c1", "c2", False), ("c2", "c3", True), ("c3", "c4", False)):
        before, after = net.get_submodule(first), net.get_submodule(second)
        assert isinstance(before, nn.Conv2d)
        assert isinstance(after, nn.Conv2d)
        maps = torch.randn(1, before.out_channels, 9, 9, dtype=torch.float64, requires_grad=True)
        output = after(net.stages(maps, net.network.c1.then))
        output[:, : after.out_channels // 2].sum().backward()
        assert maps.grad is not None
        assert bool(maps.grad[:, before.out_channels // 2 :].any()) is meets


@pytest.mark.parametrize("order", ["pool-lrn", "lrn-pool"])
def test_both_orders_of_pooling_and_norm(order: str) -> None:
    net = small(f"network.order={order}", "network.lrn.alpha=0.5", "network.towers=1")
    x = torch.rand(2, 6, 9, 9) * 3
    lrn = nn.LocalResponseNorm(5, alpha=0.5 * 5, beta=0.75, k=2.0)
    pool = nn.MaxPool2d(3, 2)
    expected = lrn(pool(x)) if order == "pool-lrn" else pool(lrn(x))
    torch.testing.assert_close(net.stages(x, net.network.c2.then), expected)
    assert not torch.allclose(lrn(pool(x)), pool(lrn(x)))


# Written down from section 5 of the paper and Caffe's bvlc_alexnet, not from the code.
PAPER = {"c1": 0, "c2": 1, "c3": 0, "c4": 1, "c5": 1, "f6": 1, "f7": 1, "f8": 0}


@pytest.mark.parametrize("init", ["paper", "caffe", "he", "authors"])
def test_the_initial_values(init: str) -> None:
    net = small(f"network.init={init}", "network.channels=[64,96,128,128,64]", "network.hidden=[512,512]")
    assert set(INITIAL_VALUES) == {"paper", "caffe", "he", "authors"}
    for name, paper_bias in PAPER.items():
        layer = net.get_submodule(name)
        assert isinstance(layer, (nn.Conv2d, nn.Linear))
        bias = {"paper": 1.0, "caffe": 0.1, "he": 0.0, "authors": 1.0}[init] * paper_bias
        assert layer.bias is not None
        assert layer.bias.tolist() == pytest.approx([bias] * len(layer.bias))
        fan_in = layer.weight.numel() / layer.weight.shape[0]
        sigma = 0.03 if init == "authors" and name in ("c3", "c4", "c5") else 0.01
        sigma = (2 / fan_in) ** 0.5 if init == "he" else sigma
        # An estimate of σ from n draws is off by about 1 / sqrt(2n) of it.
        assert layer.weight.std().item() == pytest.approx(sigma, rel=4 / (2 * layer.weight.numel()) ** 0.5)
        assert abs(layer.weight.mean().item()) < 4 * sigma / layer.weight.numel() ** 0.5


def test_a_seed_decides_the_initial_values() -> None:
    first, again, other = small(), small(), small()
    other.initialise(1)
    assert torch.equal(first.c3.weight, again.c3.weight)
    assert not torch.equal(first.c3.weight, other.c3.weight)


def test_masks_drop_half_of_the_units_and_double_the_others() -> None:
    network = Recipe().network
    cpu = torch.device("cpu")
    masks = dropout_masks(network, 3, 7, cpu)
    assert masks.shape == (3, 4096 + 4096)
    assert set(masks.flatten().tolist()) == {0.0, 2.0}
    assert (masks == 0).float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert torch.equal(masks, dropout_masks(network, 3, 7, cpu))
    assert not torch.equal(masks, dropout_masks(network, 3, 8, cpu))


def test_masks_multiply_the_activations_of_f6_and_f7() -> None:
    net, x = small(), torch.randn(2, 3, 40, 40)
    h6, h7 = net.network.hidden
    masks = torch.rand(2, h6 + h7)
    units = net.pooled_maps(x)
    for layer, part in ((net.f6, masks[:, :h6]), (net.f7, masks[:, h6:])):
        assert layer.bias is not None
        units = torch.clamp(units @ layer.weight.T + layer.bias, min=0) * part
    torch.testing.assert_close(net.features(x, masks), units)
    torch.testing.assert_close(net(x, masks), units @ net.f8.weight.T + net.f8.bias)
    assert torch.equal(net(x, masks), net.head(net.features(x, masks)))
    assert torch.equal(net(x, torch.ones(2, h6 + h7)), net(x))


def test_dropout_is_made_up_for_in_training_or_in_prediction() -> None:
    """Section 4.2: what f6 and f7 give is halved in prediction, and in training kept as it is or left out."""
    network = Recipe().override(*TINY, "network.dropout=0.25", "network.dropout_scale=prediction").network
    masks = dropout_masks(network, 500, 7, torch.device("cpu"))
    assert set(masks.flatten().tolist()) == {0.0, 1.0}
    assert masks.mean().item() == pytest.approx(0.75, abs=0.02)
    net, x = AlexNet(network, 3).eval(), torch.randn(2, 3, 40, 40)
    units = net.pooled_maps(x)
    for layer in (net.f6, net.f7):
        assert layer.bias is not None
        units = torch.clamp(units @ layer.weight.T + layer.bias, min=0) * 0.75
    torch.testing.assert_close(net.features(x), units)


def test_towers_that_do_not_talk_meet_in_f8() -> None:
    """Each is a network of its own up to f7, from its rows of every weight."""
    network = (
        Recipe().override(*TINY, "network.talk=false", "network.init=he", "network.lrn.alpha=0.1").network
    )
    net, x = AlexNet(network, 3), torch.randn(2, 3, 40, 40)
    net.initialise(0)
    halves = []
    for tower in range(2):
        one = AlexNet(replace(network, towers=1, channels=(4, 8, 8, 8, 4), hidden=(8, 8)), 10)
        rows = {name: each.chunk(2)[tower] for name, each in net.state_dict().items() if name[:2] != "f8"}
        own = one.state_dict()
        one.load_state_dict(own | {name: each.view(own[name].shape) for name, each in rows.items()})
        halves.append(one.features(x))
    features = torch.cat(halves, dim=1)
    torch.testing.assert_close(net.features(x), features)
    torch.testing.assert_close(net(x), features @ net.f8.weight.T + net.f8.bias)
    assert features.std() > 1e-3


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_normalising(order: ChannelOrder) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    mean, std = (100.0, 110.0, 120.0), (50.0, 60.0, 70.0)
    result = normalise(torch.from_numpy(pictures), torch.tensor(mean), torch.tensor(std), order)
    for i, channel in enumerate(order):
        which = "RGB".index(channel)
        expected = (pictures[..., which].astype(np.float64) - mean[which]) / std[which]
        np.testing.assert_allclose(result[:, i].numpy(), expected, rtol=1e-5, atol=1e-6)
    assert result.is_contiguous(memory_format=torch.channels_last)


def test_a_classifier_gives_probabilities() -> None:
    pictures = torch.randint(0, 256, (3, 40, 40, 3), dtype=torch.uint8)
    net = small()
    preprocess = Preprocess(44, 40, "bilinear", "RGB", (120.0, 120.0, 120.0), (60.0, 60.0, 60.0))
    classifier = PictureClassifier(net, preprocess).eval()
    probabilities = classifier(pictures)
    logits = net((pictures.permute(0, 3, 1, 2).float() - 120) / 60)
    torch.testing.assert_close(probabilities, logits.exp() / logits.exp().sum(1, keepdim=True))
    torch.testing.assert_close(probabilities.sum(1), torch.ones(3))
