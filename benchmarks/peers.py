"""`alexnet-tk predict` and what others run, on the same pictures with the same network, as whole processes.

    make peers                                       # installs the others in .venv-peers
    python benchmarks/peers.py FOLDER [--checkpoint MODEL.PT] [--rounds 3]

ultralytics (the ONNX file, and OpenVINO's files laid out as its exporter does), timm, OpenVINO's Model API
and a plain loop of ONNX Runtime, against every form of file on every device of a machine without a GPU; fp16
is for GPUs. FOLDER holds some hundred photographs or more, and no folders, which ultralytics does not enter.
Without a checkpoint the network is untrained, which changes no speed.

At first each way answers a few pictures, then a few with an unreadable file among them. One that can't is a
line with its reason. In each round every way has its turn, in the reverse order every other time; a ratio is
that of two times of the same round. Printed are the rounds' medians, with the lowest and the highest ratio.
"""

import argparse
import csv
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import get_args

sys.path.insert(0, str(Path(__file__).parent.parent))

from alexnet_tk.benchmarking import MedianRange
from alexnet_tk.choices import Math, Precision
from alexnet_tk.errors import ExportError
from alexnet_tk.exporting import export
from alexnet_tk.inference import find
from alexnet_tk.machine import usable_cores
from benchmarks.peers_files import from_zero_to_one, openvino_files
from benchmarks.precision import VARIANTS
from benchmarks.predict import OTHERS, untrained

ROOT = Path(__file__).parent.parent
RUNS = Path(__file__).with_name("peers_runs.py")
FORMS = {name: variant for name, variant in VARIANTS.items() if variant.precision != "fp16"}
DEVICES = ("cpu", "openvino")  # among which `auto` chooses
BASELINE = "ultralytics, ONNX, batch 32"
FEW = 4  # pictures on which each way is tried
FOLDER, ANSWERS = "FOLDER", "ANSWERS"  # in a command: what is answered, and the table that is written
# All compute on the processor. Our network is for timm. No peer may ask a server, or install what it misses.
ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",
    "PYTHONPATH": str(ROOT),
    "YOLO_OFFLINE": "true",
    "YOLO_AUTOINSTALL": "false",
    "HF_HUB_OFFLINE": "1",
}


class Failed(Exception):  # noqa: N818
    """A process could not answer; the message is its last line."""


@dataclass
class Way:
    """A command that answers a folder, and what was seen of it."""

    name: str
    command: Sequence[str | Path]
    seconds: list[float] = field(default_factory=list)  # of each round's whole process
    answered: int = 0  # pictures, in the last round
    order: str = ""
    unreadable: str = ""  # what it makes of a file that is no picture

    def run(self, folder: Path, temporary: Path) -> tuple[float, dict[str, bool]]:
        """The seconds of the process, and whether each row's picture has an answer; raises `Failed`."""
        answers = temporary / "answers.csv"
        answers.unlink(missing_ok=True)
        places = {FOLDER: folder, ANSWERS: answers}
        begun = time.perf_counter()
        try:
            done = subprocess.run(
                [places.get(str(word), word) for word in self.command],
                env=os.environ | ENVIRONMENT | {"YOLO_CONFIG_DIR": str(temporary)},
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                check=False,
            )
        except FileNotFoundError:
            raise Failed(f"there is no {self.command[0]}; `make peers` makes it") from None
        seconds = time.perf_counter() - begun
        if done.returncode not in (0, 3):  # 3: `predict` names failed pictures
            raise Failed((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
        with answers.open(newline="", encoding="utf-8") as file:
            return seconds, {row["path"]: row.get("status", "ok") == "ok" for row in csv.DictReader(file)}

    def try_out(self, paths: Sequence[str], temporary: Path) -> None:
        """Answer a few pictures, and again with an unreadable file among them; raises `Failed`."""
        folder = Path(tempfile.mkdtemp(dir=temporary))
        for number, path in enumerate(paths[:FEW]):
            shutil.copy(path, folder / f"{number}{Path(path).suffix}")
        _, answers = self.run(folder, temporary)
        if list(answers.values()) != [True] * len(paths[:FEW]):
            raise Failed(f"answered {sum(answers.values())} of {len(paths[:FEW])} pictures")
        unreadable = folder / "0x.jpg"
        unreadable.write_bytes(b"no picture")
        try:
            _, answers = self.run(folder, temporary)
            said = {True: "answered", False: "named as failed", None: "left out"}
            self.unreadable = said[answers.get(str(unreadable))]
        except Failed:
            self.unreadable = "ends the run"

    def time(self, folder: Path, paths: Sequence[str], temporary: Path) -> None:
        """Note the seconds of the whole folder, and what was answered; raises `Failed`."""
        seconds, answers = self.run(folder, temporary)
        self.seconds.append(seconds)
        self.answered = sum(answers.values())
        self.order = "kept" if list(answers) == [each for each in paths if each in answers] else "changed"
        print(f"round {len(self.seconds)}: {self.name}: {seconds:.2f} s", file=sys.stderr)


def ours(checkpoint: Path, pictures: Path, temporary: Path) -> Iterator[Way]:
    """`predict` with every form of file, on every device, in every arithmetic."""
    program = Path(sys.executable).with_name("alexnet-tk")
    devices = [each for each in DEVICES if each != "openvino" or find_spec("openvino") is not None]
    for form, variant in FORMS.items():
        file = temporary / f"{form}.onnx"
        calibrate = pictures if variant.precision == "int8" else None
        try:
            export(checkpoint, file, **asdict(variant), calibrate=calibrate, verify_on=pictures)
        except ExportError as reason:
            print(f"predict, {form}: not compared: {reason}")
            continue
        for math in get_args(Math):
            for device in (*devices, "auto"):
                if math == "fast" and (device == "cpu" or variant.precision == "int8"):
                    continue  # computes as "exact" does
                options = ("--device", device, "--math", math, "--output", ANSWERS, "--overwrite")
                arithmetic = "" if math == "exact" else f", {math}"
                name = f"predict, {form}{arithmetic}, {device}"
                yield Way(name, (program, "predict", FOLDER, "--model", file, *options))


def peers(python: Path, checkpoint: Path, pictures: Path, temporary: Path) -> Iterator[Way]:
    """What others run, with the files that they read."""

    def runs(kind: str, model: Path, batch: int) -> tuple[str | Path, ...]:
        return (python, RUNS, kind, model, str(batch), FOLDER, ANSWERS)

    floats = temporary / "float.onnx"
    export(checkpoint, floats, input="float", verify_on=pictures)
    yield Way("ONNX Runtime, a plain loop", (python, OTHERS, "loop", floats, FOLDER, ANSWERS))
    yield Way("timm's reader, transforms and loader, torch, batch 32", runs("timm", checkpoint, 32))
    pixels: dict[Precision, Path] = {}
    both: tuple[Precision, ...] = ("fp32", "int8")
    for precision in both:
        file = temporary / f"pixels-{precision}.onnx"
        try:
            from_zero_to_one(checkpoint, file, pictures, precision)
            pixels[precision] = file
        except ExportError as reason:
            print(f"{precision} for ultralytics and the Model API: not compared: {reason}")
    for batch in (1, 32):
        yield Way(f"ultralytics, ONNX, batch {batch}", runs("ultralytics", pixels["fp32"], batch))
    if find_spec("openvino") is None:  # which converts
        print("OpenVINO, with which predict, ultralytics and the Model API run, too: not installed here")
        return
    for precision, file in pixels.items():
        for batch in (1, 32):
            folder = openvino_files(file, batch)
            yield Way(
                f"ultralytics, OpenVINO, {precision}, batch {batch}", runs("ultralytics", folder, batch)
            )
            if batch == 1:  # its requests are of one picture
                yield Way(f"OpenVINO's Model API, {precision}", runs("model-api", folder / "model.xml", 32))


def compare(
    ways: Sequence[Way], folder: Path, paths: Sequence[str], rounds: int, temporary: Path
) -> list[Way]:
    """The ways that work, timed; a line for each of the others. Ctrl-C leaves the rounds that are whole."""
    working = list(ways)
    whole = 0

    def attempt(work: Callable[[Way], None]) -> None:
        for way in working[:: -1 if whole % 2 else 1]:
            try:
                work(way)
            except Failed as reason:
                working.remove(way)
                print(f"{way.name}: not compared: {reason}", flush=True)

    try:
        print(f"trying {len(working)} ways with {FEW} pictures", file=sys.stderr)
        attempt(lambda way: way.try_out(paths, temporary))
        for path in paths:  # so that the first round reads from memory, too
            Path(path).read_bytes()
        while working and whole < rounds:
            attempt(lambda way: way.time(folder, paths, temporary))
            whole += 1
    except KeyboardInterrupt:
        print(f"interrupted after {whole} of {rounds} rounds", file=sys.stderr)
        for way in working:
            del way.seconds[whole:]
    return working if whole else []


def ratio(way: Way, baseline: Way) -> str:
    """How many times as fast as the baseline it is, by the times of each round."""
    found = MedianRange.of([b / a for a, b in zip(way.seconds, baseline.seconds, strict=True)])
    return f"{found.median:.2f}× ({found.low:.2f} to {found.high:.2f})"


def print_table(ways: Sequence[Way]) -> None:
    """A line for each way; then, for each form, `auto` against the fastest device."""
    baseline = next((way for way in ways if way.name == BASELINE), ways[0])
    print(f"{'':54} seconds   {'times as fast¹':22} answered   order     no picture²")
    for way in ways:
        print(f"{way.name:54} {median(way.seconds):7.2f}   {ratio(way, baseline):22}", end="")
        print(f" {way.answered:8,}   {way.order:7}   {way.unreadable}")
    print(f"¹ as {baseline.name}  ² what is made of a file that is no picture\n")
    for auto in ways:
        form, _, device = auto.name.rpartition(", ")
        named = {f"{form}, {each}" for each in DEVICES}
        if device == "auto" and (others := [way for way in ways if way.name in named]):
            fastest = min(others, key=lambda way: median(way.seconds))
            print(f"{auto.name}: {ratio(auto, fastest)} as fast as {fastest.name}, the fastest device")


def main() -> int:
    """Prepare, try, time, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="some hundred photographs or more")
    parser.add_argument("--checkpoint", type=Path, metavar="MODEL.PT", help="of the full network")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--environment", type=Path, metavar="DIR", default=ROOT / ".venv-peers", help="of `make peers`"
    )
    given = parser.parse_args()
    folder = given.folder.resolve()
    paths = find([folder]).paths
    with tempfile.TemporaryDirectory() as name:
        temporary = Path(name).resolve()
        checkpoint = given.checkpoint or temporary / "untrained.pt"
        if given.checkpoint is None:
            untrained(checkpoint)
        python = given.environment / "bin" / "python"
        ways = [*ours(checkpoint, folder, temporary), *peers(python, checkpoint, folder, temporary)]
        compared = compare(ways, folder, paths, given.rounds, temporary)
    if not compared:
        return 1
    cores = f"{usable_cores()} usable cores of {os.cpu_count()}"
    print(f"\n{len(paths):,} pictures, {cores}, {len(compared[0].seconds)} rounds\n")
    print_table(compared)
    return 0


if __name__ == "__main__":
    sys.exit(main())
