"""The layers' geometry against the numbers of the papers and of published weights, written out."""

from itertools import pairwise
from math import prod
from pathlib import Path

import pytest

from alexnet_tk import zoo
from alexnet_tk.errors import RecipeError
from alexnet_tk.geometry import (
    CONVOLUTIONS,
    FULLY_CONNECTED,
    LAYERS,
    Convolution,
    FirstConvolution,
    FullyConnected,
    Layer,
    Network,
    convolutions,
    fully_connected,
    layers,
    map_sizes,
)

# Section 3.5 and figure 2 of the paper: kernels × depth × side², of both GPUs together.
PAPER = {
    "c1": (96, 3, 11, 11),
    "c2": (256, 48, 5, 5),
    "c3": (384, 256, 3, 3),
    "c4": (384, 192, 3, 3),
    "c5": (256, 192, 3, 3),
    "f6": (4096, 9216),
    "f7": (4096, 4096),
    "f8": (1000, 4096),
}
# The state dict of torchvision.models.alexnet, in order.
TORCHVISION = [
    (64, 3, 11, 11),
    (192, 64, 5, 5),
    (384, 192, 3, 3),
    (256, 384, 3, 3),
    (256, 256, 3, 3),
    (4096, 9216),
    (4096, 4096),
    (1000, 4096),
]


def parameters(network: Network, num_classes: int) -> int:
    return sum(prod(layer.weight_shape) + layer.outputs for layer in layers(network, num_classes).values())


def test_the_papers_weights() -> None:
    found = layers(Network(), 1000)
    assert {name: layer.weight_shape for name, layer in found.items()} == PAPER
    assert tuple(found) == LAYERS == ("c1", "c2", "c3", "c4", "c5", "f6", "f7", "f8")
    assert parameters(Network(), 1000) == 60_965_224


def test_the_papers_maps() -> None:
    assert map_sizes(Network()) == {"c1": 55, "pool1": 27, "pool2": 13, "pool5": 6}


def test_only_c3_and_the_fully_connected_layers_read_both_towers() -> None:
    """Figure 2: c2, c4 and c5 are connected to the maps on their own GPU alone."""
    groups = {name: layer.groups for name, layer in convolutions(Network()).items()}
    assert groups == {"c1": 1, "c2": 2, "c3": 1, "c4": 2, "c5": 2}


def test_kernels_strides_and_paddings() -> None:
    found = {
        name: (layer.kernel, layer.stride, layer.padding) for name, layer in convolutions(Network()).items()
    }
    assert found == {"c1": (11, 4, 2), "c2": (5, 1, 2), "c3": (3, 1, 1), "c4": (3, 1, 1), "c5": (3, 1, 1)}


def test_torchvisions_weights() -> None:
    network = zoo.recipe("torchvision-alexnet").network
    assert [layer.weight_shape for layer in layers(network, 1000).values()] == TORCHVISION
    assert parameters(network, 1000) == 61_100_840


def test_caffes_pooling_rounds_up() -> None:
    """Caffe's network has no padding in c1: 227 gives the paper's maps, and 224 ends at the same 6×6."""
    network = zoo.recipe("bvlc-alexnet").network
    assert network.image_size == 224
    assert map_sizes(network) == {"c1": 54, "pool1": 27, "pool2": 13, "pool5": 6}
    larger = Network(227, c1=FirstConvolution(padding=0), pool_ceil=True)
    assert map_sizes(larger) == {"c1": 55, "pool1": 27, "pool2": 13, "pool5": 6}


def test_the_parts_are_the_whole() -> None:
    network = zoo.recipe("fashion-mini").network
    parts: dict[str, Layer] = {**convolutions(network), **fully_connected(network, 10)}
    assert parts == layers(network, 10)
    assert (tuple(convolutions(network)), tuple(fully_connected(network, 10))) == (
        CONVOLUTIONS,
        FULLY_CONNECTED,
    )
    assert parts["f8"].outputs == 10


@pytest.mark.parametrize("name", zoo.names())
def test_each_layer_reads_what_the_one_before_gives(name: str) -> None:
    network = zoo.recipe(name).network
    found = list(layers(network, 7).values())
    for before, layer in pairwise(found):
        flattened = isinstance(before, Convolution) and isinstance(layer, FullyConnected)
        pixels = map_sizes(network)["pool5"] ** 2 if flattened else 1
        assert layer.inputs == before.outputs * pixels


def test_a_network_that_shrinks_to_nothing_shows_the_arithmetic() -> None:
    with pytest.raises(RecipeError, match=r"network\.pool_kernel is 1; it must be at least 2"):
        Network(pool_kernel=1)
    with pytest.raises(RecipeError, match=r"leaves nothing after pool1 \(c1: .* = 2, pool1: .* = 0\)"):
        Network(image_size=12)


def test_torch_agrees_on_the_sizes() -> None:
    """An independent computation: torch's own convolution and pooling on a blank picture."""
    import torch

    networks = [zoo.recipe(name).network for name in zoo.names()]
    networks += [Network(pool_kernel=kernel, pool_ceil=ceil) for kernel in (2, 4) for ceil in (False, True)]
    for network in networks:
        c1 = network.c1
        side = network.image_size + c1.padding_after  # `padding_after` is on the right and below
        maps = torch.zeros(1, 3, side, side)
        maps = torch.nn.functional.conv2d(
            maps, torch.zeros(1, 3, c1.kernel, c1.kernel), None, c1.stride, c1.padding
        )
        sizes = [maps.shape[-1]]
        for _ in range(3):
            maps = torch.nn.functional.max_pool2d(maps, network.pool_kernel, 2, ceil_mode=network.pool_ceil)
            sizes.append(maps.shape[-1])
        assert list(map_sizes(network).values()) == sizes, network


def test_the_recipes_documents_name_their_parameters() -> None:
    models = Path(__file__).parent.parent / "models"
    for name in ("alexnet-2012", "bvlc-alexnet", "caffenet", "krizhevsky-2012", "torchvision-alexnet"):
        count = parameters(zoo.recipe(name).network, 1000)
        assert f"{count:,} parameters" in (models / name / "README.md").read_text(encoding="utf-8")
