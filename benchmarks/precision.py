"""Size, speed and agreement with the checkpoint of each variant of an exported file.

    alexnet-tk train --recipe own-pictures --set train.epochs=2 --output full.pt    # the full network
    python benchmarks/precision.py full.pt [--accuracy DATA]

Exports every variant (one that fails its verification is printed and left out), then times them on the CPU in
turn, so that a drift of the machine's speed affects all alike. Speeds are medians, by the processor's time on
one core, which a busy machine changes little; agreement is what `export` found. Where OpenVINO is installed,
a second table compares it with ONNX Runtime, in exact and in fast arithmetic; differences are those of the
answers for at most 1,000 pictures of --verify-on, or for the built-in ones. With --accuracy every variant is
evaluated on all pictures of a folder, too.
"""

import argparse
import tempfile
import time
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from alexnet_tk import images, sample
from alexnet_tk.choices import Math
from alexnet_tk.errors import ExportError
from alexnet_tk.evaluation import Evaluation, evaluate
from alexnet_tk.exporting import Verification, export
from alexnet_tk.exporting.graph import Variant
from alexnet_tk.found import evenly_spaced
from alexnet_tk.inference import find
from alexnet_tk.inference.model import Model, open_model

VARIANTS = {
    "fp32": Variant(),
    "fp32, decomposed": Variant(lrn="decomposed"),
    "fp16": Variant("fp16"),
    "fp16, decomposed": Variant("fp16", "decomposed"),
    "int8": Variant("int8"),
    "int8, decomposed": Variant("int8", "decomposed"),
}
ROUNDS = {1: 30, 32: 7}  # by batch size


def speeds(models: dict[str, Model], batch: int, rounds: int) -> dict[str, float]:
    """The median pictures/s of each variant."""
    size = next(iter(models.values())).image_size
    pictures = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for number in range(-1, rounds):
        for name, model in models.items():
            started = time.process_time()
            model.run(pictures)
            if number >= 0:  # the first round warms up
                seconds[name].append(time.process_time() - started)
    return {name: batch / median(values) for name, values in seconds.items()}


def some_pictures(folder: Path | None, model: Model) -> NDArray[np.uint8]:
    """As the network takes them, uint8 (N, S, S, 3)."""
    if folder is None:
        return np.stack([images.load(each, model.preprocess) for each in sample.pictures("val")[0]])
    paths = find([folder]).paths
    chosen = [paths[i] for i in evenly_spaced(len(paths), 1_000)]
    return np.stack([images.load(each, model.preprocess) for each in chosen])


def compare_openvino(paths: dict[str, Path], models: dict[str, Model], folder: Path | None) -> None:
    """Print what OpenVINO changes in speed and answers of each variant."""
    print("\nOpenVINO, against ONNX Runtime with the same file")
    columns = "".join(f"   speed at {batch:2}" for batch in ROUNDS)
    print(f"{'variant':18} arithmetic{columns}   largest difference   top-1 agrees")
    pictures = some_pictures(folder, next(iter(models.values())))
    for name, model in models.items():
        maths: tuple[Math, ...] = ("exact", "fast")
        opened: dict[str, Model] = {math: open_model(paths[name], "openvino", math) for math in maths}
        rates = [speeds(opened | {"onnxruntime": model}, *setting) for setting in ROUNDS.items()]
        batches = [pictures[start : start + 32] for start in range(0, len(pictures) - 31, 32)]
        expected = np.concatenate([model.run(each) for each in batches])
        for math, other in opened.items():
            if math == "fast" and other.device.arithmetic == "exact":
                continue
            answers = np.concatenate([other.run(each) for each in batches])
            print(f"{name:18} {other.device.arithmetic:10}", end="")
            for rate in rates:
                print(f"   {rate[math] / rate['onnxruntime']:10.2f}×", end="")
            agrees = (answers.argmax(axis=1) == expected.argmax(axis=1)).mean()
            print(f"   {np.abs(answers - expected).max():18.1e}   {agrees:.1%} of {len(answers):,}")


def main() -> None:
    """Export, time and print the variants."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, metavar="MODEL.PT")
    parser.add_argument("--calibrate", type=Path, metavar="DIR", help="for a model of other pictures")
    parser.add_argument("--verify-on", type=Path, metavar="DIR", help="the same")
    parser.add_argument("--accuracy", type=Path, metavar="DATA", help="class folders to evaluate on")
    arguments = parser.parse_args()
    models: dict[str, Model] = {}
    verifications: dict[str, Verification] = {}
    megabytes: dict[str, float] = {}
    accuracies: dict[str, Evaluation] = {}
    paths: dict[str, Path] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, variant in VARIANTS.items():
            path = Path(folder) / f"{name}.onnx"
            calibrate = arguments.calibrate if variant.precision == "int8" else None
            try:
                verifications[name] = export(
                    arguments.checkpoint,
                    path,
                    **asdict(variant),
                    calibrate=calibrate,
                    verify_on=arguments.verify_on,
                )
            except ExportError as error:
                print(f"{name}: {error}")
                continue
            megabytes[name] = path.stat().st_size / 1e6
            models[name], paths[name] = open_model(path, "cpu"), path
            if arguments.accuracy is not None:
                accuracies[name] = evaluate(path, arguments.accuracy, device="cpu")
        rates = {batch: speeds(models, batch, rounds) for batch, rounds in ROUNDS.items()}
        print_variants(models, verifications, megabytes, rates, accuracies)
        if find_spec("openvino") is not None:
            compare_openvino(paths, models, arguments.verify_on)


def print_variants(
    models: dict[str, Model],
    verifications: dict[str, Verification],
    megabytes: dict[str, float],
    rates: dict[int, dict[str, float]],
    accuracies: dict[str, Evaluation],
) -> None:
    """The table of the variants in ONNX Runtime."""
    columns = "".join(f"   /s at {batch:2}   of fp32" for batch in ROUNDS)
    print(f"{'variant':18}     MB   of fp32 {columns}   top-1 agrees, of pictures", end="")
    print("   top-1    top-5" if accuracies else "")
    for name in models:
        print(f"{name:18} {megabytes[name]:6.1f}   {megabytes[name] / megabytes['fp32']:6.1%} ", end="")
        for rate in rates.values():
            print(f"   {rate[name]:7.1f}   {rate[name] / rate['fp32']:6.2f}×", end="")
        print(f"   {verifications[name].top1_agreement:12.1%}, {verifications[name].pictures:11,}", end="")
        found = accuracies.get(name)
        print("" if found is None else f"   {found.top1.fraction:6.2%}   {found.top5.fraction:6.2%}")


if __name__ == "__main__":
    main()
