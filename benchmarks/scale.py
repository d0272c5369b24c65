"""A step of training on many devices, simulated from what one device does.

    python benchmarks/scale.py --rate 55 --link 1.25 [--batch-size 128] [--latency 50]

`--rate` is the pictures per second that one device trains alone, as `alexnet-tk train` shows it; `--link` the
GB/s that one device sends to another. A layer's share of a step is its share of the multiplications; its
backward pass takes twice as long as its forward pass. "data" sends the gradients of finished layers while
others are computed; the other modes wait for what they send. benchmarks/parallel.py measures the bytes that
are calculated here.
The batch is per device here ("weak scaling"): 8 devices take 8 times the pictures of one.
"""

import argparse
from dataclasses import dataclass
from math import prod

from alexnet_tk.geometry import layers as geometry_layers
from alexnet_tk.geometry import map_sizes
from alexnet_tk.recipe import Recipe

NUM_CLASSES = 1000
FLOAT = 4  # bytes
NETWORK = Recipe().network


@dataclass(frozen=True)
class Layer:
    """The costs of a layer for one picture."""

    name: str
    work: float  # its fraction of a step's multiplications
    parameters: int  # bytes
    inputs: int  # bytes of activations that must be gathered from all towers; 0: it reads its own tower
    outputs: int  # bytes of activations of a fully connected layer


def layers() -> list[Layer]:
    """All eight, in order."""
    sizes = map_sizes(NETWORK)
    sides = {"c1": sizes["c1"], "c2": sizes["pool1"]} | dict.fromkeys(("c3", "c4", "c5"), sizes["pool2"])
    channels, hidden = NETWORK.channels, NETWORK.hidden
    flat = channels[4] * sizes["pool5"] ** 2
    inputs = {"c3": channels[1] * sizes["pool2"] ** 2, "f6": flat, "f7": hidden[0], "f8": hidden[1]}
    outputs = {"f6": hidden[0], "f7": hidden[1], "f8": NUM_CLASSES}
    geometry = geometry_layers(NETWORK, NUM_CLASSES)
    multiplications = {
        name: prod(layer.weight_shape) * sides.get(name, 1) ** 2 for name, layer in geometry.items()
    }
    total = sum(multiplications.values())
    return [
        Layer(
            name,
            multiplications[name] / total,
            FLOAT * (prod(layer.weight_shape) + layer.outputs),
            FLOAT * inputs.get(name, 0),
            FLOAT * outputs.get(name, 0),
        )
        for name, layer in geometry.items()
    ]


@dataclass(frozen=True)
class Machine:
    """One device, and the link between two."""

    rate: float  # pictures per second
    link: float  # bytes per second
    latency: float  # seconds before a message moves

    def wait(self, sent: float, messages: int = 1) -> float:
        """Seconds until one device has sent that many bytes."""
        return sent / self.link + messages * self.latency


def all_reduce(size: float, devices: int) -> float:
    """Bytes that a device sends to sum `size` bytes over a ring."""
    return 2 * (devices - 1) / devices * size


def gather(whole: float, devices: int) -> float:
    """Bytes that a device sends so that all have the whole; a reduce-scatter costs the same."""
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
    """Seconds of a step in pairs of devices, with the pictures of two; each computes half of every layer."""
    pictures, replicas = 2 * batch, devices // 2
    compute = pictures / machine.rate / 2
    exchanged = sum(layer.inputs for layer in layers()) + layers()[-1].outputs
    # Forward the maps of both are gathered, backward their gradients are summed and scattered.
    blocked = machine.wait(2 * gather(exchanged * pictures, 2), 10)
    own = sum(layer.parameters for layer in layers()) / 2
    return compute + blocked + (machine.wait(all_reduce(own, replicas), 2) if replicas > 1 else 0)


def pipeline(machine: Machine, batch: int, devices: int, micro: int = 4) -> float:
    """Seconds of a step in pairs of devices, with the pictures of two in `micro` pieces."""
    pictures, replicas = 2 * batch, devices // 2
    convolutional = sum(layer.work for layer in layers() if layer.name[0] == "c")
    part = pictures / micro / machine.rate
    send = machine.wait(layers()[5].inputs * pictures / micro)
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
    """Seconds of a step: convolutions of a device's own pictures, a part of the other layers for all."""
    every, total = layers(), batch * devices
    convolutions, connected = every[:5], every[5:]
    # f6's inputs and all outputs are gathered; backward f6's inputs are scattered, the others' summed.
    forward = sum(
        gather(each * total, devices) for each in (every[5].inputs, *(x.outputs for x in connected))
    )
    backward = gather(every[5].inputs * total, devices)
    backward += sum(all_reduce(layer.inputs * total, devices) for layer in connected[1:])
    gradients = all_reduce(
        sum(layer.parameters for layer in convolutions), devices
    )  # sent as one, at the end
    blocked = machine.wait(forward + backward + gradients, 9 * (devices - 1)) if devices > 1 else 0.0
    return batch / machine.rate + blocked


MODES = {"data": data, "towers": towers, "pipeline": pipeline, "hybrid": hybrid}


def main() -> None:
    """Print each mode's throughput as a multiple of one device's."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=float, required=True, help="pictures per second of one device")
    parser.add_argument("--link", type=float, required=True, help="GB/s between two devices")
    parser.add_argument("--latency", type=float, default=50, help="microseconds of a message")
    parser.add_argument("--batch-size", type=int, default=128, help="pictures per step on each device")
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
