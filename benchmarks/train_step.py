"""The time of a training step, against plain torch, in one run.

    python benchmarks/train_step.py            # LRN alone, then whole steps of the full network
    python benchmarks/train_step.py --lrn      # LRN alone, half a minute

The two are timed alternately, so that a drift of the machine's speed affects both; prints medians and their
ratio.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alexnet_tk.network.alexnet import AlexNet, dropout_masks
from alexnet_tk.network.lrn import local_response_norm
from alexnet_tk.recipe import Recipe
from alexnet_tk.training.optim import PaperSGD

# The maps after c1 and c2, pooled or not.
SHAPES = ((32, 96, 27, 27), (32, 256, 13, 13), (128, 96, 27, 27), (128, 256, 13, 13), (32, 96, 55, 55))


def compare(name: str, theirs: Callable[[], object], ours: Callable[[], object], rounds: int) -> None:
    """Time two functions alternately and print a line."""
    seconds: dict[str, list[float]] = {"theirs": [], "ours": []}
    for counted in range(-1, rounds):
        for who, function in (("theirs", theirs), ("ours", ours)):
            begun = time.perf_counter()
            function()
            if counted >= 0:
                seconds[who].append(time.perf_counter() - begun)
    first, second = median(seconds["theirs"]), median(seconds["ours"])
    print(f"{name:44} torch {first * 1e3:8.1f} ms   ours {second * 1e3:8.1f} ms   {first / second:5.2f}×")


def lrn(shape: tuple[int, int, int, int]) -> None:
    """Forward and backward of one normalisation across all maps, each implementation in its own layout."""
    plain = torch.randn(shape).requires_grad_()
    last = plain.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    grad = torch.randn(shape)
    grad_last = grad.contiguous(memory_format=torch.channels_last)

    def theirs() -> None:
        plain.grad = None
        F.local_response_norm(plain, 5, alpha=5e-4, beta=0.75, k=2.0).backward(grad)  # type: ignore[no-untyped-call]

    def ours() -> None:
        last.grad = None
        local_response_norm(last, 5, 1e-4, 0.75, 2.0, 1).backward(grad_last)

    compare(f"LRN forward and backward, {shape}", theirs, ours, rounds=9)


class PlainNorm(nn.Module):
    """Torch's own normalisation, tower by tower."""

    def forward(self, x: Tensor) -> Tensor:
        """Half of the maps at a time."""
        towers = x.chunk(2, dim=1)
        return torch.cat([F.local_response_norm(each, 5, alpha=5e-4, beta=0.75, k=2.0) for each in towers], 1)


def step(batch: int, order: str, rounds: int) -> None:
    """A whole step of the full network: forward, backward, update."""
    network = Recipe().override(f"network.order={order}", "network.init=he").network
    x, targets = torch.randn(batch, 3, 224, 224), torch.randint(0, 1000, (batch,))
    last = x.contiguous(memory_format=torch.channels_last)

    def plain_masks() -> Tensor:
        return F.dropout(torch.ones(batch, sum(network.hidden)), network.dropout)

    def our_masks() -> Tensor:
        return dropout_masks(network, batch, 0, torch.device("cpu"))

    def steps(
        model: nn.Module, optimiser: torch.optim.Optimizer, x: Tensor, masks: Callable[[], Tensor]
    ) -> Callable[[], None]:
        def one() -> None:
            optimiser.zero_grad()
            F.cross_entropy(model(x, masks()), targets).backward()  # type: ignore[no-untyped-call]
            optimiser.step()

        return one

    plain, ours = AlexNet(network, 1000), AlexNet(network, 1000)
    for model in (plain, ours):
        model.initialise(0)
    plain.norm = PlainNorm()  # type: ignore[assignment]
    ours.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    sgd = torch.optim.SGD(plain.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)
    paper = PaperSGD(dict(ours.named_parameters()), Recipe().override("train.lr=1e-3").train)
    theirs, mine = steps(plain, sgd, x, plain_masks), steps(ours, paper, last, our_masks)
    compare(f"step, batch {batch}, {order}", theirs, mine, rounds)


def main() -> None:
    """Time the normalisation and, unless --lrn is given, whole steps."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lrn", action="store_true", help="only the normalisation")
    only_lrn = parser.parse_args().lrn
    capability = torch.backends.cpu.get_cpu_capability()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {capability}")
    torch.manual_seed(0)
    for shape in SHAPES:
        lrn(shape)
    if not only_lrn:
        for batch, rounds in ((32, 5), (128, 3)):
            for order in ("pool-lrn", "lrn-pool"):
                step(batch, order, rounds)


if __name__ == "__main__":
    main()
