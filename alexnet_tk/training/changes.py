"""The random changes of a batch of training pictures (section 4.1), computed on the batch's device."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from alexnet_tk.choices import ChannelOrder
from alexnet_tk.network.alexnet import normalise

PICTURES_PER_PIECE = 8  # changed at a time on the CPU


@dataclass(frozen=True)
class Changes:
    """The random changes of a batch of B pictures, on their device."""

    mirror: Tensor  # bool (B, 1, 1, 1)
    shift: Tensor | None  # float32 (B, 1, S·3) added to the lines of pixels, red, green, blue by turns
    angle: Tensor | None  # float32 (B,) radians
    divisor: float = 1.0  # of the pictures, less their mean

    def map(self, function: Callable[[Tensor], Tensor]) -> "Changes":
        """The function's results for each tensor."""
        shift, angle = (None if each is None else function(each) for each in (self.shift, self.angle))
        return replace(self, mirror=function(self.mirror), shift=shift, angle=angle)

    def apply(self, pictures: Tensor) -> Tensor:
        """Mirror, rotate and colour-shift: float32 (B, S, S, 3) of uint8 (B, S, S, 3).

        The result is about 0..255 and not clipped, as in the authors' code.
        """
        x = torch.where(self.mirror, pictures.flip(2), pictures)
        if self.angle is not None:
            x = rotate(x.float(), self.angle)
        # The sum is float32 whatever x is.
        return x.float() if self.shift is None else (x.flatten(2) + self.shift).view(x.shape)

    def network_input(
        self, pictures: Tensor, mean: Tensor, std: Tensor, channel_order: ChannelOrder
    ) -> Tensor:
        """`apply`, then `normalise` and `divisor`: float32 (B, 3, S, S) in channels_last layout.

        On the CPU a few pictures are done at a time, so that their temporaries stay in the cache.
        """
        if self.divisor != 1:
            std = std * self.divisor
        count, size, _, _ = pictures.shape
        if pictures.device.type != "cpu" or count <= PICTURES_PER_PIECE:
            return normalise(self.apply(pictures), mean, std, channel_order)
        x = torch.empty((count, 3, size, size), memory_format=torch.channels_last)
        for first in range(0, count, PICTURES_PER_PIECE):
            part = slice(first, first + PICTURES_PER_PIECE)
            piece = self.map(lambda rows, part=part: rows[part])  # type: ignore[misc]
            x[part] = normalise(piece.apply(pictures[part]), mean, std, channel_order)
        return x


def rotate(pictures: Tensor, angle: Tensor) -> Tensor:
    """Pictures float (B, S, S, 3), each turned by its angle (B,) in radians; edges are mirrored."""
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    theta = torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)  # (B, 2, 3)
    x = pictures.permute(0, 3, 1, 2)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    x = F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return x.permute(0, 2, 3, 1)
