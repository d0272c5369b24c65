"""How much memory an export takes beyond loading its checkpoint.

    python benchmarks/export_memory.py model.pt [--pictures DIR]

Each form is exported by a process of its own, whose largest resident set is told by the system. A form
that fails its proof has taken its memory all the same.
"""

import argparse
import multiprocessing
import resource
import tempfile
from pathlib import Path

from alexnet_tk.errors import ExportError
from alexnet_tk.export import Form, export
from alexnet_tk.training.checkpoint import Checkpoint

FORMS = (
    Form("fp32", "native"),
    Form("fp32", "decomposed"),
    Form("fp16", "decomposed"),
    Form("int8", "decomposed"),
)


def peak(task: tuple[Path, Form | None, Path | None]) -> int:
    """The most memory of this process, bytes, once it has loaded a checkpoint or exported it in a form."""
    checkpoint, form, pictures = task
    if form is None:
        Checkpoint.load(checkpoint)
    else:
        calibrate = pictures if form.precision == "int8" else None
        with tempfile.TemporaryDirectory() as folder:
            try:
                export(checkpoint, Path(folder) / "model.onnx", form, calibrate=calibrate, verify_on=pictures)
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
    given = parser.parse_args()
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        loaded, *exported = pool.map(
            peak, [(given.checkpoint, form, given.pictures) for form in (None, *FORMS)], chunksize=1
        )
    print(f"loaded                {loaded / 1e9:5.2f} GB")
    for form, most in zip(FORMS, exported, strict=True):
        print(f"{form.precision}, {form.lrn:14}  {most / 1e9:5.2f} GB   +{(most - loaded) / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
