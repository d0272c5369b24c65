"""Loss, top-1 and top-5 against numpy."""

import numpy as np
import torch

from alexnet_tk.training.metrics import Tally
from alexnet_tk.training.parallel import World


def test_a_tally_over_batches_is_one_over_all() -> None:
    random = np.random.default_rng(0)
    logits, classes = random.normal(size=(90, 12)), random.integers(0, 12, 90)
    tally = Tally(World())
    for part in np.split(np.arange(90), [7, 50]):
        tally.add(torch.from_numpy(logits[part]), torch.from_numpy(classes[part]))
    figures = tally.figures()
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    rank = (logits > logits[np.arange(90), classes][:, None]).sum(axis=1)
    np.testing.assert_allclose(figures.loss, -np.log(probabilities[np.arange(90), classes]).mean())
    assert figures.pictures == 90
    assert figures.top1 == (rank < 1).mean()
    assert figures.top5 == (rank < 5).mean()


def test_fewer_than_five_classes_are_always_right_at_five() -> None:
    tally = Tally(World())
    tally.add(torch.randn(4, 3), torch.tensor([0, 1, 2, 0]))
    assert tally.figures().top5 == 1
