"""The recipe of a network: its layers, its preprocessing, its training.

The defaults are those of the 2012 paper (Krizhevsky, Sutskever, Hinton: "ImageNet Classification
with Deep Convolutional Neural Networks"), so `Recipe()` is the recipe `alexnet-2012`. Recipes are read
from TOML, overridden by dotted keys such as `train.batch_size=256`, and stored as plain dictionaries
in checkpoints and ONNX files. Standard library only.
"""

import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from alexnet_tk.choices import (
    BiasSchedule,
    ChannelOrder,
    ClassWeights,
    Filter,
    Schedule,
    TrainingPrecision,
)
from alexnet_tk.errors import RecipeError
from alexnet_tk.geometry import LAYERS, Network
from alexnet_tk.preprocess import RGB, Preprocess, Square
from alexnet_tk.tables import current_key, dotted_keys, from_table, require, upgraded_key


@dataclass(frozen=True)
class PreprocessRecipe:
    """The recipe's preprocessing table; `Recipe.resolve` turns it into numbers once the mean is known."""

    resize: int = 256  # shorter side after scaling, pixels
    filter: Filter = "bilinear"
    # Of the network's input; the mean and the deviation are red, green, blue in either case.
    channel_order: ChannelOrder = field(default="RGB", metadata={"formerly": "color"})
    # Subtracted, 0..255. "dataset": the mean colour of the training set; "picture": its mean picture, whose
    # centre is subtracted from every crop.
    mean: Literal["dataset", "picture"] | RGB = "dataset"
    std: RGB = (1.0, 1.0, 1.0)  # divides after the mean is subtracted, 0..255

    def __post_init__(self) -> None:
        require(self.resize >= 1, "preprocess.resize", self.resize, "at least 1")
        for value in self.std:
            require(value > 0, "preprocess.std", value, "above 0")


@dataclass(frozen=True)
class Augment:
    """Random changes to training pictures, section 4.1."""

    crop: bool = True
    # Smallest and largest crop as parts of the scaled square's area; the crop is scaled to the network's
    # input. Empty: every crop has the input's size, as in the paper.
    crop_area: tuple[float, ...] = ()
    mirror: bool = True
    # σ of the random shift along the principal components of the training set's colours.
    color_sigma: float = field(default=0.1, metadata={"formerly": "color"})
    color_epochs: int = 0  # the colours are shifted in that many epochs, and no more; 0: in all
    # What pictures are divided by, less the mean, in the epochs in which their colours are shifted.
    color_divisor: float = 1.0
    group: int = 1  # pictures, one after the other in an epoch's order, that share a crop and a mirror
    rotate: float = 0.0  # degrees, uniform in ±rotate

    def __post_init__(self) -> None:
        area = list(self.crop_area)
        in_order = len(area) in (0, 2) and all(0 < part <= 1 for part in area) and area == sorted(area)
        require(
            in_order, "augment.crop_area", area, "empty, or two parts above 0 and up to 1, such as [0.3, 1.0]"
        )
        require(self.crop or not area, "augment.crop", self.crop, "true where augment.crop_area is given")
        require(self.color_sigma >= 0, "augment.color_sigma", self.color_sigma, "at least 0")
        require(self.color_epochs >= 0, "augment.color_epochs", self.color_epochs, "at least 0")
        require(self.color_divisor > 0, "augment.color_divisor", self.color_divisor, "above 0")
        require(self.group >= 1, "augment.group", self.group, "at least 1")
        require(0 <= self.rotate <= 180, "augment.rotate", self.rotate, "from 0 to 180 degrees")


@dataclass(frozen=True)
class Train:
    """Optimisation, section 5."""

    epochs: Literal["auto"] | int = 90  # a maximum; "auto" depends on the number of pictures
    batch_size: int = 128  # of all processes together
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    bias_lr: float = 1.0  # multiplies the learning rate of the biases
    # "constant": it stays while the schedule changes that of the weights, until a layer stands still.
    bias_schedule: BiasSchedule = "same"
    bias_weight_decay: float | Literal["same"] = "same"
    # What multiplies a layer's learning rate from the start of an epoch on, such as ["c1", 67, 0.1]; the
    # first epoch is 1, and a layer with 0 stands still.
    layer_rates: tuple[tuple[str, int, float], ...] = ()
    label_smoothing: float = 0.0  # part of every target that is spread evenly over all classes
    # "balanced": a picture of class c weighs N / (classes · N_c) in the loss, which is a weighted mean.
    class_weights: ClassWeights = "equal"
    schedule: Schedule = "plateau"
    drops: int = 3  # plateau: how many times lr is divided by 10 before training stops
    patience: int = 5  # plateau: epochs without a better validation top-1 before lr drops
    steps: tuple[int, ...] = ()  # steps: lr is divided by 10 at the start of these epochs; the first is 1
    warmup: float = 0.0  # epochs over which lr rises from a hundredth of its value
    stall: int = 1000  # restart if the loss is still at ln(classes) after this many steps; 0: never
    precision: TrainingPrecision = "auto"  # of the arithmetic; the weights stay float32
    micro_batches: int = 4  # --parallel pipeline: parts into which a batch is split
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.epochs == "auto" or self.epochs >= 1, "train.epochs", self.epochs, "at least 1")
        require(self.lr > 0, "train.lr", self.lr, "above 0")
        for key in ("momentum", "label_smoothing"):
            require(0 <= getattr(self, key) < 1, f"train.{key}", getattr(self, key), "at least 0 and below 1")
        for key in ("batch_size", "patience", "micro_batches"):
            require(getattr(self, key) >= 1, f"train.{key}", getattr(self, key), "at least 1")
        require(self.bias_lr > 0, "train.bias_lr", self.bias_lr, "above 0")
        if self.bias_weight_decay != "same":
            require(
                self.bias_weight_decay >= 0, "train.bias_weight_decay", self.bias_weight_decay, "at least 0"
            )
        epochs = [epoch for _, epoch, _ in self.layer_rates]
        for entry in self.layer_rates:
            valid = entry[0] in LAYERS and entry[1] >= 1 and entry[2] >= 0 and epochs == sorted(epochs)
            rule = "a layer, an epoch from 1 and a factor of at least 0, in the order of their epochs"
            require(valid, "train.layer_rates", list(entry), rule)
        for key in ("weight_decay", "drops", "warmup", "stall"):
            require(getattr(self, key) >= 0, f"train.{key}", getattr(self, key), "at least 0")
        require(0 <= self.seed < 2**63, "train.seed", self.seed, "from 0 to 2^63 - 1")

    @property
    def has_own_biases(self) -> bool:
        """Whether biases are updated otherwise than weights."""
        decay = self.bias_weight_decay in ("same", self.weight_decay)
        return self.bias_lr != 1 or self.bias_schedule != "same" or not decay

    def epochs_for(self, pictures: int) -> int:
        """The maximum number of epochs; "auto" shows about 300,000 pictures in 10 to 90 epochs."""
        if self.epochs != "auto":
            return self.epochs
        return min(90, max(10, round(300_000 / pictures)))


@dataclass(frozen=True)
class Recipe:
    """A complete recipe; in a file, any table and any key may be omitted."""

    network: Network = field(default_factory=Network)
    preprocess: PreprocessRecipe = field(default_factory=PreprocessRecipe)
    augment: Augment = field(default_factory=Augment)
    train: Train = field(default_factory=Train)

    def __post_init__(self) -> None:
        require(
            self.preprocess.resize >= self.network.image_size,
            "preprocess.resize",
            self.preprocess.resize,
            f"at least network.image_size ({self.network.image_size}), the size of the crop",
        )

    def resolve(self, dataset_mean: RGB) -> Preprocess:
        """The preprocessing with every number known; `dataset_mean` is the training set's, RGB, 0..255."""
        table = self.preprocess
        return Preprocess(
            table.resize,
            self.network.image_size,
            table.filter,
            table.channel_order,
            dataset_mean if isinstance(table.mean, str) else table.mean,
            table.std,
            table.mean == "picture",
        )

    @property
    def square(self) -> Square:
        """The geometry alone, which needs no mean."""
        return Square(self.preprocess.resize, self.network.image_size, self.preprocess.filter)

    @classmethod
    def from_dict(cls, tables: dict[str, Any]) -> Self:
        """Read a recipe from nested dictionaries, as stored in TOML, checkpoints and ONNX files.

        Raises
        ------
        RecipeError
            an unknown key, a value of the wrong type, an impossible network

        """
        return from_table(cls, tables, "")

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a recipe from a TOML file; raises `RecipeError`, also if the file can't be read."""
        try:
            return cls.from_dict(tomllib.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise RecipeError(f"the recipe {path} can't be read: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise RecipeError(f"the recipe {path} is not TOML: {error}") from error
        except RecipeError as error:
            raise RecipeError(f"the recipe {path}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """The recipe as nested dictionaries of plain values, the inverse of `from_dict`."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain

    def override(self, *settings: str) -> Self:
        """A copy of this recipe with settings such as `train.batch_size=256` or `network.init=he`.

        The recipe is checked once all of them are applied, so settings may depend on one another.

        Raises
        ------
        RecipeError
            no `=`, an unknown key, a value of the wrong type, an impossible network

        """
        tables = self.to_dict()
        for setting in settings:
            key, equals, value = setting.partition("=")
            if not equals:
                raise RecipeError(f"{setting!r} is not a setting; write KEY=VALUE, such as train.lr=0.02")
            *path, last = current_key(type(self), key.strip()).split(".")
            table = tables
            for name in path:
                table = table.get(name) if isinstance(table, dict) else None  # type: ignore[assignment]
            former = upgraded_key(type(self), path, last, _parse(value.strip()))
            if former and isinstance(table, dict):
                for name, values in former.items():
                    given = table.get(name, {})
                    table[name] = given | values if isinstance(given, dict) else given
                continue
            known = dotted_keys(type(self))
            # A table may have been set as a whole before, to some of its keys.
            if not isinstance(table, dict) or (last not in table and ".".join([*path, last]) not in known):
                near = [name for name in known if name.startswith(f"{path[0]}." if path else "")]
                raise RecipeError(
                    f"there is no recipe key {key.strip()!r}; the keys are {', '.join(near or known)}"
                )
            table[last] = _parse(value.strip())
        return type(self).from_dict(tables)


def _parse(value: str) -> Any:
    """Parse a TOML value; anything else is a string, so that quotes may be omitted."""
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):  # ValueError also for an integer with too many digits
        return value


def _plain(value: Any) -> Any:
    """Convert tuples to lists at every depth, since TOML and JSON have only lists."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
