"""The dual-tower AlexNet of 2012, from pixels to logits; classifier.py makes them probabilities.

    pictures (N, S, S, 3)  →  normalise  →  AlexNet  →  softmax  →  probabilities (N, num_classes)

In the comments: N pictures of S×S pixels; shapes are (N, C, H, W) of the full model, S = 224. A layer
of two towers holds both in one tensor, as a grouped convolution does: tower r of T owns the rows
from r·M/T to (r+1)·M/T of every weight and bias. Nothing here depends on the number of devices.
"""

from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet_tk.choices import ChannelOrder
from alexnet_tk.geometry import LRN, POOL_STRIDE, Network, Stages, convolutions, fully_connected
from alexnet_tk.network.initial_values import INITIAL_VALUES
from alexnet_tk.network.lrn import operator_for
from alexnet_tk.network.spatial import SpatialResponseNorm


class LocalResponseNorm(nn.Module):
    """LRN within each tower (section 3.3); (N, C, H, W) to the same shape."""

    def __init__(self, lrn: LRN, towers: int) -> None:
        super().__init__()
        self.lrn = lrn
        self.towers = 1 if lrn.across_towers else towers

    def forward(self, x: Tensor) -> Tensor:
        """Normalise; where the recipe turns LRN off, return the input."""
        if not self.lrn.enabled:
            return x
        lrn = self.lrn
        return operator_for(x)(x, lrn.size, lrn.alpha_per_square, lrn.beta, lrn.k, self.towers)


class TowerLinear(nn.Conv2d):
    """A fully connected layer whose towers read their own units: a grouped convolution of one pixel."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs) to (N, outputs)."""
        return super().forward(x[:, :, None, None]).flatten(1)


class AlexNet(nn.Module):
    """The eight layers of section 3.5; input float (N, 3, S, S), output logits (N, num_classes)."""

    c1: nn.Conv2d
    c2: nn.Conv2d
    c3: nn.Conv2d
    c4: nn.Conv2d
    c5: nn.Conv2d
    f6: nn.Linear | TowerLinear
    f7: nn.Linear | TowerLinear
    f8: nn.Linear

    def __init__(self, network: Network, num_classes: int) -> None:
        super().__init__()
        self.network = network
        for name, layer in convolutions(network).items():
            convolution = nn.Conv2d(
                layer.inputs,
                layer.outputs,
                layer.kernel,
                layer.stride,
                layer.padding,
                groups=layer.groups,
            )
            self.add_module(name, convolution)
        for name, units in fully_connected(network, num_classes).items():
            if units.groups == 1:
                self.add_module(name, nn.Linear(units.inputs, units.outputs))
            else:
                self.add_module(name, TowerLinear(units.inputs, units.outputs, 1, groups=units.groups))
        self.norm = LocalResponseNorm(network.lrn, network.towers)
        self.pool = nn.MaxPool2d(network.pool_kernel, POOL_STRIDE, ceil_mode=network.pool_ceil)
        self.spatial = SpatialResponseNorm(network.spatial)

    def forward(self, x: Tensor, masks: Tensor | None = None) -> Tensor:
        """Logits (N, num_classes) of normalised pictures (N, 3, S, S); `masks` as for `features`."""
        return self.head(self.features(x, masks))

    def features(self, x: Tensor, masks: Tensor | None = None) -> Tensor:
        """f7's activations after ReLU, (N, 4096), of normalised pictures (N, 3, S, S).

        In training, `masks` from `dropout_masks` multiply f6's and f7's activations.
        """
        return self.hidden(self.pooled_maps(x), masks)

    def pooled_maps(self, x: Tensor) -> Tensor:
        """The maps after c5's pooling, flattened to (N, 9216), of normalised pictures (N, 3, S, S)."""
        if self.network.c1.padding_after:
            x = F.pad(x, (0, self.network.c1.padding_after) * 2)
        x = self.stages(self.c1(x), self.network.c1.then)  # (N, 96, 55, 55) → (N, 96, 27, 27)
        x = self.stages(self.c2(x), self.network.c2.then)  # (N, 256, 27, 27) → (N, 256, 13, 13)
        x = F.relu(self.c3(x))  # (N, 384, 13, 13)
        x = F.relu(self.c4(x))  # (N, 384, 13, 13)
        x = self.pool(F.relu(self.c5(x)))  # (N, 256, 13, 13) → (N, 256, 6, 6)
        return torch.flatten(x, 1)  # (N, 9216)

    def hidden(self, x: Tensor, masks: Tensor | None = None) -> Tensor:
        """f7's activations (N, 4096) of the flattened maps (N, 9216); `masks` as for `features`."""
        x = F.relu(self.f6(x))  # (N, 4096)
        if masks is None and self.network.dropout_scale == "prediction":
            keep = 1 - self.network.dropout
            return F.relu(self.f7(x * keep)) * keep
        if masks is None:
            return F.relu(self.f7(x))  # (N, 4096)
        for_f6, for_f7 = masks.to(x.dtype).tensor_split((x.shape[1],), dim=1)
        return F.relu(self.f7(x * for_f6)) * for_f7

    def head(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes) of f7's activations (N, 4096)."""
        return self.f8(x)  # type: ignore[no-any-return]

    def stages(self, x: Tensor, then: Stages) -> Tensor:
        """ReLU, pooling and normalisation in the recipe's order; pooling halves height and width."""
        for stage in then:
            match stage:
                case "relu":
                    x = F.relu(x)
                case "pool":
                    x = self.pool(x)
                case "lrn":
                    x = self.norm(x)
                case "spatial":
                    x = self.spatial(x)
        return x

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Draw all weights by `INITIAL_VALUES`; the same seed gives the same weights on every device."""
        generator = torch.Generator().manual_seed(seed)
        for name, (sigma, bias) in INITIAL_VALUES[self.network.init].items():
            layer = self.get_submodule(name)
            assert isinstance(layer, (nn.Conv2d, nn.Linear))
            if sigma == "he":
                sigma = sqrt(2 / layer.weight[0].numel())
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * sigma)
            layer.bias.fill_(bias)  # type: ignore[union-attr]


def dropout_masks(network: Network, pictures: int, seed: int, device: torch.device) -> Tensor:
    """Dropout masks for f6 and f7 in a training step, float (N, 4096 + 4096), section 4.2.

    With dropout 0.5 half of the values are 0 and the others 2, so that predictions need no scaling; where
    `network.dropout_scale` is "prediction", the others are 1. The same seed, number of pictures and kind of
    device give the same masks.
    """
    generator = torch.Generator(device).manual_seed(seed)
    keep = 1 - network.dropout
    masks = torch.empty(pictures, sum(network.hidden), device=device)
    masks.bernoulli_(keep, generator=generator)
    return masks if network.dropout_scale == "prediction" else masks.div_(keep)


def normalise(pictures: Tensor, mean: Tensor, std: Tensor, channel_order: ChannelOrder) -> Tensor:
    """Turn pictures into the network's input.

    Parameters
    ----------
    pictures
        uint8 or float (N, S, S, 3), red, green, blue, 0..255
    mean, std
        float (3,), or as `line_of_pixels` makes them: subtracted from red, green and blue, then divided by;
        on the scale 0..255. The mean may be a picture, (S, S, 3)
    channel_order
        the result's

    Returns
    -------
    float (N, 3, S, S) in channels_last layout

    """
    # A whole line of pixels at a time: three channels are too few for the processor's vector units.
    n, height, width, _ = pictures.shape
    lines = pictures.reshape(n, height, width * 3).float()
    mean, std = (line_of_pixels(each, width) for each in (mean, std))
    x = (lines - mean).div_(std).view(n, height, width, 3)
    if channel_order == "BGR":
        x = x.flip(3)
    return x.permute(0, 3, 1, 2)


def line_of_pixels(values: Tensor, width: int) -> Tensor:
    """The values of red, green and blue, (3,), for each of a line's pixels, (width·3,); lines as they are.

    Those of a picture, (H, width, 3), are (H, width·3).
    """
    if values.ndim == 3:
        return values.flatten(1)
    return values if values.shape[-1] == width * 3 else values.repeat(width)
