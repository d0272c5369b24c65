"""What the random changes of a batch cost on the CPU, in training sets of 10,000 and of ImageNet's 1,281,167.

    python benchmarks/augmentation.py

The two sets take turns, so that a drift of the machine's speed affects both. Prints the median time per
picture of the changes of crops of 224 in the pieces that training takes, and that of an epoch's draws, which
are made once.
"""

import time
from statistics import median

import numpy as np
import torch

from alexnet_tk.recipe import Recipe
from alexnet_tk.training.augment import EpochDraws
from alexnet_tk.training.changes import PICTURES_PER_PIECE
from alexnet_tk.training.statistics import Statistics

SETS = (10_000, 1_281_167)  # pictures
ROUNDS = 200
COLOURS = Statistics.from_lists([120, 110, 100], [100, 300, 9000], np.eye(3).tolist())


def main() -> None:
    """Draw for both sets, then change pieces of them in turn."""
    recipe = Recipe()
    size = recipe.network.image_size
    random = np.random.default_rng(0)
    piece = torch.from_numpy(random.integers(0, 256, (PICTURES_PER_PIECE, size, size, 3), dtype=np.uint8))
    draws, draw_seconds = {}, {}
    for count in SETS:
        begun = time.perf_counter()
        draws[count] = EpochDraws.draw(recipe, 0, count, COLOURS)
        draw_seconds[count] = time.perf_counter() - begun
    seconds: dict[int, list[float]] = {count: [] for count in SETS}
    for number in range(-10, ROUNDS):
        for count in SETS:
            indices = random.integers(0, count, PICTURES_PER_PIECE)
            begun = time.perf_counter()
            draws[count].changes(indices).apply(piece)
            if number >= 0:  # the first rounds warm up
                seconds[count].append(time.perf_counter() - begun)
    for count in SETS:
        each = median(seconds[count]) / PICTURES_PER_PIECE
        print(
            f"{count:9,} pictures: change {each * 1e6:7.1f} µs per picture; "
            f"the epoch's draws {draw_seconds[count] * 1e3:6.1f} ms, once"
        )


if __name__ == "__main__":
    main()
