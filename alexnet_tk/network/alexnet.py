"""The dual-tower AlexNet of 2012, from pixels to probabilities.

    pictures (N, S, S, 3)  →  normalise  →  AlexNet  →  softmax  →  probabilities (N, classes)

In the comments: N pictures of S×S pixels; shapes are (N, C, H, W) of the full model, S = 224. A layer
of two towers holds both in one tensor, as a grouped convolution does: tower r of T owns the rows
from r·M/T to (r+1)·M/T of every weight and bias. Nothing here knows of more than one device.
"""

from math import sqrt
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet_tk.network.lrn import local_response_norm
from alexnet_tk.recipe import LRN, RGB, Network

# σ of the weights and value of the biases, for every layer. "paper": section 5. "caffe": the paper's with
# biases of 0.1, the known cure where a bias of 1 leaves the loss at ln(classes). "he": σ = sqrt(2 / fan-in),
# He et al. 2015, which needs no luck on small data.
INITIAL_VALUES: dict[str, dict[str, tuple[float | Literal["he"], float]]] = {
    "paper": {
        "c1": (0.01, 0.0),
        "c2": (0.01, 1.0),
        "c3": (0.01, 0.0),
        "c4": (0.01, 1.0),
        "c5": (0.01, 1.0),
        "f6": (0.01, 1.0),
        "f7": (0.01, 1.0),
        "f8": (0.01, 0.0),
    },
    "caffe": {
        "c1": (0.01, 0.0),
        "c2": (0.01, 0.1),
        "c3": (0.01, 0.0),
        "c4": (0.01, 0.1),
        "c5": (0.01, 0.1),
        "f6": (0.01, 0.1),
        "f7": (0.01, 0.1),
        "f8": (0.01, 0.0),
    },
    "he": dict.fromkeys(("c1", "c2", "c3", "c4", "c5", "f6", "f7", "f8"), ("he", 0.0)),
}


class LocalResponseNorm(nn.Module):
    """Section 3.3, over the maps of each tower; (N, C, H, W) to the same."""

    def __init__(self, lrn: LRN, towers: int) -> None:
        super().__init__()
        self.lrn = lrn
        self.towers = 1 if lrn.across_towers else towers

    def forward(self, x: Tensor) -> Tensor:
        """Normalise; an LRN that the recipe turned off passes its input through."""
        if not self.lrn.enabled:
            return x
        lrn = self.lrn
        y: Tensor = local_response_norm(x, lrn.size, lrn.alpha_per_square, lrn.beta, lrn.k, self.towers)
        return y


class AlexNet(nn.Module):
    """The eight layers of section 3.5; input float (N, 3, S, S), output logits (N, classes)."""

    def __init__(self, network: Network, classes: int) -> None:
        super().__init__()
        self.network = network
        towers, (m1, m2, m3, m4, m5), (h6, h7) = network.towers, network.channels, network.hidden
        final = network.sizes()["pool5"]

        self.c1 = nn.Conv2d(3, m1, network.c1.kernel, network.c1.stride, network.c1.padding)
        self.c2 = nn.Conv2d(m1, m2, 5, padding=2, groups=towers)
        self.c3 = nn.Conv2d(m2, m3, 3, padding=1)  # the one convolution that reads all towers
        self.c4 = nn.Conv2d(m3, m4, 3, padding=1, groups=towers)
        self.c5 = nn.Conv2d(m4, m5, 3, padding=1, groups=towers)
        self.f6 = nn.Linear(m5 * final * final, h6)
        self.f7 = nn.Linear(h6, h7)
        self.f8 = nn.Linear(h7, classes)

        self.norm = LocalResponseNorm(network.lrn, towers)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=network.pool_ceil)

    def forward(self, x: Tensor, masks: Tensor | None = None) -> Tensor:
        """Logits (N, classes) of normalised pictures (N, 3, S, S).

        `masks`, as `dropout_masks` draws them, are for training. A network that lacks one half of its layers
        passes its input through that half, so that it can be one stage of two.
        """
        if hasattr(self, "c1"):
            x = self.convolutions(x)  # (N, 9216)
        return self.fully_connected(x, masks) if hasattr(self, "f6") else x

    def convolutions(self, x: Tensor) -> Tensor:
        """What c1 to c5 make of normalised pictures (N, 3, S, S): (N, 9216)."""
        x = self.pool_and_norm(F.relu(self.c1(x)))  # (N, 96, 55, 55) → (N, 96, 27, 27)
        x = self.pool_and_norm(F.relu(self.c2(x)))  # (N, 256, 27, 27) → (N, 256, 13, 13)
        x = F.relu(self.c3(x))  # (N, 384, 13, 13)
        x = F.relu(self.c4(x))  # (N, 384, 13, 13)
        x = self.pool(F.relu(self.c5(x)))  # (N, 256, 13, 13) → (N, 256, 6, 6)
        return torch.flatten(x, 1)  # (N, 9216)

    def fully_connected(self, x: Tensor, masks: Tensor | None) -> Tensor:
        """What f6 to f8 make of that: logits (N, classes)."""
        x = F.relu(self.f6(x))  # (N, 4096)
        width = x.shape[1]
        if masks is not None:
            x = x * masks[:, :width].to(x.dtype)
        x = F.relu(self.f7(x))  # (N, 4096)
        if masks is not None:
            x = x * masks[:, width:].to(x.dtype)
        return self.f8(x)  # type: ignore[no-any-return]  # (N, classes)

    def pool_and_norm(self, x: Tensor) -> Tensor:
        """Overlapping pooling and normalisation in the recipe's order; halves height and width."""
        if self.network.order == "lrn-pool":
            return self.pool(self.norm(x))  # type: ignore[no-any-return]
        return self.norm(self.pool(x))  # type: ignore[no-any-return]

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Draw all weights as `INITIAL_VALUES` says; the same on every device for the same seed."""
        generator = torch.Generator().manual_seed(seed)
        for name, (sigma, bias) in INITIAL_VALUES[self.network.init].items():
            layer = self.get_submodule(name)
            assert isinstance(layer, (nn.Conv2d, nn.Linear))
            if sigma == "he":
                sigma = sqrt(2 / layer.weight[0].numel())
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * sigma)
            layer.bias.fill_(bias)  # type: ignore[union-attr]


def dropout_masks(network: Network, pictures: int, seed: int, device: torch.device) -> Tensor:
    """What the units of f6 and f7 are multiplied by in a step of training, section 4.2.

    Half of them by 0 and, so that nothing has to be scaled in a prediction, the others by 2; float
    (N, 4096 + 4096). The same for the same seed, number of pictures and kind of device.
    """
    generator = torch.Generator(device).manual_seed(seed)
    keep = 1 - network.dropout
    masks = torch.empty(pictures, sum(network.hidden), device=device)
    return masks.bernoulli_(keep, generator=generator).div_(keep)


def normalise(pictures: Tensor, mean: Tensor, std: Tensor, color: Literal["RGB", "BGR"]) -> Tensor:
    """Pictures as the network takes them.

    Parameters
    ----------
    pictures
        uint8 or float (N, S, S, 3), red, green, blue, 0..255
    mean, std
        float (3,): subtracted from, then divided into, red, green and blue; 0..255
    color
        the order of the channels in the result

    Returns
    -------
    float (N, 3, S, S) in channels_last layout

    """
    # A whole line of pixels at a time: a loop over three channels is too short for the processor's vectors.
    n, height, width, _ = pictures.shape
    lines = pictures.reshape(n, height, width * 3).float()
    x = (lines - mean.repeat(width)).div_(std.repeat(width)).view(n, height, width, 3)
    if color == "BGR":
        x = x.flip(3)
    return x.permute(0, 3, 1, 2)


class TensorClassifier(nn.Module):
    """Normalised pictures, float (N, 3, S, S), in; float32 probabilities (N, classes) out.

    The network computes in the precision of its weights; the softmax is float32.
    """

    def __init__(self, alexnet: AlexNet) -> None:
        super().__init__()
        self.alexnet = alexnet

    def forward(self, image: Tensor) -> Tensor:
        """Compute, softmax."""
        logits = self.alexnet(image.to(self.alexnet.c1.weight.dtype))
        return F.softmax(logits.float(), dim=1)


class PictureClassifier(TensorClassifier):
    """What an ONNX file holds: uint8 pictures (N, S, S, 3) in, float32 probabilities (N, classes) out."""

    mean: Tensor
    std: Tensor

    def __init__(self, alexnet: AlexNet, mean: RGB, std: RGB, color: Literal["RGB", "BGR"]) -> None:
        super().__init__(alexnet)
        self.color = color
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, image: Tensor) -> Tensor:
        """Normalise, compute, softmax."""
        return super().forward(normalise(image, self.mean, self.std, self.color))
