"""The random numbers behind the changes of training pictures (section 4.1), and the crops.

What happens to a picture is a function of (seed, epoch, its index) alone: each epoch's random numbers are
drawn as tables over the whole training set, so they do not depend on batches, processes or a resumed run.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from alexnet_tk import images
from alexnet_tk.preprocess import Square
from alexnet_tk.recipe import Recipe
from alexnet_tk.training.changes import Changes
from alexnet_tk.training.statistics import Statistics


@dataclass(frozen=True)
class EpochDraws:
    """The random numbers of one epoch over a training set of N pictures; a batch reads only its own rows."""

    square: Square  # of the crop
    order: NDArray[np.int64]  # (N,) the order in which the pictures are seen
    corner: NDArray[np.int64]  # (N, 2) top and left of the crop, pixels
    side: NDArray[np.int64] | None  # (N,) of the crop before it is scaled, pixels; None: it is not scaled
    mirror: NDArray[np.bool_]  # (N,)
    shift: NDArray[np.float32] | None  # (N, 3) added to red, green, blue
    angle: NDArray[np.float32] | None  # (N,) radians
    divisor: float  # of the pictures, less their mean

    @classmethod
    def draw(cls, recipe: Recipe, epoch: int, pictures: int, statistics: Statistics) -> "EpochDraws":
        """Draw for that number of pictures; turning one change off does not affect the others.

        The colour shift is V (√λ ∘ g) with g ~ N(0, σ²) for each component: eigenvectors V and
        *standard deviations* √λ of the training set's colours, which `statistics` holds. Section 4.1 prints
        λ itself, which would shift a 0..255 picture by hundreds of grey levels; the authors' code draws with
        deviations.
        """
        augment, resize, size = recipe.augment, recipe.preprocess.resize, recipe.network.image_size
        margin = resize - size
        random = np.random.default_rng([recipe.train.seed, epoch])
        order = random.permutation(pictures)
        corner = random.integers(0, margin, (pictures, 2), endpoint=True)
        mirror = random.random(pictures) < 0.5
        color = random.standard_normal((pictures, 3), dtype=np.float32)
        angle = random.uniform(-1, 1, pictures).astype(np.float32)
        side = None
        if augment.crop_area:
            smallest, largest = augment.crop_area
            area = random.uniform(smallest, largest, pictures)
            side = np.rint(resize * np.sqrt(area)).astype(np.int64).clip(min=1)
            corner = random.integers(0, resize - side[:, None], (pictures, 2), endpoint=True)
        if augment.group > 1:
            groups = np.arange(pictures) // augment.group
            tables = [corner, mirror, *([] if side is None else [side])]
            for table in tables:
                table[order] = table[groups]  # those of the first pictures serve the groups
        # Of all pictures at once: the product of a few rows is rounded differently.
        deviations = np.sqrt(np.array(statistics.eigenvalues, np.float32))
        color = (color * np.float32(augment.color_sigma)) * deviations
        has_color = augment.color_sigma > 0 and not 0 < augment.color_epochs <= epoch
        return cls(
            Square(size, size, recipe.preprocess.filter),
            order,
            corner if augment.crop else np.full_like(corner, margin // 2),
            side,
            mirror & augment.mirror,
            color @ np.array(statistics.eigenvectors, np.float32).T if has_color else None,
            angle * np.float32(np.radians(augment.rotate)) if augment.rotate else None,
            augment.color_divisor if has_color else 1.0,
        )

    def crop(self, picture: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
        """The random crop of the picture with this index, uint8 (S, S, 3) of (R, R, 3)."""
        top, left = self.corner[index]
        side = self.square.crop if self.side is None else self.side[index]
        crop = picture[top : top + side, left : left + side]
        return crop if side == self.square.crop else images.load(crop, self.square)

    def changes(self, indices: NDArray[np.int64]) -> Changes:
        """What happens to the pictures with these indices, beside their crops; on the CPU."""
        mirror = torch.from_numpy(self.mirror[indices].reshape(-1, 1, 1, 1))
        shift = angle = None
        if self.shift is not None:
            # Of a whole line of pixels, as in `normalise`.
            shift = torch.from_numpy(np.tile(self.shift[indices], self.square.crop)[:, None])
        if self.angle is not None:
            angle = torch.from_numpy(self.angle[indices])
        return Changes(mirror, shift, angle, self.divisor)
