"""A step of training on many devices, simulated from what one device does.

    python benchmarks/scale.py --rate 55 --link 1.25 [--batch-size 128] [--latency 50]

`--rate` is what one device trains alone, pictures a second, as `alexnet-tk train` shows it; `--link` what a
device sends to another, GB/s. A layer's share of a step goes by its multiplications; its backward pass takes
twice its forward pass. "data" sends the gradients of layers that are done while others are computed; all
else is waited for. benchmarks/parallel.py counts the bytes that are computed here.
The batch is per device here ("weak scaling"): 8 devices take 8 times the pictures of one.
"""

import argparse
from dataclasses import dataclass

from alexnet_tk.description import weight_shapes
from alexnet_tk.recipe import Recipe

CLASSES = 1000
FLOAT = 4  # bytes
NETWORK = Recipe().network


@dataclass(frozen=True)
class Layer:
    """What a layer costs for one picture."""

    name: str
    work: float  # of a step's multiplications, the fraction that is this layer's
    parameters: int  # bytes
    reads: int  # bytes of activations, over all towers
    gives: int


def layers() -> list[Layer]:
    """All eight, with the activations as they pass from one to the next."""
    sizes = NETWORK.sizes()
    sides = {"c1": sizes["c1"], "c2": sizes["pool1"]} | dict.fromkeys(("c3", "c4", "c5"), sizes["pool2"])
    channels, hidden = NETWORK.channels, NETWORK.hidden
    flat = channels[4] * sizes["pool5"] ** 2
    reads = {"c3": channels[1] * sizes["pool2"] ** 2, "f6": flat, "f7": hidden[0], "f8": hidden[1]}
    gives = {"f6": hidden[0], "f7": hidden[1], "f8": CLASSES}
    counts = {}
    shapes = weight_shapes(NETWORK, CLASSES)
    for name, shape in shapes.items():
        rows, *columns = shape
        per_place = rows
        for each in columns:
            per_place *= each
        counts[name] = per_place * sides.get(name, 1) ** 2
    total = sum(counts.values())
    found = []
    for name, shape in shapes.items():
        parameters = shape[0]
        for each in shape[1:]:
            parameters *= each
        parameters += shape[0]
        found.append(
            Layer(
                name,
                counts[name] / total,
                FLOAT * parameters,
                FLOAT * reads.get(name, 0),
                FLOAT * gives.get(name, 0),
            )
        )
    return found


@dataclass(frozen=True)
class Machine:
    """One device, and what lies between two."""

    rate: float  # pictures a second of a whole step
    link: float  # bytes a second
    latency: float  # seconds before a message moves

    def wait(self, sent: float, messages: int = 1) -> float:
        """Seconds for so many bytes of one device."""
        return sent / self.link + messages * self.latency


def all_reduce(size: float, devices: int) -> float:
    """What a device sends to sum so many bytes over a ring."""
    return 2 * (devices - 1) / devices * size


def gather(whole: float, devices: int) -> float:
    """What a device sends so that all have the whole; scattering a sum costs the same."""
    return (devices - 1) / devices * whole


def data(machine: Machine, batch: int, devices: int) -> float:
    """Seconds of a step; each layer's gradients are sent as soon as the link is free."""
    now = link_free = batch / machine.rate / 3
    for layer in reversed(layers()):
        now += 2 / 3 * layer.work * batch / machine.rate
        link_free = max(now, link_free) + machine.wait(
            all_reduce(layer.parameters, devices), 2 * (devices - 1)
        )
    return max(now, link_free if devices > 1 else now)


def towers(machine: Machine, batch: int, devices: int) -> float:
    """Pairs of devices; a pair takes the pictures of two. Half of every layer is computed in each."""
    pictures, replicas = 2 * batch, devices // 2
    compute = pictures / machine.rate / 2
    exchanged = sum(layer.reads for layer in layers()) + layers()[-1].gives
    # Forward the maps of both are gathered, backward their gradients are summed and scattered.
    blocked = machine.wait(2 * gather(exchanged * pictures, 2), 10)
    own = sum(layer.parameters for layer in layers()) / 2
    return compute + blocked + (machine.wait(all_reduce(own, replicas), 2) if replicas > 1 else 0)


def pipeline(machine: Machine, batch: int, devices: int, micro: int = 4) -> float:
    """Pairs of devices, the pictures of two in `micro` parts: all go forward, then all go backward."""
    pictures, replicas = 2 * batch, devices // 2
    convolutional = sum(layer.work for layer in layers() if layer.name[0] == "c")
    part = pictures / micro / machine.rate
    send = machine.wait(layers()[5].reads * pictures / micro)
    first, second = convolutional * part / 3, (1 - convolutional) * part / 3
    arrived = ready = 0.0
    for _ in range(micro):
        arrived += first
        ready = max(ready, arrived + send) + second
    back = ready
    done = arrived
    for _ in range(micro):
        back += 2 * second
        done = max(done, back + send) + 2 * first
    own = sum(layer.parameters for layer in layers() if layer.name[0] == "f")
    return done + (machine.wait(all_reduce(own, replicas), 2) if replicas > 1 else 0)


def hybrid(machine: Machine, batch: int, devices: int) -> float:
    """Convolutions of a device's own pictures; a part of the other layers for all pictures."""
    every, total = layers(), batch * devices
    convolutions, connected = every[:5], every[5:]
    # f6's inputs and all outputs are gathered; backward f6's inputs are scattered, the others' summed.
    forward = sum(gather(each * total, devices) for each in (every[5].reads, *(x.gives for x in connected)))
    backward = gather(every[5].reads * total, devices)
    backward += sum(all_reduce(layer.reads * total, devices) for layer in connected[1:])
    gradients = all_reduce(
        sum(layer.parameters for layer in convolutions), devices
    )  # sent as one, at the end
    blocked = machine.wait(forward + backward + gradients, 9 * (devices - 1)) if devices > 1 else 0.0
    return batch / machine.rate + blocked


MODES = {"data": data, "towers": towers, "pipeline": pipeline, "hybrid": hybrid}


def main() -> None:
    """Print how many times the pictures of one device each mode gets through."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=float, required=True, help="pictures a second of one device")
    parser.add_argument("--link", type=float, required=True, help="GB/s between two devices")
    parser.add_argument("--latency", type=float, default=50, help="microseconds of a message")
    parser.add_argument("--batch-size", type=int, default=128, help="pictures a step of each device")
    given = parser.parse_args()
    machine = Machine(given.rate, 1e9 * given.link, 1e-6 * given.latency)
    alone = given.batch_size / machine.rate
    print(
        f"{given.rate:,.0f} pictures/s alone, {given.batch_size} a step, {given.link:g} GB/s, "
        f"{given.latency:g} µs: speed-up over one device\n"
    )
    print(f"{'mode':<10}" + "".join(f"{devices:>8}" for devices in (1, 2, 4, 8, 16)))
    for name, seconds in MODES.items():
        row = f"{name:<10}"
        for devices in (1, 2, 4, 8, 16):
            if devices == 1 and name in ("towers", "pipeline"):
                row += f"{'–':>8}"
                continue
            row += f"{devices * alone / seconds(machine, given.batch_size, devices):>8.2f}"
        print(row)


if __name__ == "__main__":
    main()
