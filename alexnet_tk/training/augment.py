"""Random changes of training pictures (section 4.1), and the centre crop of validation.

What happens to a picture is a function of (seed, epoch, its index) alone: each epoch's random numbers are
drawn as tables over the whole training set, so they do not depend on batches, processes or a resumed run.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from alexnet_tk.choices import ChannelOrder
from alexnet_tk.network.alexnet import normalise
from alexnet_tk.recipe import Recipe
from alexnet_tk.training.statistics import Statistics

PICTURES_PER_PIECE = 8  # augmented at a time on the CPU


@dataclass(frozen=True)
class EpochDraws:
    """The random numbers of one epoch over a training set of N pictures."""

    crop_size: int  # pixels
    order: NDArray[np.int64]  # (N,) the order in which the pictures are seen
    corner: NDArray[np.int64]  # (N, 2) top and left of the crop, pixels
    mirror: NDArray[np.bool_]  # (N,)
    shift: NDArray[np.float32] | None  # (N, 3) added to red, green, blue
    angle: NDArray[np.float32] | None  # (N,) radians

    @classmethod
    def draw(cls, recipe: Recipe, epoch: int, pictures: int, statistics: Statistics) -> "EpochDraws":
        """Draw for that number of pictures; turning one change off does not affect the others.

        The colour shift is V (√λ ∘ g) with g ~ N(0, σ²) for each component: eigenvectors V and
        *standard deviations* √λ of the training set's colours, which `statistics` holds. Section 4.1 prints
        λ itself, which would shift a 0..255 picture by hundreds of grey levels; the authors' code draws with
        deviations.
        """
        augment, size = recipe.augment, recipe.network.image_size
        margin = recipe.preprocess.resize - size
        random = np.random.default_rng([recipe.train.seed, epoch])
        order = random.permutation(pictures)
        corner = random.integers(0, margin, (pictures, 2), endpoint=True)
        mirror = random.random(pictures) < 0.5
        color = random.standard_normal((pictures, 3), dtype=np.float32)
        angle = random.uniform(-1, 1, pictures).astype(np.float32)
        # Of all pictures at once: the product of a few rows is rounded differently.
        deviations = np.sqrt(np.array(statistics.eigenvalues, np.float32))
        color = (color * np.float32(augment.color_sigma)) * deviations
        return cls(
            size,
            order,
            corner if augment.crop else np.full_like(corner, margin // 2),
            mirror & augment.mirror,
            color @ np.array(statistics.eigenvectors, np.float32).T if augment.color_sigma else None,
            angle * np.float32(np.radians(augment.rotate)) if augment.rotate else None,
        )

    def crop(self, picture: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
        """The random crop of the picture with this index, uint8 (S, S, 3) of (R, R, 3); a view."""
        top, left = self.corner[index]
        return picture[top : top + self.crop_size, left : left + self.crop_size]

    def change(self, pictures: Tensor, indices: NDArray[np.int64]) -> Tensor:
        """Mirror, rotate and colour-shift a batch on its device; reads only the batch's rows of the tables.

        Parameters
        ----------
        pictures
            uint8 (B, S, S, 3)
        indices
            the pictures' indices in the training set, int64 (B,)

        Returns
        -------
        float32 (B, S, S, 3), about 0..255 and not clipped, as in the authors' code

        """

        def rows(table: NDArray[np.generic]) -> Tensor:
            return torch.from_numpy(table[indices]).to(pictures.device, non_blocking=True)

        mirrored = rows(self.mirror)[:, None, None, None]
        x = torch.where(mirrored, pictures.flip(2), pictures).float()
        if self.angle is not None:
            x = rotate(x, rows(self.angle))
        if self.shift is not None:
            # A whole line of pixels at a time, as in `normalise`.
            x = x.contiguous()
            x.flatten(2).add_(rows(self.shift).repeat(1, x.shape[2])[:, None, :])  # (B, S, S·3)
        return x

    def network_input(
        self,
        pictures: Tensor,
        indices: NDArray[np.int64],
        mean: Tensor,
        std: Tensor,
        channel_order: ChannelOrder,
    ) -> Tensor:
        """`change`, then `normalise`: float32 (B, 3, S, S) in channels_last layout.

        On the CPU a few pictures are done at a time, so that their temporaries stay in the cache.
        """
        if pictures.device.type != "cpu":
            return normalise(self.change(pictures, indices), mean, std, channel_order)
        count, size, _, _ = pictures.shape
        x = torch.empty((count, 3, size, size), memory_format=torch.channels_last)
        for first in range(0, count, PICTURES_PER_PIECE):
            part = slice(first, first + PICTURES_PER_PIECE)
            x[part] = normalise(self.change(pictures[part], indices[part]), mean, std, channel_order)
        return x


def rotate(pictures: Tensor, angle: Tensor) -> Tensor:
    """Pictures float (B, S, S, 3), each turned by its angle (B,) in radians; edges are mirrored."""
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    theta = torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)  # (B, 2, 3)
    x = pictures.permute(0, 3, 1, 2)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    x = F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return x.permute(0, 2, 3, 1)


def centre(picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The centre crop, as in prediction: uint8 (S, S, 3) of (R, R, 3); a view."""
    margin = (picture.shape[0] - size) // 2
    return picture[margin : margin + size, margin : margin + size]
