"""What a training step adds to torch's own: few operators, since each costs the host of a GPU a launch."""

from collections import Counter
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from alexnet_tk.training.augment import EpochDraws
from alexnet_tk.training.metrics import Tally
from alexnet_tk.training.parallel import World
from alexnet_tk.training.trainer import Trainer
from benchmarks import host_share

BATCH = 4
RECIPE = host_share.RECIPE.override(f"train.batch_size={BATCH}")


class Launches(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operators that compute something."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if not function.is_view and "empty" not in str(function) and "detach" not in str(function):
            self.counts[str(function)] += 1
        return function(*args, **(kwargs or {}))


class UnequalSplit(host_share.BlankSplit):
    """Nine pictures of class 0, and one of class 2."""

    targets = np.array([0] * 9 + [2])


@pytest.mark.parametrize("weights", ["equal", "balanced"])
def test_the_loss_is_a_weighted_mean_with_smooth_targets(weights: str) -> None:
    recipe = RECIPE.override("train.label_smoothing=0.3", f"train.class_weights={weights}")
    recipe = recipe.override("train.batch_size=10", "network.dropout=0")
    trainer = Trainer(recipe, host_share.COLOURS, 3, World())
    trainer.set_weights({"f8.bias": torch.tensor([1.0, 0.0, -1.0])})
    draws = EpochDraws.draw(recipe, 0, 10, host_share.COLOURS)
    batch = next(trainer.training_batches(trainer.reader(UnequalSplit()), draws))
    logits, loss = trainer.strategy.forward(trainer._inputs(batch))

    scores = logits.detach().double().numpy()
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    targets = UnequalSplit.targets[draws.order]
    losses = -(0.7 * scores[np.arange(10), targets] + 0.3 * scores.mean(axis=1))
    rare = 9 if weights == "balanced" else 1  # what a picture of class 2 weighs beside one of class 0
    expected = np.average(losses, weights=np.where(targets == 2, rare, 1))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_a_step_adds_few_operators_to_those_of_the_network() -> None:
    """Augmentation and normalisation 6, dropout 6; metrics none, as they sum many steps at a time."""
    world = World()
    trainer, tally = Trainer(RECIPE, host_share.COLOURS, 10, world), Tally(world)
    draws = EpochDraws.draw(RECIPE, 0, 3 * BATCH, host_share.COLOURS)
    first, second = islice(trainer.training_batches(trainer.reader(host_share.BlankSplit()), draws), 2)
    trainer.step(first, 0.0)
    with Launches() as whole:
        tally.add(*trainer.step(second, 0.0))

    network = trainer.strategy.network
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, fused=True)
    x = torch.zeros(BATCH, 3, RECIPE.network.image_size, RECIPE.network.image_size)
    x = x.contiguous(memory_format=torch.channels_last)
    for launches in (Launches(), bare := Launches()):
        with launches:
            optimiser.zero_grad()
            F.cross_entropy(network(x), second.targets).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    added = whole.counts - bare.counts
    assert sum(added.values()) <= 12, added
