"""What the sections of benchmarks/gpu.py compute with: networks, ONNX files, and pictures."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alexnet_tk.choices import LrnForm, Precision
from alexnet_tk.preprocess import Preprocess
from benchmarks.gpu_section import Section

if TYPE_CHECKING:
    from alexnet_tk.network.alexnet import AlexNet

# All eight layers and both towers, small enough for a CPU.
TINY = (
    "network.image_size=40",
    "network.channels=[8,16,16,16,8]",
    "network.hidden=[16,16]",
    "network.c1={kernel=5,stride=2,padding=2}",
    "preprocess.resize=44",
)
QUICK_RUN = ("train.epochs=2", "train.batch_size=16")
LABELS = 5  # so that export's comparison of the five best labels can't fail by two that are nearly equal
# The standard deviation over pictures of each class's logit: wide enough for different answers, narrow enough
# that half precision changes a probability by less than 1e-3.
LOGIT_SPREAD = 0.3
DISTINCT_JPEGS = 13  # prime, so that no two batches of a folder are the same pictures in the same order
CLASSES = 8  # of `few_pictures`: one for each of 8 processes that share the last layer

# In the order of their weight for GPUs, so that a run that is cut off has compared the two most different.
FORMS: dict[str, tuple[Precision, LrnForm]] = {
    "fp32 native": ("fp32", "native"),
    "fp16 decomposed": ("fp16", "decomposed"),
    "fp32 decomposed": ("fp32", "decomposed"),
    "fp16 native": ("fp16", "native"),
}


def settings(section: Section) -> tuple[str, ...]:
    """Settings of the recipe alexnet-2012 for networks that start from random weights."""
    return ("network.init=he", *(TINY if section.quick else ()))


def colours(random: np.random.Generator, width: int, height: int) -> NDArray[np.uint8]:
    """A picture (height, width, 3) of soft patches in random colours, which differ much between pictures."""
    patches = Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    return np.asarray(patches.resize((width, height)))


def pictures(count: int, side: int, seed: int) -> NDArray[np.uint8]:
    """`count` different pictures, (N, S, S, 3)."""
    random = np.random.default_rng(seed)
    return np.stack([colours(random, side, side) for _ in range(count)])


def jpegs(section: Section, count: int) -> Path:
    """A folder of `count` JPEGs of photographs' size, of which `DISTINCT_JPEGS` differ."""
    folder = section.folder / f"{count} pictures"
    if not folder.exists():
        folder.mkdir()
        random = np.random.default_rng(0)
        for number in range(count):
            path = folder / f"{number:05}.jpg"
            if number < DISTINCT_JPEGS:
                noise = random.normal(0, 12, (375, 500, 3))  # photographs' work for a decoder
                pixels = (colours(random, 500, 375) + noise).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(path, quality=90)
            else:
                path.write_bytes((folder / f"{number % DISTINCT_JPEGS:05}.jpg").read_bytes())
    return folder


def few_pictures(section: Section) -> Path:
    """A folder of 64 training and 16 validation pictures in `CLASSES`, for runs that show nothing."""
    folder = section.folder / "few"
    random = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 2)):
        for number in range(CLASSES * count):
            path = folder / split / f"class {number % CLASSES}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (48, 48, 3), dtype=np.uint8)).save(path)
    return folder


def untrained(section: Section, *extra: str, varied: bool = True) -> Path:
    """A checkpoint of random weights, whose last layer is scaled so that answers differ between pictures.

    Random weights alone (`varied` false) give every picture the same answer by so wide a margin that no
    error changes it, which suits a file that only has to survive int8.
    """
    from alexnet_tk import zoo
    from alexnet_tk.network.alexnet import AlexNet
    from alexnet_tk.training.checkpoint import Checkpoint
    from alexnet_tk.training.statistics import Statistics

    path = section.folder / f"untrained{len(extra)}.pt"
    recipe = zoo.recipe("alexnet-2012").override(*settings(section), "preprocess.std=[58,57,57]", *extra)
    axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    statistics = Statistics((123.0, 117.0, 104.0), (1.0, 1.0, 1.0), axes)
    preprocess = recipe.resolve(statistics.mean)
    network = AlexNet(recipe.network, LABELS)
    network.initialise(0)
    if varied:
        vary_answers(network, preprocess)
    names = [f"label {i}" for i in range(LABELS)]
    Checkpoint(recipe, names, statistics, dict(network.state_dict())).save(path)
    return path


def vary_answers(network: "AlexNet", preprocess: Preprocess) -> None:
    """Scale the last layer so that each class's logit has the mean 0 and `LOGIT_SPREAD` over pictures."""
    import torch

    from alexnet_tk.network.alexnet import normalise

    x = normalise(
        torch.from_numpy(pictures(64, preprocess.crop, seed=0)),
        torch.tensor(preprocess.mean),
        torch.tensor(preprocess.std),
        preprocess.channel_order,
    )
    with torch.no_grad():
        logits = network(x)  # (64, LABELS)
        scale = LOGIT_SPREAD / logits.std(0)
        network.f8.weight.mul_(scale[:, None])
        network.f8.bias.copy_((network.f8.bias - logits.mean(0)) * scale)


def forms(section: Section) -> list[str]:
    """The names of the ONNX files that `exported` makes."""
    return list(FORMS)[: 2 if section.quick else None]


def exported(section: Section, form: str) -> Path:
    """An ONNX file of the untrained network; made when it is first asked for."""
    precision, lrn = FORMS[form]
    path = section.folder / f"{precision}-{lrn}.onnx"
    if not path.exists():
        from alexnet_tk.exporting import export

        checkpoint = section.folder / "untrained0.pt"
        if not checkpoint.exists():
            untrained(section)
        # The section compares hundreds of pictures; export need not.
        export(checkpoint, path, precision=precision, lrn=lrn, verify_on=jpegs(section, DISTINCT_JPEGS))
    return path
