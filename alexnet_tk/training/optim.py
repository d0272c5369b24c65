"""The paper's update rule (section 5) and the schedules of the learning rate."""

from functools import partial
from math import cos, pi

import torch

from alexnet_tk.recipe import Train

STILL = 1e-20  # a learning rate from which on a layer stands still: the buffers are divided by it


class PaperSGD(torch.optim.SGD):
    """Stochastic gradient descent as the paper prints it: v ← μ v - ωεw - εg, w ← w + v.

    torch's momentum buffer is -v / ε, which is equivalent while the learning rate ε stays; when ε changes,
    the buffers are multiplied by old ε / new ε. Parameters with the same ε and ω are a group. One with an ε
    of 0 stands still: nothing of it is updated, and it goes on without momentum, if it ever does.

    The buffers begin as zeros. torch would make them in the first step, and leave them unwritten where
    that step is skipped because a gradient in half precision is infinite.

    Parameters
    ----------
    parameters
        by name, such as "c1.weight"
    train
        the recipe's table

    """

    def __init__(self, parameters: dict[str, torch.Tensor], train: Train) -> None:
        own = train.bias_weight_decay
        slowed = {layer for layer, _, _ in train.layer_rates}
        groups: dict[tuple[str, bool], list[torch.Tensor]] = {}
        for name, parameter in parameters.items():
            layer, _, kind = name.partition(".")
            key = (layer if layer in slowed else "", kind == "bias" and train.has_own_biases)
            groups.setdefault(key, []).append(parameter)
        super().__init__(
            [
                {
                    "params": group,
                    "weight_decay": train.weight_decay if not is_bias or own == "same" else own,
                    "rate": partial(rate_of, train, layer, is_bias),
                }
                for (layer, is_bias), group in groups.items()
            ],
            lr=train.lr,
            momentum=train.momentum,
            fused=True,
        )
        for parameter in parameters.values():
            self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update the parameters that have a gradient, in one operator for each group.

        torch's own step groups the tensors by device and dtype in every step; here all are of one kind.
        """
        for group in self.param_groups:
            updated = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not updated or not group["lr"]:
                continue
            torch._fused_sgd_(
                updated,
                [parameter.grad for parameter in updated],
                [self.state[parameter]["momentum_buffer"] for parameter in updated],
                weight_decay=group["weight_decay"],
                momentum=group["momentum"],
                lr=group["lr"],
                dampening=0.0,
                nesterov=False,
                maximize=False,
                is_first_step=False,
                grad_scale=getattr(self, "grad_scale", None),  # GradScaler sets them for a step
                found_inf=getattr(self, "found_inf", None),
            )

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients; torch's own method takes several times as long for its profiler's sake."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def set_lr(self, lr: float, at: float = 0.0) -> None:
        """Set the learning rate of the next step, above 0; `at` are the completed epochs, with fractions."""
        for group, rate in zip(self.param_groups, self._rates(lr, at), strict=True):
            if group["lr"] != rate:
                buffers = [self.state[parameter]["momentum_buffer"] for parameter in group["params"]]
                torch._foreach_mul_(buffers, group["lr"] / rate if rate else 0.0)
                group["lr"] = rate

    def restore_lr(self, lr: float, at: float) -> None:
        """Set the learning rate that the momentum buffers belong to."""
        for group, rate in zip(self.param_groups, self._rates(lr, at), strict=True):
            group["lr"] = rate

    def _rates(self, lr: float, at: float) -> list[float]:
        """The learning rate of each group."""
        rates = (group["rate"](lr, at) for group in self.param_groups)
        return [rate if rate > STILL else 0.0 for rate in rates]


def rate_of(train: Train, layer: str, is_bias: bool, lr: float, at: float) -> float:
    """The learning rate of a layer's weights or biases after `at` completed epochs, in a step with `lr`."""
    begun = [rate for name, epoch, rate in train.layer_rates if name == layer and at >= epoch - 1]
    factor = begun[-1] if begun else 1.0
    if is_bias and train.bias_schedule == "constant":
        return train.lr * train.bias_lr if factor else 0.0
    return lr * ((train.bias_lr if is_bias else 1.0) * factor)


class Plateau:
    """The schedule "plateau": the drops so far, from every epoch's validation accuracy."""

    def __init__(self, train: Train) -> None:
        self.train = train
        self.drops = 0
        self.best = float("-inf")
        self.waited = 0

    def update(self, top1: float) -> bool:
        """Take in an epoch's validation top-1; True when another drop is due and none is left."""
        if top1 > self.best:
            self.best, self.waited = top1, 0
            return False
        self.waited += 1
        if self.waited < self.train.patience:
            return False
        self.drops, self.waited = self.drops + 1, 0
        return self.drops > self.train.drops


def learning_rate(train: Train, epochs: int, at: float, drops: int = 0) -> float:
    """The learning rate for a step.

    Parameters
    ----------
    train
        the recipe's table
    epochs
        the total number of epochs
    at
        when the step is: the completed epochs, with fractions, 0 <= at < epochs
    drops
        the drops of the schedule "plateau" so far

    Returns
    -------
    above 0. "onecycle" rises from a 25th of `train.lr` to it in the first 30 % and falls along a cosine to
    a 10,000th of where it began (Smith 2018); "cosine" falls from `train.lr` to 0

    """
    progress = at / epochs
    match train.schedule:
        case "plateau":
            lr = train.lr * 0.1**drops
        case "steps":
            lr = train.lr * 0.1 ** sum(at >= step - 1 for step in train.steps)
        case "cosine":
            lr = _between(train.lr, 0, progress)
        case "onecycle":
            low, peak = train.lr / 25, 0.3
            lr = (
                _between(low, train.lr, progress / peak)
                if progress < peak
                else _between(train.lr, low / 10_000, (progress - peak) / (1 - peak))
            )
    return lr * max(0.01, min(1.0, at / train.warmup)) if at < train.warmup else lr


def _between(first: float, last: float, progress: float) -> float:
    """Half a cosine from the first value (progress 0) to the last (progress 1)."""
    return last + (first - last) * (1 + cos(pi * progress)) / 2
