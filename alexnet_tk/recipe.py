"""The recipe of a network: what it computes, how pictures meet it, how it is trained.

The defaults are those of the 2012 paper (Krizhevsky, Sutskever, Hinton: "ImageNet Classification
with Deep Convolutional Neural Networks"), so `Recipe()` is the recipe `alexnet-2012`. A recipe is
read from TOML, changed by dotted keys such as `train.batch_size=256`, and travels as a plain
dictionary in every checkpoint and ONNX file. Standard library only.
"""

import reprlib
import tomllib
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Self, TypeVar, Union, get_args, get_origin, get_type_hints

from alexnet_tk.errors import RecipeError

RGB = tuple[float, float, float]
T = TypeVar("T")
MOST = 1_000_000  # of any whole number but a seed; a mistake should not ask for a terabyte
LARGEST = 1e300  # of any number; also keeps infinity and what is no number out


@dataclass(frozen=True)
class Convolution:
    """The geometry of c1; those of c2 to c5 never vary."""

    kernel: int = 11
    stride: int = 4
    padding: int = 2  # makes the 224 of the paper's text the 227 of its arithmetic

    def __post_init__(self) -> None:
        _require(self.kernel >= 1, "network.c1.kernel", self.kernel, "at least 1")
        _require(self.stride >= 1, "network.c1.stride", self.stride, "at least 1")
        _require(0 <= self.padding < self.kernel, "network.c1.padding", self.padding, "from 0 to kernel - 1")


@dataclass(frozen=True)
class LRN:
    """Local response normalisation, section 3.3: b = a / (k + α Σ a²)^β over `size` neighbouring maps."""

    enabled: bool = True
    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 2.0
    convention: Literal["paper", "divided"] = "paper"  # "divided": α / size, as Caffe and torch have it
    across_towers: bool = False  # True: the sum crosses from one tower's maps to the other's, as in Caffe

    def __post_init__(self) -> None:
        _require(
            self.size >= 1 and self.size % 2 == 1,
            "network.lrn.size",
            self.size,
            "odd: with an even size the formula and the runtimes disagree on which neighbours count",
        )
        _require(self.alpha >= 0, "network.lrn.alpha", self.alpha, "at least 0")
        _require(self.k > 0, "network.lrn.k", self.k, "above 0")

    @property
    def alpha_per_square(self) -> float:
        """What each square is multiplied by, whichever convention `alpha` is written in."""
        return self.alpha if self.convention == "paper" else self.alpha / self.size


@dataclass(frozen=True)
class Network:
    """What is computed: five convolutional and three fully connected layers in one or more towers."""

    image_size: int = 224
    towers: int = 2
    channels: tuple[int, int, int, int, int] = (96, 256, 384, 384, 256)
    hidden: tuple[int, int] = (4096, 4096)
    c1: Convolution = field(default_factory=Convolution)
    pool_ceil: bool = False  # round pooled sizes up, as Caffe does
    order: Literal["pool-lrn", "lrn-pool"] = "pool-lrn"
    dropout: float = 0.5
    init: Literal["paper", "he", "caffe"] = "paper"
    lrn: LRN = field(default_factory=LRN)

    def __post_init__(self) -> None:
        _require(self.towers >= 1, "network.towers", self.towers, "at least 1")
        _require(0 <= self.dropout < 1, "network.dropout", self.dropout, "at least 0 and below 1")
        for key, widths in (("channels", self.channels), ("hidden", self.hidden)):
            for width in widths:
                _require(
                    width >= 1 and width % self.towers == 0,
                    f"network.{key}",
                    width,
                    f"a positive multiple of network.towers ({self.towers})",
                )
        self.sizes()

    def sizes(self) -> dict[str, int]:
        """Height and width of the maps after c1 and after each pooling.

        Raises
        ------
        RecipeError
            one of them is not positive; the message shows the arithmetic up to there

        """
        size, padding = self.image_size, self.c1.padding
        sizes: dict[str, int] = {}
        sums: list[str] = []

        def becomes(name: str, result: int, arithmetic: str) -> int:
            sizes[name] = result
            sums.append(f"{name}: {arithmetic} = {result}")
            if result < 1:
                raise RecipeError(
                    f"network.image_size = {self.image_size} leaves nothing after {name} "
                    f"({', '.join(sums)}); take a larger picture or a smaller network.c1"
                )
            return result

        size = becomes(
            "c1",
            (size + 2 * padding - self.c1.kernel) // self.c1.stride + 1,
            f"({size} + 2·{padding} - {self.c1.kernel}) // {self.c1.stride} + 1",
        )
        for name in ("pool1", "pool2", "pool5"):  # 3×3, stride 2, overlapping: section 3.4
            size = becomes(
                name,
                (size - 3 + self.pool_ceil) // 2 + 1,
                f"({size} - {2 if self.pool_ceil else 3}) // 2 + 1",
            )
        return sizes


@dataclass(frozen=True)
class Preprocess:
    """How a picture becomes the network's input, in training and in every exported file."""

    resize: int = 256  # the shorter side, pixels
    filter: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    color: Literal["RGB", "BGR"] = "RGB"  # the order in which the network sees the channels
    mean: Literal["dataset"] | RGB = "dataset"  # subtracted; red, green, blue, 0..255
    std: RGB = (1.0, 1.0, 1.0)  # divides after the mean; red, green, blue, 0..255

    def __post_init__(self) -> None:
        _require(self.resize >= 1, "preprocess.resize", self.resize, "at least 1")
        for value in self.std:
            _require(value > 0, "preprocess.std", value, "above 0")


@dataclass(frozen=True)
class Augment:
    """Random changes of training pictures, section 4.1."""

    crop: bool = True
    mirror: bool = True
    color: float = 0.1  # σ of the shift along the colours' principal components
    rotate: float = 0.0  # degrees, uniform in ±rotate

    def __post_init__(self) -> None:
        _require(self.color >= 0, "augment.color", self.color, "at least 0")
        _require(0 <= self.rotate <= 180, "augment.rotate", self.rotate, "from 0 to 180 degrees")


@dataclass(frozen=True)
class Train:
    """How weights are found, section 5."""

    epochs: Literal["auto"] | int = 90  # a maximum; "auto" goes by the number of pictures
    batch_size: int = 128  # global, whatever the number of processes
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Literal["plateau", "steps", "cosine", "onecycle"] = "plateau"
    drops: int = 3  # plateau: how often lr is divided by 10 before training stops
    patience: int = 5  # plateau: epochs without a better validation top-1 before a drop
    steps: tuple[int, ...] = ()  # steps: the epochs, counted from 1, that begin with lr divided by 10
    warmup: float = 0.0  # epochs in which lr rises to its value from a hundredth of it
    stall: int = 1000  # steps after which a loss still at ln(classes) means a new start; 0: never
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"  # of the arithmetic; weights stay float32
    micro_batches: int = 4  # --parallel pipeline: the parts of a batch that are in flight
    seed: int = 0

    def __post_init__(self) -> None:
        _require(self.epochs == "auto" or self.epochs >= 1, "train.epochs", self.epochs, "at least 1")
        _require(self.lr > 0, "train.lr", self.lr, "above 0")
        _require(0 <= self.momentum < 1, "train.momentum", self.momentum, "at least 0 and below 1")
        for key in ("batch_size", "patience", "micro_batches"):
            _require(getattr(self, key) >= 1, f"train.{key}", getattr(self, key), "at least 1")
        for key in ("weight_decay", "drops", "warmup", "stall"):
            _require(getattr(self, key) >= 0, f"train.{key}", getattr(self, key), "at least 0")
        _require(0 <= self.seed < 2**63, "train.seed", self.seed, "from 0 to 2^63 - 1")

    def epochs_for(self, pictures: int) -> int:
        """The epochs to train on so many pictures: "auto" shows about 300,000, in 10 to 90 epochs."""
        if self.epochs != "auto":
            return self.epochs
        return min(90, max(10, round(300_000 / pictures)))


@dataclass(frozen=True)
class Recipe:
    """A whole recipe; every table can be left out, and so can every key."""

    network: Network = field(default_factory=Network)
    preprocess: Preprocess = field(default_factory=Preprocess)
    augment: Augment = field(default_factory=Augment)
    train: Train = field(default_factory=Train)

    def __post_init__(self) -> None:
        _require(
            self.preprocess.resize >= self.network.image_size,
            "preprocess.resize",
            self.preprocess.resize,
            f"at least network.image_size ({self.network.image_size}), which is cut out of it",
        )

    @classmethod
    def from_dict(cls, tables: dict[str, Any]) -> Self:
        """A recipe from nested dictionaries, as TOML, checkpoints and ONNX files hold it.

        Raises
        ------
        RecipeError
            an unknown key, a value of the wrong type, an impossible network

        """
        return from_table(cls, tables, "")

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """A recipe from a TOML file; raises `RecipeError`, also where the file can't be read."""
        try:
            return cls.from_dict(tomllib.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise RecipeError(f"the recipe {path} can't be read: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise RecipeError(f"the recipe {path} is not TOML: {error}") from error
        except RecipeError as error:
            raise RecipeError(f"the recipe {path}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """The recipe as nested dictionaries of plain values; `from_dict` takes them back."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain

    def override(self, *settings: str) -> Self:
        """This recipe with settings such as `train.batch_size=256` or `network.init=he` in place.

        All of them take effect together, so that several can agree where each alone would not.

        Raises
        ------
        RecipeError
            no `=`, an unknown key, a value of the wrong type, an impossible network

        """
        tables = self.to_dict()
        for setting in settings:
            key, equals, value = setting.partition("=")
            if not equals:
                raise RecipeError(f"{setting!r} sets nothing; write KEY=VALUE, as in train.batch_size=256")
            *path, last = key.strip().split(".")
            table = tables
            for name in path:
                table = table.get(name) if isinstance(table, dict) else None  # type: ignore[assignment]
            if not isinstance(table, dict) or last not in table:
                near = [each for each in _keys() if each.startswith(f"{path[0]}." if path else "")]
                raise RecipeError(
                    f"there is no recipe key {key.strip()!r}; the keys are {', '.join(near or _keys())}"
                )
            table[last] = _parse(value.strip())
        return type(self).from_dict(tables)


def _require(holds: bool, key: str, value: object, rule: str) -> None:
    if not holds:
        raise RecipeError(f"{key} is {value}; it must be {rule}")


def _parse(value: str) -> Any:
    """A value as TOML writes it; anything else is taken for a string, so that quotes can be left out."""
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):  # also where an integer has too many digits
        return value


def _plain(value: Any) -> Any:
    """Tuples as lists, all the way down: what TOML and JSON give back."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def _keys(cls: type = Recipe, prefix: str = "") -> list[str]:
    """All dotted keys, in the order of the file."""
    keys: list[str] = []
    for name, hint in get_type_hints(cls).items():
        is_table = isinstance(hint, type) and is_dataclass(hint)
        keys += _keys(hint, f"{prefix}{name}.") if is_table else [prefix + name]
    return keys


def from_table(cls: type[T], table: object, prefix: str) -> T:
    """A dataclass from a table, every value checked against its field's type; raises `RecipeError`."""
    if not isinstance(table, dict):
        raise RecipeError(
            f"{prefix.rstrip('.') or 'the recipe'} is {reprlib.repr(table)}; it must be a table"
        )
    hints = get_type_hints(cls)
    known = {each.name for each in fields(cls)}  # type: ignore[arg-type]
    for name in table:
        if name not in known:
            raise RecipeError(
                f"there is no recipe key {prefix + str(name)!r}; "
                f"beside it stand {', '.join(prefix + each for each in hints)}"
            )
    return cls(**{name: _check(value, hints[name], prefix + name) for name, value in table.items()})


def _check(value: object, hint: Any, key: str) -> Any:
    """`value` as the type that the hint asks for; integers count as floats, nothing else is converted."""
    if is_dataclass(hint):
        return from_table(hint, value, f"{key}.")  # type: ignore[arg-type]
    for choice in get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,):
        origin, parts = get_origin(choice), get_args(choice)
        if origin is Literal and value in parts and isinstance(value, str):
            return value
        if origin is tuple and isinstance(value, (list, tuple)):
            each = [parts[0]] * len(value) if parts[-1] is Ellipsis else list(parts)
            if len(each) == len(value):
                return tuple(_check(item, part, key) for item, part in zip(value, each, strict=True))
        if choice is float and type(value) in (int, float) and abs(value) < LARGEST:  # type: ignore[arg-type]
            return float(value)  # type: ignore[arg-type]
        if choice is int and type(value) is int and abs(value) > MOST and not key.endswith(".seed"):
            raise RecipeError(f"{key} is larger than {MOST:,}, the most that makes sense")
        if choice in (int, bool, str) and type(value) is choice:
            return value
    raise RecipeError(f"{key} is {reprlib.repr(value)}; it must be {_wanted(hint)}")


def _wanted(hint: Any) -> str:
    """A type hint in words."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(_wanted(part) for part in parts)
    if origin is Literal:
        return " or ".join(repr(part) for part in parts)
    if origin is tuple:
        many = "a list" if parts[-1] is Ellipsis else f"{len(parts)}"
        return f"{many} of {_wanted(parts[0]).removeprefix('a ').removeprefix('an ')}s"
    return {int: "an integer", float: "a finite number", bool: "true or false", str: "a string"}[hint]
