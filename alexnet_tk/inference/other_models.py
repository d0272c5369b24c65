"""ONNX classifiers from elsewhere, whose files name neither their labels nor their preprocessing."""

import codecs
import tomllib
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from alexnet_tk import zoo
from alexnet_tk.choices import Math
from alexnet_tk.errors import InputError, ModelError, RecipeError
from alexnet_tk.inference.model import Input, Model
from alexnet_tk.inference.runtime import TYPES, own_metadata
from alexnet_tk.inference.session_pool import as_one, open_sessions
from alexnet_tk.preprocess import Preprocess
from alexnet_tk.recipe import PreprocessRecipe
from alexnet_tk.tables import from_table

# The model in models/ whose preprocessing a name stands for.
NAMED = {"imagenet": "torchvision-alexnet", "caffe": "caffenet"}
# Of several outputs with as many numbers as there are labels, in this order.
OUTPUT_NAMES = ("probabilities", "probs", "softmax", "prob", "logits", "scores", "output")
FLOATS = ("tensor(float)", "tensor(float16)", "tensor(double)")


@dataclass(frozen=True)
class GivenPreprocess:
    """The preprocessing that --preprocess stands for."""

    preprocess: Preprocess  # its crop is 0 where none is given
    source: str  # the name or the file that was given


def read_preprocess(name_or_file: str) -> GivenPreprocess:
    """The preprocessing that "imagenet" (torchvision's) or "caffe" stands for, or that of a TOML file.

    The file holds the keys of a recipe's `[preprocess]`, with or without that line, and may hold `crop`.

    Raises
    ------
    RecipeError
        no such file, an unknown key, a value of the wrong type, no mean

    """
    if name_or_file in NAMED:
        recipe = zoo.recipe(NAMED[name_or_file])
        mean = recipe.preprocess.mean
        assert not isinstance(mean, str), "recipes of public weights have numbers"
        return GivenPreprocess(recipe.resolve(mean), name_or_file)
    try:
        table: dict[str, Any] = tomllib.loads(Path(name_or_file).read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(
            f"--preprocess {name_or_file} can't be read ({error.strerror}); it takes imagenet, caffe or a "
            "TOML file"
        ) from error
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"--preprocess {name_or_file} is not TOML: {error}") from error
    table = table.get("preprocess", table)
    crop = table.pop("crop", 0) if isinstance(table, dict) else 0
    if type(crop) is not int or crop < 0:
        raise RecipeError(f"--preprocess {name_or_file}: crop is {crop!r}; it must be a number of pixels")
    try:
        recipe_table = from_table(PreprocessRecipe, table, "preprocess.")
    except RecipeError as error:
        raise RecipeError(f"--preprocess {name_or_file}: {error}") from error
    if isinstance(recipe_table.mean, str):
        raise RecipeError(
            f"--preprocess {name_or_file} has no mean; give three numbers, red, green and blue, 0..255"
        )
    preprocess = Preprocess(
        recipe_table.resize,
        crop,
        recipe_table.filter,
        recipe_table.channel_order,
        recipe_table.mean,
        recipe_table.std,
    )
    return GivenPreprocess(preprocess, name_or_file)


def read_labels(file: Path) -> list[str]:
    """The labels of the outputs, in order, from a file with one on each line; raises `InputError`.

    It is UTF-8, or UTF-16 with a byte order mark, as Windows PowerShell's `>` writes it.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"--labels {file} can't be read: {error.strerror}") from error
    is_utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        labels = content.decode("utf-16" if is_utf_16 else "utf-8-sig").replace("\r\n", "\n").split("\n")
    except ValueError as error:
        raise InputError(f"--labels {file} is not UTF-8 text; write one label on each line") from error
    while labels and not labels[-1].strip():
        labels.pop()
    return labels


def open_other_model(
    path: Path,
    device: str,
    labels: list[str],
    given: GivenPreprocess,
    math: Math = "exact",
    output: str | None = None,
    latency: bool = False,
) -> Model:
    """Open a classifier that another tool made.

    It takes a batch of pictures, or one, as uint8, float16 or float32, (batch, 3, S, S) or (batch, S, S, 3).
    One of its outputs holds a number for each label: the `output` of this name, else see `_output`; where
    these are not all between 0 and 1, as those of a softmax or of sigmoids are, a softmax makes them so.

    Raises
    ------
    ModelError
        the file is one of ours, takes something else, has another number of outputs than there are labels,
        or no such `output`
    DeviceError, MissingExtraError
        as `open_sessions`

    """
    sessions, chosen = open_sessions(
        path, device, math, given.preprocess.crop, is_ours=False, latency=latency
    )
    session = sessions[0]
    if own_metadata(session):
        raise ModelError(f"{path} has its own labels and preprocessing; leave out --labels and --preprocess")
    takes, size, batch = _input(path, session, given)
    preprocess = given.preprocess.with_crop(size)
    if given.source in NAMED and not given.preprocess.crop <= size <= given.preprocess.resize:
        # A crop of 32×32 out of 256×256 would be answered, and wrongly.
        raise ModelError(
            f"{path} takes pictures of {size}×{size}, and --preprocess {given.source} stands for "
            f"{given.preprocess.crop}×{given.preprocess.crop}; give FILE.toml with resize, mean and std"
        )
    if size > given.preprocess.resize:
        raise ModelError(
            f"{path} takes pictures of {size}×{size}, more than --preprocess {given.source} scales them to; "
            f"give it a resize of at least {size}"
        )
    name = _output(path, session, len(labels), output)
    model = Model(as_one(sessions), chosen, labels, preprocess, takes, batch, {}, name)
    return _with_softmax(path, model)


def _input(
    path: Path, session: ort.InferenceSession, given: GivenPreprocess
) -> tuple[Input, int, int | None]:
    """What the file takes, the side of a picture, and the only batch size if there is one."""
    inputs = session.get_inputs()
    shape, kind = inputs[0].shape, inputs[0].type
    if len(inputs) != 1 or kind not in TYPES or len(shape) != 4 or 3 not in (shape[1], shape[3]):
        shown = _shown(inputs)
        raise ModelError(
            f"{path} takes {shown}; a classifier of pictures takes one input, uint8 or float, of the shape "
            "(batch, 3, side, side) or (batch, side, side, 3)"
        )
    layout, sides = ("NCHW", shape[2:]) if shape[1] == 3 else ("NHWC", shape[1:3])
    sizes = {each for each in sides if isinstance(each, int)} or {given.preprocess.crop}
    if len(sizes) > 1:
        raise ModelError(f"{path} takes pictures of {sides[1]}×{sides[0]}; only squares are cut out here")
    size = sizes.pop()
    if size < 1:
        raise ModelError(f"{path} takes pictures of any size; --preprocess {given.source} must say crop = S")
    order, mean, std = given.preprocess.channel_order, given.preprocess.mean, given.preprocess.std
    takes = Input(inputs[0].name, kind, layout, order, mean, std)  # type: ignore[arg-type]
    return takes, size, shape[0] if isinstance(shape[0], int) else None


def _output(path: Path, session: ort.InferenceSession, num_labels: int, asked: str | None) -> str:
    """The name of the output with a number for each label; of several, the one whose name says so."""
    outputs = session.get_outputs()
    shown = _shown(outputs)
    floats = [each for each in outputs if each.type in FLOATS]
    sizes = {each.name: _numbers(each.shape) for each in floats}
    if asked is not None and asked not in sizes:
        raise ModelError(f"{path} has no output {asked!r} of floats; --outputs takes one of {_shown(floats)}")
    if asked is not None:
        return asked
    if len(outputs) == 1:
        if not sizes:
            name, kind = outputs[0].name, outputs[0].type
            raise ModelError(f"{path} gives {name} as {kind}; a classifier gives floats, one for each label")
        return str(outputs[0].name)
    fitting = [name for name, size in sizes.items() if size == num_labels]
    fitting = fitting or [name for name, size in sizes.items() if size is None]
    if sizes and not fitting:
        raise ModelError(f"{path} has no output of {num_labels:,} numbers, one for each label: {shown}")
    named = [name for known in OUTPUT_NAMES for name in fitting if name.lower() == known][:1]
    chosen = fitting if len(fitting) == 1 else named
    if len(chosen) != 1:
        raise ModelError(
            f"{path} has {len(outputs)} outputs, {shown}, and none of them is clearly the one for the "
            f"{num_labels:,} labels; name it with --outputs"
        )
    return str(chosen[0])


def _shown(values: list[ort.NodeArg]) -> str:
    """Inputs or outputs with their types and shapes."""
    return ", ".join(f"{each.name} {each.type} {each.shape}" for each in values)


def _numbers(shape: list[int | str | None]) -> int | None:
    """How many numbers an output holds for a picture, where the file says so."""
    sides = [each for each in shape[1:] if isinstance(each, int)]
    return prod(sides) if len(sides) == len(shape) - 1 else None


def _with_softmax(path: Path, model: Model) -> Model:
    """The model with a softmax, unless its outputs for black, white and noise all lie between 0 and 1."""
    size = model.image_size
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    probe = np.stack([np.zeros_like(noise), np.full_like(noise, 255), noise])
    answers = model.run(probe)
    if answers.shape != (3, len(model.labels)):
        raise ModelError(
            f"{path} gives {answers.shape[1]:,} numbers for a picture, and there are {len(model.labels):,} "
            "labels; give --labels a file with one label on each line, in the order of the network's outputs"
        )
    # A network that divides by a picture's deviation gives no numbers for black and white.
    answers = answers[np.isfinite(answers).all(axis=1)]
    return replace(model, softmax=not bool(((answers >= 0) & (answers <= 1 + 1e-3)).all()))
