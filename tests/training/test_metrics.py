"""Loss, top-1, top-5 and the confusion matrix against numpy."""

import numpy as np
import pytest
import torch

from alexnet_tk.training.batches import PictureBatch
from alexnet_tk.training.metrics import Confusion, RunningLoss, Tally
from alexnet_tk.training.parallel import World


def test_a_tally_over_batches_is_one_over_all() -> None:
    random = np.random.default_rng(0)
    logits, targets = random.normal(size=(90, 12)), random.integers(0, 12, 90)
    tally = Tally(World())
    for part in np.split(np.arange(90), [7, *range(40, 85)]):  # more batches than it sums at a time
        tally.add(torch.from_numpy(logits[part]), torch.from_numpy(targets[part]))
    figures = tally.figures()
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    rank = (logits > logits[np.arange(90), targets][:, None]).sum(axis=1)
    np.testing.assert_allclose(figures.loss, -np.log(probabilities[np.arange(90), targets]).mean())
    assert figures.pictures == 90
    assert figures.top1 == (rank < 1).mean()
    assert figures.top5 == (rank < 5).mean()


def test_fewer_than_five_classes_are_always_right_at_five() -> None:
    tally = Tally(World())
    tally.add(torch.randn(4, 3), torch.tensor([0, 1, 2, 0]))
    assert tally.figures().top5 == 1


def test_the_running_loss_is_the_average_and_knows_the_first_bad_step() -> None:
    losses = [3.0, 2.0, 4.0, 1.5]
    running = RunningLoss(World())
    for step, loss in enumerate(losses):
        running.update(torch.tensor(loss), step)
    weights = [0.99**age for age in range(len(losses) - 1, -1, -1)]
    assert running.value(len(losses)) == pytest.approx(np.average(losses, weights=weights), rel=1e-5)
    assert running.bad_step() is None
    resumed = RunningLoss(World())
    resumed.restore(running.state())
    assert resumed.value(len(losses)) == running.value(len(losses))
    for step, loss in ((4, float("inf")), (5, float("nan")), (6, 1.0)):
        resumed.update(torch.tensor(loss), step)
    assert resumed.bad_step() == 4


def test_a_confusion_matrix_has_a_row_for_each_true_class() -> None:
    confusion = Confusion(3)
    targets, answers = torch.tensor([0, 0, 1, 2, 2]), [0, 1, 1, 0, 0]
    pictures = torch.zeros(5, 1, 1, 3, dtype=torch.uint8)
    batch = PictureBatch(pictures, None, targets, torch.ones(5), torch.arange(5), None, np.arange(5), 5)
    confusion.add(batch, torch.eye(3)[answers])
    confusion.add(batch, torch.zeros(0, 3))  # another process reports these
    assert confusion.counts(World()).tolist() == [[1, 1, 0], [0, 1, 0], [2, 0, 0]]
