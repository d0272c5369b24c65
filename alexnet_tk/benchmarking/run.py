"""Models and perhaps pictures in, figures out, in rounds.

In each round every setting has its turn, and of two models one comes right after the other, the next time in
the other order. So what changes meanwhile, a warm processor or a busy neighbour, favours neither,
and shows in the intervals.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from alexnet_tk import images
from alexnet_tk.benchmarking.figures import Batches, Benchmark, Estimate, Folder
from alexnet_tk.benchmarking.measure import decoding_alone, limit, network_alone
from alexnet_tk.errors import InputError, OutputError, PictureError, UsageError, counted
from alexnet_tk.files import refuse_existing, replacing
from alexnet_tk.inference.classify import Classifier
from alexnet_tk.inference.machine import forget_peak_memory, peak_memory, usable_cores
from alexnet_tk.inference.model import Model
from alexnet_tk.inference.predict import predict
from alexnet_tk.inference.sources import find
from alexnet_tk.opening import opened

BATCH_SIZES = (1, 8, 32)
CUDA_BATCH_SIZES = (*BATCH_SIZES, 128)
ROUNDS = 11  # odd, see `Estimate`
SECONDS = 25.0  # of all rounds; a setting's turn is one run at least
FOLDER_ROUNDS = 9
FOLDER_SECONDS = 1.0  # of `predict` in a round, about
MOST_PICTURES = 1_000
UNSTEADY = 0.3  # of a median: the rounds of an idle machine differ by half of it at most


@dataclass(frozen=True)
class _Opened:
    """A model on a device, with its settings."""

    model: Model
    batches: list[Batches]


def benchmark(
    model: Path,
    folder: Path | None = None,
    *,
    compare: Path | None = None,
    output: Path | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda message: None,
) -> Benchmark:
    """Measure how fast a model answers: on the CPU, and on CUDA where it is proven to work.

    Parameters
    ----------
    model, compare
        checkpoints or ONNX files; the second is measured in turn with the first
    folder
        pictures on which `predict` is measured, too: at most 1,000 of them, evenly spread
    output
        a .json file for everything
    overwrite
        replace an output that exists
    say
        is told what happens

    Raises
    ------
    UsageError
        an output with another ending, a model compared with itself
    CheckpointError, ModelError
        a model that can't be used
    InputError
        no picture that can be read
    OutputError
        the output exists or can't be written

    """
    models = [model] if compare is None else [model, compare]
    _refuse(models, output, overwrite)
    paths = _some(folder) if folder is not None else []
    found = Benchmark(usable_cores())
    with ExitStack() as stack:
        several = [each for path in models for each in _open(path, stack, say)]
        if paths and not any(_can_be_read(path, several[0].model) for path in paths):
            raise InputError(f"{counted(len(paths), 'picture')} and none can be read, such as {paths[0]}")
        found.batches = [batches for each in several for batches in each.batches]
        _measure_batches(several, say)
        if paths:
            _measure_folder(found, several, paths, say)
    measured = [each.rates for each in found.batches] + [each.rates for each in found.folders]
    rates = [Estimate.of(each) for each in measured]
    if (widest := max((each.high - each.low) / each.median for each in rates)) > UNSTEADY:
        say(
            f"rounds differ by up to {widest:.0%}: the machine does other work; run it again when it does not"
        )
    if output is not None:
        with replacing(output) as part:
            part.write_text(json.dumps(found.to_dict(), indent=1) + "\n", encoding="utf-8")
    return found


def _refuse(models: Sequence[Path], output: Path | None, overwrite: bool) -> None:
    if len(models) == 2 and models[0] == models[1]:
        raise UsageError(f"--compare {models[1]} is the model itself; name another, or a copy of it")
    if output is None:
        return
    if output.suffix.lower() != ".json":
        raise UsageError(f"--output {output} does not end in .json")
    if any(each.exists() and output.exists() and output.samefile(each) for each in models):
        raise OutputError(f"{output} is the model itself; name another --output")
    refuse_existing(output, overwrite)


def _some(folder: Path) -> list[str]:
    """At most `MOST_PICTURES` of the folder, evenly spread."""
    paths = find([folder]).paths
    if not paths:
        raise InputError(f"no pictures in {folder}; endings such as .jpg and .png count in folders")
    count = min(len(paths), MOST_PICTURES)
    return [paths[i * len(paths) // count] for i in range(count)]


def _open(path: Path, stack: ExitStack, say: Callable[[str], None]) -> list[_Opened]:
    """The model on the CPU and, where it works, on CUDA, with what its batches take of the memory."""
    before = _resident()
    (best,) = stack.enter_context(opened([path]))
    on = best.device
    say(f"{path}: {path.stat().st_size / 1e6:.1f} MB, on {on.name} ({on.why})")
    if on.name == "cpu":
        return [_warmed(path, best, BATCH_SIZES, before)]
    on_cuda = _warmed(path, best, CUDA_BATCH_SIZES, before)
    before = _resident()
    (on_cpu,) = stack.enter_context(opened([path], "cpu"))
    return [_warmed(path, on_cpu, BATCH_SIZES, before), on_cuda]


def _warmed(path: Path, model: Model, sizes: Sequence[int], before: int | None) -> _Opened:
    """The settings of a model, each run once on every core."""
    made = []
    for size in (model.batch,) if model.batch is not None else sizes:
        forget_peak_memory()
        network_alone(model, size, 0)
        peak = peak_memory()
        grown = None if peak is None or before is None else peak - before
        made.append(Batches(path, model.device.name, size, grown))
    return _Opened(model, made)


def _resident() -> int | None:
    """The bytes that the process holds now; None where the system does not tell."""
    return peak_memory() if forget_peak_memory() else None


def _measure_batches(several: Sequence[_Opened], say: Callable[[str], None]) -> None:
    # By device and size, so that what is to be compared is neighbours.
    turns = sorted(
        ((each.model, batches) for each in several for batches in each.batches),
        key=lambda turn: (turn[1].device, turn[1].batch_size),
    )
    seconds = SECONDS / (ROUNDS + 1) / len(turns)
    say(f"{len(turns)} settings in {ROUNDS} rounds: {SECONDS:.0f} s, more where a single run takes long")
    for number in range(ROUNDS + 1):
        for model, batches in turns if number % 2 else turns[::-1]:
            rate, latencies = network_alone(model, batches.batch_size, seconds)
            if number:  # the first round warms up
                batches.rates.append(rate)
                batches.latencies += latencies


def _measure_folder(
    found: Benchmark, several: Sequence[_Opened], paths: Sequence[str], say: Callable[[str], None]
) -> None:
    # Each model where it is fastest: on CUDA, if it is there twice.
    fastest = {each.batches[0].model: each for each in several}
    slowest = min(max(batches.rates[-1] for batches in each.batches) for each in fastest.values())
    most = max(2 * found.cores, round(slowest * FOLDER_SECONDS))
    some = [paths[i * len(paths) // most] for i in range(most)] if most < len(paths) else list(paths)
    readable = [path for path in some if all(_can_be_read(path, each.model) for each in fastest.values())]
    found.unreadable = len(some) - len(readable)
    if not readable:
        raise InputError(f"{counted(len(some), 'picture')} tried and none can be read, such as {some[0]}")
    say(f"predict, and its parts, over {counted(len(readable), 'picture')} in {FOLDER_ROUNDS} rounds")
    turns = []
    for path, each in fastest.items():
        measured = Folder(path, each.model.device.name, len(readable))
        turns.append((each.model, Classifier(each.model), measured))
        found.folders.append(measured)
    for number in range(FOLDER_ROUNDS + 1):
        for model, classifier, measured in turns if number % 2 else turns[::-1]:
            outcome = predict(classifier, readable, 1, lambda record: None)
            assert outcome.speed is not None
            network, _ = network_alone(model, outcome.speed.batch_size, FOLDER_SECONDS / 2)
            decoding = decoding_alone(model, readable)
            if number:
                measured.rates.append(len(readable) / outcome.seconds)
                measured.network.append(network)
                measured.decoding.append(decoding)
                measured.limits.append(limit(network, decoding, measured.device))
                measured.speed = outcome.speed


def _can_be_read(path: str, model: Model) -> bool:
    try:
        images.load(path, model.preprocess.resize, model.image_size, model.preprocess.filter)
    except PictureError:
        return False
    return True
