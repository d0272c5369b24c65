"""The paper's update rule (section 5) and the schedules of the learning rate."""

from math import cos, pi

import torch

from alexnet_tk.recipe import Train


class PaperSGD(torch.optim.SGD):
    """Stochastic gradient descent as the paper prints it: v ← μ v - ωεw - εg, w ← w + v.

    torch's momentum buffer is -v / ε, which is equivalent while the learning rate ε stays; when ε changes,
    the buffers are multiplied by old ε / new ε.

    The buffers begin as zeros. torch would make them in the first step, and leave them unwritten where
    that step is skipped because a gradient in half precision is infinite.
    """

    def __init__(self, parameters: list[torch.Tensor], train: Train, lr: float) -> None:
        super().__init__(
            parameters, lr=lr, momentum=train.momentum, weight_decay=train.weight_decay, fused=True
        )
        for parameter in parameters:
            self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update the parameters that have a gradient, in one operator.

        torch's own step groups the tensors by device and dtype in every step; here all are of one kind.
        """
        (group,) = self.param_groups
        updated = [parameter for parameter in group["params"] if parameter.grad is not None]
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
        for parameter in self.param_groups[0]["params"]:
            parameter.grad = None

    def set_lr(self, lr: float) -> None:
        """Set the learning rate of the next step; it must be above 0."""
        for group in self.param_groups:
            if group["lr"] != lr:
                buffers = [self.state[parameter]["momentum_buffer"] for parameter in group["params"]]
                torch._foreach_mul_(buffers, group["lr"] / lr)
                group["lr"] = lr


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
