"""The memory that an export takes beyond loading its checkpoint.

    python benchmarks/export_memory.py model.pt [--pictures DIR]

Each variant is exported by a process of its own, whose largest resident set the system reports. A variant
that fails its verification has taken its memory all the same.
"""

import argparse
import multiprocessing
import resource
import tempfile
from dataclasses import asdict
from pathlib import Path

from alexnet_tk.errors import ExportError
from alexnet_tk.exporting import export
from alexnet_tk.exporting.graph import Variant
from alexnet_tk.training.checkpoint import Checkpoint

VARIANTS = (
    Variant("fp32", "native"),
    Variant("fp32", "decomposed"),
    Variant("fp16", "decomposed"),
    Variant("int8", "decomposed"),
)


def peak(task: tuple[Path, Variant | None, Path | None]) -> int:
    """This process's peak memory in bytes after loading a checkpoint or exporting a variant of it."""
    checkpoint, variant, pictures = task
    if variant is None:
        Checkpoint.load(checkpoint)
    else:
        calibrate = pictures if variant.precision == "int8" else None
        with tempfile.TemporaryDirectory() as folder:
            try:
                output = Path(folder) / "model.onnx"
                export(checkpoint, output, **asdict(variant), calibrate=calibrate, verify_on=pictures)
            except ExportError as error:
                print(error)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, metavar="MODEL.PT")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="for a model of other pictures")
    arguments = parser.parse_args()
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        loaded, *exported = pool.map(
            peak,
            [(arguments.checkpoint, variant, arguments.pictures) for variant in (None, *VARIANTS)],
            chunksize=1,
        )
    print(f"loaded                {loaded / 1e9:5.2f} GB")
    for variant, memory in zip(VARIANTS, exported, strict=True):
        print(
            f"{variant.precision}, {variant.lrn:14}  {memory / 1e9:5.2f} GB   "
            f"+{(memory - loaded) / 1e9:.2f} GB"
        )


if __name__ == "__main__":
    main()
