"""Whether CUDA is right and fast, in one command: prediction, LRN, training, several GPUs.

    python benchmarks/gpu.py [--minutes 9] [--output gpu.json] [--only SECTION]
    python benchmarks/gpu.py --device cpu --quick     # does it run? without a GPU, in a minute

Prints as it goes, and writes the output after every section, so that a run that is cut off still tells. What
a machine lacks is skipped with the reason. Exit code 1: an expectation failed.
"""

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch

from alexnet_tk import doctor
from benchmarks import gpu_prediction, gpu_training
from benchmarks.gpu_section import Section, Skipped, say


def machine(section: Section) -> None:
    """The GPUs, the versions, and what `doctor` says."""
    section.note("torch", f"{torch.__version__}, CUDA {torch.version.cuda}, {platform.machine()}")
    for number in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(number)
        section.note(f"cuda:{number}", f"{found.name}, {found.total_memory / 1e9:.0f} GB")
    for name, line in doctor.examine().items():
        section.note(name, line)


# Name, function, share of the time.
SECTIONS: dict[str, tuple[Callable[[Section], None], float]] = {
    "machine": (machine, 0.3),
    "answers": (gpu_prediction.answers, 1.0),
    "messages": (gpu_prediction.messages, 0.5),
    "lrn": (gpu_training.lrn, 0.5),
    "steps": (gpu_training.steps, 3.0),
    "accuracy": (gpu_training.accuracy, 1.0),
    "predict": (gpu_prediction.whole_predict, 1.0),
    "forms": (gpu_prediction.native_and_decomposed, 0.5),
    "every-gpu": (gpu_prediction.every_gpu, 0.8),
    "modes": (gpu_training.modes, 1.2),
}


def run(name: str, section: Section) -> dict[str, Any]:
    """Run a section to its end, whatever happens in it; what it leaves, as plain values."""
    say(f"== {name}: {(SECTIONS[name][0].__doc__ or '').splitlines()[0]}")
    begun = time.perf_counter()
    try:
        SECTIONS[name][0](section)
    except Skipped as reason:
        section.skip(str(reason))
    except Exception as error:
        section.failed(name, error)
    kept = {key: value for key, value in asdict(section).items() if key not in ("folder", "deadline")}
    return kept | {"seconds": round(time.perf_counter() - begun, 1)}


def main() -> int:
    """Run the sections in their order."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=9.0, help="the time of all sections, about")
    parser.add_argument("--output", type=Path, default=Path("gpu.json"), metavar="F.json")
    parser.add_argument("--only", choices=SECTIONS, metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, whose figures mean nothing")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        from alexnet_tk.training.device import why_no_cuda

        say(f"{why_no_cuda()}; --device cpu --quick shows that the benchmark runs", file=sys.stderr)
        return 1
    names = [given.only] if given.only else list(SECTIONS)
    end = time.monotonic() + 60 * given.minutes
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for position, name in enumerate(names):
            # What a section leaves of its time is shared by those after it.
            share = SECTIONS[name][1] / sum(SECTIONS[each][1] for each in names[position:])
            deadline = time.monotonic() + share * (end - time.monotonic())
            results[name] = run(name, Section(given.device, given.quick, Path(folder), deadline))
            given.output.write_text(json.dumps(results, indent=1, default=str) + "\n", encoding="utf-8")
    failures = [f"{name}: {each}" for name, result in results.items() for each in result["failures"]]
    say(f"{given.output}: {len(results)} sections, {len(failures)} failures")
    for each in failures:
        say(f"  {each}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
