"""From models, and perhaps pictures, to figures, in rounds.

In each round every setting has its turn, with two models right after one another and in the reverse order
every other time. So a warm processor or a busy neighbour favours neither, and shows in the intervals.
"""

import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from alexnet_tk import images
from alexnet_tk.benchmarking.figures import Benchmark, MedianRange, NetworkTiming, PredictTiming
from alexnet_tk.benchmarking.measure import decoding_alone, limit, network_alone
from alexnet_tk.choices import Math
from alexnet_tk.errors import InputError, PictureError, UsageError
from alexnet_tk.files import refuse_existing, replacing
from alexnet_tk.found import evenly_spaced
from alexnet_tk.inference.classify import Classifier
from alexnet_tk.inference.model import Model
from alexnet_tk.inference.sources import find
from alexnet_tk.inference.speed import Speed
from alexnet_tk.machine import forget_peak_memory, peak_memory, usable_cores
from alexnet_tk.model_files import headline, open_models
from alexnet_tk.prediction.local import LocalRun
from alexnet_tk.progress import SILENCE, Progress
from alexnet_tk.text import counted

BATCH_SIZES = (1, 8, 32)
CUDA_BATCH_SIZES = (*BATCH_SIZES, 128)
ROUNDS = 11  # odd, see `MedianRange`
SECONDS = 25.0  # of all rounds together, more where single runs are slow
PREDICT_ROUNDS = 9
PREDICT_SECONDS = 1.0  # of one run of `predict`, about
MAX_PICTURES = 1_000
UNSTEADY = 0.3  # of the median; the rounds of an idle machine differ by at most half of it


@dataclass(frozen=True)
class _OpenModel:
    """A model on a device, with a timing for each of its batch sizes."""

    path: Path
    model: Model
    timings: list[NetworkTiming]


def benchmark(
    model: str | os.PathLike[str],
    folder: str | os.PathLike[str] | None = None,
    *,
    compare: str | os.PathLike[str] | None = None,
    device: str = "auto",
    math: Math = "exact",
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: Progress = SILENCE,
) -> Benchmark:
    """Measure how fast a model answers: on the CPU, and on CUDA or in OpenVINO if `predict` would use it.

    Parameters
    ----------
    model, compare
        checkpoints or ONNX files; the second is measured in turn with the first
    folder
        pictures on which `predict` is measured, too: at most 1,000 of them, evenly spaced
    device
        as for `Classifier`; with "cpu", ONNX Runtime on the CPU alone is measured
    math
        "exact"; "fast" allows TF32 on CUDA and bfloat16 in OpenVINO
    output
        a .json file for everything
    overwrite
        replace an existing output
    progress
        receives the models' devices and what is being measured

    Raises
    ------
    UsageError
        an output with another ending, a model compared with itself, no such device
    DeviceError
        CUDA or OpenVINO was asked for and does not work
    CheckpointError, ModelError
        a model that can't be used
    InputError
        no readable picture
    OutputError
        the output exists or can't be written

    """
    models = [Path(path) for path in (model, compare) if path is not None]
    output = None if output is None else Path(output)
    _refuse(models, output, overwrite)
    pictures = [] if folder is None else _pictures(Path(folder))
    with ExitStack() as stack:
        opened = [each for path in models for each in _open(path, device, math, stack, progress)]
        if pictures and not any(_is_readable(path, opened[0].model) for path in pictures):
            raise _unreadable(pictures)
        _time_networks(opened, progress)
        figures = Benchmark(usable_cores(), [timing for each in opened for timing in each.timings])
        if pictures:
            # Each model where it is fastest: on CUDA or in OpenVINO if it was opened there, too.
            fastest = list({each.path: each for each in opened}.values())
            readable, figures.unreadable = _readable_pictures(pictures, fastest)
            figures.predictions = _time_predict(fastest, readable, progress)
    _warn_if_unsteady(figures, progress)
    if output is not None:
        with replacing(output) as part:
            part.write_text(json.dumps(figures.to_dict(), indent=1) + "\n", encoding="utf-8")
    return figures


def _refuse(models: Sequence[Path], output: Path | None, overwrite: bool) -> None:
    if len(models) == 2 and models[0] == models[1]:
        raise UsageError(f"--compare {models[1]} is the model itself; name another, or a copy of it")
    if output is None:
        return
    if output.suffix.lower() != ".json":
        raise UsageError(f"--output {output} does not end in .json; give it that ending")
    refuse_existing(output, overwrite, source=models)


def _pictures(folder: Path) -> list[str]:
    """At most `MAX_PICTURES` of the folder, evenly spaced."""
    found = find([folder])
    paths = found.paths
    if not paths:
        raise InputError(f"no pictures in {folder}: {found.instead_of_pictures()}")
    return [paths[i] for i in evenly_spaced(len(paths), MAX_PICTURES)]


def _unreadable(pictures: Sequence[str]) -> InputError:
    return InputError(
        f"none of {counted(len(pictures), 'picture')} can be read, for example {pictures[0]}; "
        "name a folder of readable pictures"
    )


def _open(path: Path, device: str, math: Math, stack: ExitStack, progress: Progress) -> list[_OpenModel]:
    """The model on the CPU and, where that is the device, on CUDA or in OpenVINO after that."""
    memory = _resident_memory()
    (model,) = stack.enter_context(open_models([path], device, math))
    progress.say(headline(path, model))
    if model.device.name == "cpu":
        return [_warm_up(path, model, BATCH_SIZES, memory)]
    on_device = _warm_up(path, model, CUDA_BATCH_SIZES if model.device.is_cuda else BATCH_SIZES, memory)
    memory = _resident_memory()
    (on_cpu,) = stack.enter_context(open_models([path], "cpu"))
    return [_warm_up(path, on_cpu, BATCH_SIZES, memory), on_device]


def _warm_up(path: Path, model: Model, batch_sizes: Sequence[int], memory: int | None) -> _OpenModel:
    """The model after a run of each batch size on every core; the process held `memory` bytes before it."""
    timings = []
    for batch_size in (model.batch,) if model.batch is not None else batch_sizes:
        forget_peak_memory()
        network_alone(model, batch_size, 0)
        peak = peak_memory()
        growth = None if peak is None or memory is None else peak - memory
        timings.append(NetworkTiming(path, model.device.name, batch_size, growth))
    return _OpenModel(path, model, timings)


def _resident_memory() -> int | None:
    """The bytes that the process holds now; None where the system does not say."""
    return peak_memory() if forget_peak_memory() else None


def _time_networks(opened: Sequence[_OpenModel], progress: Progress) -> None:
    """Measure every setting's timing, in rounds."""
    settings = [(each.model, timing) for each in opened for timing in each.timings]
    # By device and batch size, so that the two models of a comparison are neighbours.
    settings.sort(key=lambda setting: (setting[1].device, setting[1].batch_size))
    seconds = SECONDS / (ROUNDS + 1) / len(settings)
    progress.say(
        f"measuring {len(settings)} settings in {ROUNDS} rounds: about {SECONDS:.0f} s, longer where "
        "single runs are slow"
    )
    for number in range(ROUNDS + 1):
        for model, timing in settings if number % 2 else settings[::-1]:
            rate, latencies = network_alone(model, timing.batch_size, seconds)
            if number:  # the first round warms up
                timing.rates.append(rate)
                timing.latencies += latencies


def _readable_pictures(pictures: Sequence[str], models: Sequence[_OpenModel]) -> tuple[list[str], int]:
    """As many pictures as the slowest model predicts in `PREDICT_SECONDS`, and how many were unreadable."""
    slowest = min(max(timing.rates[-1] for timing in each.timings) for each in models)
    count = max(2 * usable_cores(), round(slowest * PREDICT_SECONDS))
    tried = [pictures[i] for i in evenly_spaced(len(pictures), count)]
    readable = [path for path in tried if all(_is_readable(path, each.model) for each in models)]
    if not readable:
        raise _unreadable(tried)
    return readable, len(tried) - len(readable)


def _time_predict(
    models: Sequence[_OpenModel], pictures: Sequence[str], progress: Progress
) -> list[PredictTiming]:
    """Measure `predict`, the network alone and decoding alone, in rounds."""
    progress.say(
        f"measuring `predict` and its parts on {counted(len(pictures), 'picture')} in {PREDICT_ROUNDS} rounds"
    )
    timings = [PredictTiming(each.path, each.model.device.name, len(pictures)) for each in models]
    settings = [
        (each.model, Classifier(each.model), timing) for each, timing in zip(models, timings, strict=True)
    ]
    for number in range(PREDICT_ROUNDS + 1):
        for model, classifier, timing in settings if number % 2 else settings[::-1]:
            rate, speed = _run_predict(classifier, pictures)
            network, _ = network_alone(model, speed.batch_size, PREDICT_SECONDS / 2)
            decoding = decoding_alone(model, pictures)
            if number:  # the first round warms up
                timing.rates.append(rate)
                timing.network.append(network)
                timing.decoding.append(decoding)
                timing.limits.append(limit(network, decoding, timing.device))
                timing.speed = speed
    return timings


def _run_predict(classifier: Classifier, pictures: Sequence[str]) -> tuple[float, Speed]:
    """The pictures/s of `predict` without an output, and where its time went."""
    run = LocalRun(classifier, pictures, topk=1).write_records(lambda records, rows: None)
    return len(pictures) / run.seconds, run.speed


def _is_readable(path: str, model: Model) -> bool:
    try:
        images.load(path, model.preprocess)
    except PictureError:
        return False
    return True


def _warn_if_unsteady(figures: Benchmark, progress: Progress) -> None:
    rates = [timing.rates for timing in figures.networks] + [timing.rates for timing in figures.predictions]
    ranges = [MedianRange.of(values) for values in rates]
    widest = max((each.high - each.low) / each.median for each in ranges)
    if widest > UNSTEADY:
        progress.say(
            f"rounds differ by up to {widest:.0%}: the machine is busy; run it again when it is idle"
        )
