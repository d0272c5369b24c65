"""The paper's update rule and the schedules, written out plainly."""

import numpy as np
import pytest
import torch

from alexnet_tk import zoo
from alexnet_tk.recipe import Recipe, Train
from alexnet_tk.training.optim import PaperSGD, Plateau, learning_rate


def train(*settings: str) -> Train:
    return Recipe().override(*(f"train.{each}" for each in settings)).train


def test_the_update_is_the_papers_also_when_the_rate_changes() -> None:
    """v ← 0.9 v - 0.0005 ε w - ε g; w ← w + v, with another ε in every step."""
    torch.manual_seed(0)
    recipe = train("weight_decay=0.05", "lr=0.1")
    parameter = torch.nn.Parameter(torch.randn(7, dtype=torch.float64))
    optimiser = PaperSGD({"c1.weight": parameter}, recipe)
    w, v = parameter.detach().clone(), torch.zeros(7, dtype=torch.float64)
    for lr in (0.1, 0.1, 0.01, 0.3, 0.3, 0.001):
        g = torch.randn(7, dtype=torch.float64)
        v = 0.9 * v - 0.05 * lr * w - lr * g
        w = w + v
        optimiser.set_lr(lr)
        parameter.grad = g.clone()
        optimiser.step()
        torch.testing.assert_close(parameter.detach(), w, rtol=1e-12, atol=1e-12)


def test_biases_and_layers_have_rates_of_their_own() -> None:
    """Biases learn twice as fast and do not decay; c1 is slowed in epoch 2, still in epoch 3, and goes on."""
    recipe = train(
        "lr=0.1",
        "weight_decay=0.05",
        "bias_lr=2",
        "bias_weight_decay=0",
        'layer_rates=[["c1", 2, 0.1], ["c1", 3, 0], ["c1", 4, 0.5]]',
    )
    names = ("c1.weight", "c1.bias", "c2.weight", "c2.bias")
    random = np.random.default_rng(0)
    w = {name: random.normal(size=7) for name in names}
    v = {name: np.zeros(7) for name in names}
    parameters = {name: torch.nn.Parameter(torch.from_numpy(value.copy())) for name, value in w.items()}
    optimiser = PaperSGD(dict(parameters), recipe)
    for at, of_c1 in ((0.0, 1), (0.9, 1), (1.0, 0.1), (1.5, 0.1), (2.0, 0), (2.5, 0), (3.0, 0.5), (3.5, 0.5)):
        optimiser.set_lr(0.1, at)
        for name, parameter in parameters.items():
            lr, decay = (0.2, 0.0) if name.endswith("bias") else (0.1, 0.05)
            lr *= of_c1 if name.startswith("c1") else 1
            g = random.normal(size=7)
            v[name] = 0.9 * v[name] - decay * lr * w[name] - lr * g if lr else np.zeros(7)
            w[name] = w[name] + v[name]
            parameter.grad = torch.from_numpy(g)
        optimiser.step()
        for name, parameter in parameters.items():
            np.testing.assert_allclose(parameter.detach().numpy(), w[name], rtol=1e-10)
    optimiser.zero_grad()
    assert all(parameter.grad is None for parameter in parameters.values())


def test_the_authors_rates() -> None:
    """Weights and biases of c1 and c2 at every change of run 145, by the paper's rule with these rates."""
    recipe = zoo.recipe("krizhevsky-2012").train
    #    epochs before, and the rates of: c1's weights and biases, c2's weights and biases
    rates = [
        (0, 0.01, 0.02, 0.01, 0.02),
        (23.9, 0.01, 0.02, 0.01, 0.02),
        (24, 0.001, 0.02, 0.001, 0.02),
        (50, 0.0001, 0.02, 0.0001, 0.02),
        (66, 0.00001, 0.02, 0.0001, 0.02),
        (71, 0, 0, 0.0001, 0.02),
        (78, 0, 0, 0.00001, 0.02),
        (89.9, 0, 0, 0.00001, 0.02),
    ]
    names = ("c1.weight", "c1.bias", "c2.weight", "c2.bias")
    random = np.random.default_rng(0)
    w = {name: random.normal(size=7) for name in names}
    v = {name: np.zeros(7) for name in names}
    parameters = {name: torch.nn.Parameter(torch.from_numpy(value.copy())) for name, value in w.items()}
    optimiser = PaperSGD(dict(parameters), recipe)
    for at, *of in rates:
        optimiser.set_lr(learning_rate(recipe, 90, at), at)
        for (name, parameter), lr in zip(parameters.items(), of, strict=True):
            g, decay = random.normal(size=7), 0.0005 if name.endswith("weight") else 0
            v[name] = 0.9 * v[name] - decay * lr * w[name] - lr * g if lr else np.zeros(7)
            w[name] = w[name] + v[name]
            parameter.grad = torch.from_numpy(g)
        optimiser.step()
        for name, parameter in parameters.items():
            np.testing.assert_allclose(parameter.detach().numpy(), w[name], rtol=1e-10)


def test_a_step_with_infinite_gradients_leaves_everything_as_it_is() -> None:
    """As GradScaler asks for it, in the first step, where the scale is still too large for half precision."""
    parameter = torch.nn.Parameter(torch.ones(3))
    optimiser = PaperSGD({"c1.weight": parameter}, train("weight_decay=0", "lr=0.1"))
    parameter.grad = torch.full((3,), float("inf"))
    vars(optimiser).update(grad_scale=torch.tensor(2.0), found_inf=torch.tensor(1.0))
    optimiser.step()
    assert parameter.tolist() == [1, 1, 1]
    assert optimiser.state[parameter]["momentum_buffer"].tolist() == [0, 0, 0]
    parameter.grad = torch.tensor([2.0, 4.0, 0.0])
    vars(optimiser).update(found_inf=torch.tensor(0.0))
    optimiser.step()
    torch.testing.assert_close(parameter.detach(), torch.tensor([0.9, 0.8, 1.0]))


def test_plateau_divides_by_ten_and_stops() -> None:
    recipe = train("schedule=plateau", "drops=2", "patience=2", "lr=0.01")
    plateau = Plateau(recipe)
    rates: list[float] = []
    ended: list[bool] = []
    for top1 in (0.1, 0.2, 0.2, 0.1, 0.3, 0.3, 0.3, 0.3, 0.3):
        ended.append(plateau.update(top1))
        rates.append(learning_rate(recipe, 90, len(rates), plateau.drops))
    assert rates[:8] == pytest.approx([0.01, 0.01, 0.01, 0.001, 0.001, 0.001, 0.0001, 0.0001])
    assert ended == [False] * 8 + [True]


def test_steps() -> None:
    recipe = train("schedule=steps", "steps=[3,5]", "lr=1")
    at = (0, 1.99, 2, 3.99, 4, 9)
    assert [learning_rate(recipe, 10, each) for each in at] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_cosine() -> None:
    recipe = train("schedule=cosine", "lr=1")
    assert [learning_rate(recipe, 8, each) for each in (0, 4, 2)] == pytest.approx(
        [1, 0.5, 0.853553], rel=1e-5
    )
    assert 0 < learning_rate(recipe, 8, 7.999) < 1e-6


def test_onecycle_is_torchs() -> None:
    recipe = train("schedule=onecycle", "lr=0.02", "epochs=5")
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 0.02, total_steps=5 * 20 + 1, cycle_momentum=False
    )
    # Theirs has its peak at 0.3 · total - 1, ours at 0.3 of the way: compare where both are at theirs.
    rates = []
    for _ in range(100):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        theirs.step()
    ours = [learning_rate(recipe, 5, step / 20) for step in range(100)]
    assert max(ours) == pytest.approx(0.02)
    assert ours[0] == pytest.approx(rates[0])
    assert max(abs(a - b) for a, b in zip(ours, rates, strict=True)) < 0.02 * 0.06


def test_warmup_rises_from_a_hundredth() -> None:
    recipe = train("schedule=steps", "lr=1", "warmup=2")
    at = (0, 0.5, 1, 2, 3)
    assert [learning_rate(recipe, 10, each) for each in at] == pytest.approx([0.01, 0.25, 0.5, 1, 1])


def test_the_rate_is_never_zero() -> None:
    """The buffers are multiplied by old / new."""
    for schedule in ("plateau", "steps", "cosine", "onecycle"):
        recipe = train(f"schedule={schedule}", "warmup=1")
        assert all(learning_rate(recipe, 3, step / 1000) > 0 for step in range(3000))
