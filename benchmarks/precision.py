"""What each form of an exported file weighs, how fast it answers, and how often as the checkpoint does.

    alexnet-tk train --recipe own-pictures --set train.epochs=2 --output full.pt    # the full network
    python benchmarks/precision.py full.pt

Exports every form (a miss of its proof is told, and the others go on), then times them on the CPU in turn, so
that a machine whose speed drifts treats them alike; medians. Agreement is what `export` found.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from alexnet_tk.errors import ExportError
from alexnet_tk.export import Form, export
from alexnet_tk.export.verify import Verification
from alexnet_tk.inference.model import Model, open_model

FORMS = {
    "fp32": Form(),
    "fp32, decomposed": Form(lrn="decomposed"),
    "fp16": Form("fp16"),
    "fp16, decomposed": Form("fp16", "decomposed"),
    "int8": Form("int8"),
    "int8, decomposed": Form("int8", "decomposed"),
}
BATCHES = {1: 30, 32: 7}  # batch size: rounds


def speeds(models: dict[str, Model], batch: int, rounds: int) -> dict[str, float]:
    """Pictures a second, by form."""
    size = next(iter(models.values())).image_size
    pictures = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for counted in range(-1, rounds):
        for name, model in models.items():
            begun = time.perf_counter()
            model.run(pictures)
            if counted >= 0:
                seconds[name].append(time.perf_counter() - begun)
    return {name: batch / median(each) for name, each in seconds.items()}


def main() -> None:
    """Export, time, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, metavar="MODEL.PT")
    parser.add_argument("--calibrate", type=Path, metavar="DIR", help="for a model of other pictures")
    parser.add_argument("--verify-on", type=Path, metavar="DIR", help="the same")
    given = parser.parse_args()
    models: dict[str, Model] = {}
    proofs: dict[str, Verification] = {}
    megabytes: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, form in FORMS.items():
            path = Path(folder) / f"{name}.onnx"
            calibrate = given.calibrate if form.precision == "int8" else None
            try:
                proofs[name] = export(
                    given.checkpoint, path, form, calibrate=calibrate, verify_on=given.verify_on
                )
            except ExportError as error:
                print(f"{name}: {error}")
                continue
            megabytes[name] = path.stat().st_size / 1e6
            models[name] = open_model(path, "cpu")
        found = {batch: speeds(models, batch, rounds) for batch, rounds in BATCHES.items()}
    columns = "".join(f"   /s at {batch:2}   of fp32" for batch in BATCHES)
    print(f"{'form':18}     MB   of fp32 {columns}   top-1 agrees, of pictures")
    for name in models:
        print(f"{name:18} {megabytes[name]:6.1f}   {megabytes[name] / megabytes['fp32']:6.1%} ", end="")
        for each in found.values():
            print(f"   {each[name]:7.1f}   {each[name] / each['fp32']:6.2f}×", end="")
        print(f"   {proofs[name].top1_agreement:12.1%}, {proofs[name].pictures:,}")


if __name__ == "__main__":
    main()
