"""Whether CUDA is right and fast, in one command: prediction, LRN, training, several GPUs.

    python benchmarks/gpu.py [--minutes 9] [--output gpu.json] [--only SECTION]
    python benchmarks/gpu.py --device cpu --quick     # does it run? without a GPU, in a minute

Prints as it goes, and writes the output after every section, so that a run that is cut off still tells. What
a machine lacks is skipped with the reason. Exit code 1: an expectation failed; 130: Ctrl-C.
"""

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.gpu_section import Section, Skipped, gpus, say


def machine(section: Section) -> None:
    """The GPUs, the versions, and what `doctor` says."""
    from alexnet_tk import doctor

    section.note("GPUs that the driver finds", gpus())
    with section.part("torch"):
        import torch

        section.note("torch", f"{torch.__version__}, CUDA {torch.version.cuda}, {platform.machine()}")
        for number in range(torch.cuda.device_count()):
            found = torch.cuda.get_device_properties(number)
            section.note(f"cuda:{number}", f"{found.name}, {found.total_memory / 1e9:.0f} GB")
    for name, line in doctor.examine().items():
        section.note(name, line)


# Where the function is, and its share of the time. A section's imports happen in its turn: what is not
# installed stops no other.
SECTIONS: dict[str, tuple[str, float]] = {
    "machine": ("benchmarks.gpu:machine", 0.3),
    "answers": ("benchmarks.gpu_prediction:answers", 1.2),
    "messages": ("benchmarks.gpu_prediction:messages", 0.5),
    "lrn": ("benchmarks.gpu_lrn:lrn", 0.4),
    "steps": ("benchmarks.gpu_training:steps", 3.4),
    "accuracy": ("benchmarks.gpu_training:accuracy", 1.0),
    "predict": ("benchmarks.gpu_prediction:whole_predict", 0.8),
    "forms": ("benchmarks.gpu_prediction:native_and_decomposed", 0.5),
    "every-gpu": ("benchmarks.gpu_prediction:every_gpu", 0.6),
    "modes": ("benchmarks.gpu_modes:modes", 1.2),
}


def run(name: str, section: Section) -> dict[str, Any]:
    """Run a section to its end, whatever happens in it; what it leaves, as plain values."""
    begun = time.perf_counter()
    try:
        with section.part(name):
            function = resolve_name(SECTIONS[name][0])
            say(f"== {name}: {(function.__doc__ or '').splitlines()[0]}")
            if section.device == "cuda" and not gpus():
                raise Skipped("the NVIDIA driver finds no GPU, or there is none")
            function(section)
    except Skipped as reason:
        section.skip(str(reason))
    return left_by(section, begun)


def left_by(section: Section, begun: float) -> dict[str, Any]:
    """What a section has measured so far, as plain values."""
    kept = {key: value for key, value in asdict(section).items() if key not in ("folder", "deadline")}
    return kept | {"seconds": round(time.perf_counter() - begun, 1)}


def summary(results: dict[str, dict[str, Any]]) -> str:
    """How many expectations failed, and what was not looked at."""
    skipped = sum(len(result["skipped"]) for result in results.values())
    left_out = [f"{name}, {each}" for name, result in results.items() for each in result["out_of_time"]]
    failures = sum(len(result["failures"]) for result in results.values())
    line = f"{len(results)} sections, {failures} failures, {skipped} skipped, {len(left_out)} not compared"
    return f"{line}: {'; '.join(left_out)}" if left_out else line


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
    if given.device == "cuda" and not gpus():
        why = "the NVIDIA driver finds no GPU, or there is none (`nvidia-smi`)"
        say(f"{why}; --device cpu --quick shows that the benchmark runs", file=sys.stderr)
        return 1
    if given.device == "cpu" and given.quick:  # tiny work, for which threads only wait on each other
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    names = [given.only] if given.only else list(SECTIONS)
    end = time.monotonic() + 60 * given.minutes
    results: dict[str, Any] = {}
    interrupted = False
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for position, name in enumerate(names):
            # What a section leaves of its time is shared by those after it.
            share = SECTIONS[name][1] / sum(SECTIONS[each][1] for each in names[position:])
            deadline = time.monotonic() + share * (end - time.monotonic())
            section, begun = Section(given.device, given.quick, Path(folder), deadline), time.perf_counter()
            try:
                results[name] = run(name, section)
            except KeyboardInterrupt:
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would end this in a traceback
                results[name], interrupted = left_by(section, begun), True
            given.output.write_text(json.dumps(results, indent=1, default=str) + "\n", encoding="utf-8")
            if interrupted:
                break
    if interrupted:
        say(f"interrupted in {name}; {given.output} has {summary(results)}", file=sys.stderr)
        return 130
    say(f"{given.output}: {summary(results)}")
    failures = [f"{name}: {each}" for name, result in results.items() for each in result["failures"]]
    for each in failures:
        say(f"  {each}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
