"""The recipe's network table, and the geometry of the eight layers that follows from it.

Section 3.5 of the 2012 paper: shapes, kernels, strides, map sizes. The network is built from them, `show`
prints them and `import` compares other files with them. The M maps of T towers are one tensor. A layer whose
towers don't read each other is a convolution in T groups; tower r owns rows [r·M/T, (r+1)·M/T) of its weight
and bias.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from alexnet_tk.choices import DropoutScale, Initialisation, LrnConvention, Stage
from alexnet_tk.errors import RecipeError
from alexnet_tk.tables import require

CONVOLUTIONS = ("c1", "c2", "c3", "c4", "c5")
FULLY_CONNECTED = ("f6", "f7", "f8")
LAYERS = (*CONVOLUTIONS, *FULLY_CONNECTED)

POOL_KERNEL, POOL_STRIDE = 3, 2  # the paper's, which overlap: section 3.4
POOLS = ("pool1", "pool2", "pool5")

Stages = tuple[Stage, ...]
# What `network.order` of version 0.1.0 was for c1 and c2.
FORMER_ORDERS: dict[str, Stages] = {
    "pool-lrn": ("relu", "pool", "lrn"),
    "lrn-pool": ("relu", "lrn", "pool"),
}


def _require_stages(stages: Stages, key: str) -> None:
    """Raise `RecipeError` unless a layer's stages have one ReLU, one pooling, and nothing twice."""
    words = list(stages)
    once = len(set(words)) == len(words) and {"relu", "pool"} <= set(words)
    require(once, key, words, "a list with 'relu' and 'pool', and 'lrn' or 'spatial' where wanted, each once")


@dataclass(frozen=True)
class FirstConvolution:
    """The geometry of c1 (c2 to c5 have the paper's), and what follows it, in the order it is computed."""

    kernel: int = 11
    stride: int = 4
    padding: int = 2  # makes the 224 of the paper's text the 227 of its arithmetic
    padding_after: int = 0  # more pixels, on the right and below only
    then: Stages = FORMER_ORDERS["pool-lrn"]

    def __post_init__(self) -> None:
        _require_stages(self.then, "network.c1.then")
        require(self.kernel >= 1, "network.c1.kernel", self.kernel, "at least 1")
        require(self.stride >= 1, "network.c1.stride", self.stride, "at least 1")
        for key in ("padding", "padding_after"):
            value = getattr(self, key)
            require(0 <= value < self.kernel, f"network.c1.{key}", value, "from 0 to kernel - 1")


@dataclass(frozen=True)
class SecondConvolution:
    """What follows c2, in the order it is computed."""

    then: Stages = FORMER_ORDERS["pool-lrn"]

    def __post_init__(self) -> None:
        _require_stages(self.then, "network.c2.then")


@dataclass(frozen=True)
class Spatial:
    """Normalisation within a map: b = a / (k + α Σ a²)^β over size × size pixels around each."""

    size: int = 5
    alpha: float = 1e-3 / 25  # of each squared value in the sum: it is not divided
    beta: float = 0.75
    k: float = 1.0

    def __post_init__(self) -> None:
        size = self.size
        require(size >= 1 and size % 2 == 1, "network.spatial.size", size, "odd, so that it has a centre")
        require(self.alpha >= 0, "network.spatial.alpha", self.alpha, "at least 0")
        require(self.k > 0, "network.spatial.k", self.k, "above 0")


@dataclass(frozen=True)
class LRN:
    """Local response normalisation, section 3.3: b = a / (k + α Σ a²)^β over `size` neighbouring maps."""

    enabled: bool = True
    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 2.0
    convention: LrnConvention = "paper"  # "divided": α / size, as in Caffe and torch
    across_towers: bool = False  # True: the sum runs over the maps of both towers, as in Caffe

    def __post_init__(self) -> None:
        require(
            self.size >= 1 and self.size % 2 == 1,
            "network.lrn.size",
            self.size,
            "odd: for an even size the formula and the runtimes disagree on which neighbours are summed",
        )
        require(self.alpha >= 0, "network.lrn.alpha", self.alpha, "at least 0")
        require(self.k > 0, "network.lrn.k", self.k, "above 0")

    @property
    def alpha_per_square(self) -> float:
        """The factor of each squared value in the sum, whatever convention `alpha` follows."""
        return self.alpha if self.convention == "paper" else self.alpha / self.size


@dataclass(frozen=True)
class Network:
    """The layers: five convolutional and three fully connected ones, in one or more towers."""

    image_size: int = 224
    towers: int = 2
    talk: bool = True  # c3, f6 and f7 read the units of all towers, as f8 does in any case
    channels: tuple[int, int, int, int, int] = (96, 256, 384, 384, 256)
    hidden: tuple[int, int] = (4096, 4096)
    c1: FirstConvolution = field(default_factory=FirstConvolution)
    c2: SecondConvolution = field(default_factory=SecondConvolution)
    pool_kernel: int = POOL_KERNEL  # 2: pools do not overlap
    pool_ceil: bool = False  # round pooled sizes up, as Caffe does
    dropout: float = 0.5
    dropout_scale: DropoutScale = "training"  # "prediction": as section 4.2 has it
    init: Initialisation = "paper"
    lrn: LRN = field(default_factory=LRN)
    spatial: Spatial = field(default_factory=Spatial)

    @staticmethod
    def upgraded(table: Mapping[str, Any]) -> dict[str, Any]:
        """The table in the keys of today: version 0.1.0 had one `order` for what follows c1 and c2."""
        current = dict(table)
        if "order" in current:
            order = current.pop("order")
            require(
                order in tuple(FORMER_ORDERS), "network.order", order, f"one of {', '.join(FORMER_ORDERS)}"
            )
            for layer in ("c1", "c2"):
                given = current.get(layer, {})
                if isinstance(given, Mapping):  # anything else is refused with its own key
                    current[layer] = {"then": list(FORMER_ORDERS[order]), **given}
        return current

    @property
    def has_lrn(self) -> bool:
        """Whether there is local response normalisation after c1 or c2."""
        return self.lrn.enabled and "lrn" in (*self.c1.then, *self.c2.then)

    def __post_init__(self) -> None:
        require(self.towers >= 1, "network.towers", self.towers, "at least 1")
        require(self.pool_kernel >= POOL_STRIDE, "network.pool_kernel", self.pool_kernel, "at least 2")
        require(0 <= self.dropout < 1, "network.dropout", self.dropout, "at least 0 and below 1")
        for key, widths in (("channels", self.channels), ("hidden", self.hidden)):
            for width in widths:
                require(
                    width >= 1 and width % self.towers == 0,
                    f"network.{key}",
                    width,
                    f"a positive multiple of network.towers ({self.towers})",
                )
        map_sizes(self)


@dataclass(frozen=True)
class Convolution:
    """A convolutional layer with square kernels; lengths in pixels."""

    inputs: int  # maps, those of all towers
    outputs: int
    kernel: int
    stride: int
    padding: int
    groups: int  # 1: every tower reads the maps of all towers

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(outputs, inputs of one group, height, width)."""
        return self.outputs, self.inputs // self.groups, self.kernel, self.kernel

    @property
    def parameters(self) -> int:
        """The number of weights and biases."""
        return prod(self.weight_shape) + self.outputs


@dataclass(frozen=True)
class FullyConnected:
    """A fully connected layer."""

    inputs: int  # units, those of all towers
    outputs: int
    groups: int = 1  # 1: every tower reads the units of all towers

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(outputs, inputs), or, where towers are apart, that of a convolution of one pixel."""
        if self.groups == 1:
            return self.outputs, self.inputs
        return self.outputs, self.inputs // self.groups, 1, 1

    @property
    def parameters(self) -> int:
        """The number of weights and biases."""
        return prod(self.weight_shape) + self.outputs


Layer = Convolution | FullyConnected


def towers_apart(network: Network) -> int:
    """The groups in which c3, f6 and f7 read: 1, or as many as there are towers that do not talk."""
    return 1 if network.talk else network.towers


def convolutions(network: Network) -> dict[str, Convolution]:
    """The layers c1 to c5; only c3 has every tower read the maps of all towers, if they talk."""
    towers, c1, (m1, m2, m3, m4, m5) = network.towers, network.c1, network.channels
    return {
        "c1": Convolution(3, m1, c1.kernel, c1.stride, c1.padding, groups=1),
        "c2": Convolution(m1, m2, kernel=5, stride=1, padding=2, groups=towers),
        "c3": Convolution(m2, m3, kernel=3, stride=1, padding=1, groups=towers_apart(network)),
        "c4": Convolution(m3, m4, kernel=3, stride=1, padding=1, groups=towers),
        "c5": Convolution(m4, m5, kernel=3, stride=1, padding=1, groups=towers),
    }


def fully_connected(network: Network, num_classes: int) -> dict[str, FullyConnected]:
    """The layers f6 to f8; f6 reads the flattened maps after c5's pooling."""
    (h6, h7), groups = network.hidden, towers_apart(network)
    return {
        "f6": FullyConnected(network.channels[4] * map_sizes(network)["pool5"] ** 2, h6, groups),
        "f7": FullyConnected(h6, h7, groups),
        "f8": FullyConnected(h7, num_classes),
    }


def layers(network: Network, num_classes: int) -> dict[str, Layer]:
    """All eight layers, from the picture to the logits."""
    return {**convolutions(network), **fully_connected(network, num_classes)}


def map_sizes(network: Network) -> dict[str, int]:
    """The side of the square maps after c1 and after each pooling, in pixels.

    Raises
    ------
    RecipeError
        a side is below 1; the message shows the arithmetic up to it

    """
    sizes: dict[str, int] = {}
    sums: list[str] = []

    def add(name: str, size: int, arithmetic: str) -> int:
        sizes[name] = size
        sums.append(f"{name}: {arithmetic} = {size}")
        if size < 1:
            raise RecipeError(
                f"network.image_size = {network.image_size} leaves nothing after {name} "
                f"({', '.join(sums)}); use a larger image_size or a smaller network.c1"
            )
        return size

    c1, size = network.c1, network.image_size
    after = f" + {c1.padding_after}" if c1.padding_after else ""
    size = add(
        "c1",
        (size + 2 * c1.padding + c1.padding_after - c1.kernel) // c1.stride + 1,
        f"({size} + 2·{c1.padding}{after} - {c1.kernel}) // {c1.stride} + 1",
    )
    less = network.pool_kernel - network.pool_ceil  # ceil(x / 2) is (x + 1) // 2
    for name in POOLS:
        size = add(name, (size - less) // POOL_STRIDE + 1, f"({size} - {less}) // {POOL_STRIDE} + 1")
    return sizes


def pool5_places(network: Network) -> tuple[float, int]:
    """The centre of pool5's first cell in the picture and the distance to the next one, in pixels of a side.

    c2 to c5 are padded so that they move nothing.
    """
    centre, step = (network.c1.kernel - 1) / 2 - network.c1.padding, network.c1.stride
    for _ in POOLS:
        centre, step = centre + step * (network.pool_kernel - 1) / 2, step * POOL_STRIDE
    return centre, step
