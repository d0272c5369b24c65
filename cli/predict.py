"""`alexnet-tk predict`."""

import sys
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from alexnet_tk.errors import InputError, UsageError

from .options import BatchSize, Debug, Device, Overwrite, Resume, Workers
from .predict_job import Format, Job
from .screen import screen


class Engine(StrEnum):
    """Where the work is done."""

    LOCAL = "local"
    RAY = "ray"


def predict(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT",
            help="Pictures, folders, .zip and .tar archives, patterns; - is a list of paths on stdin.",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help="What `alexnet-tk export` wrote. \\[default: model.onnx, else the built-in fashion-mini]",
        ),
    ] = None,
    top5: Annotated[bool, typer.Option("--top5", help="The five most probable labels.")] = False,
    topk: Annotated[int | None, typer.Option(min=1, metavar="N", help="The N most probable labels.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write the answers to a file; .csv, .jsonl or .parquet is its format.")
    ] = None,
    format: Annotated[
        Format | None,
        typer.Option(help="\\[default: table on a terminal, csv elsewhere]", show_default=False),
    ] = None,
    listed: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="A list of paths, a line each.")
    ] = None,
    nul: Annotated[
        bool, typer.Option("-0", help="In lists, NUL and not the end of a line parts the paths.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first picture that fails.")] = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    report: Annotated[
        Path | None, typer.Option(metavar="F.html", help="Draw a page of the pictures and their answers.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A model from elsewhere: its labels, one a line.")
    ] = None,
    preprocess: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of such a model: imagenet, caffe or FILE.toml.")
    ] = None,
    device: Device = "auto",
    batch_size: BatchSize = None,
    workers: Workers = None,
    engine: Annotated[
        Engine, typer.Option(help="Over Ray, actors of a cluster answer: --workers is their number.")
    ] = Engine.LOCAL,
    debug: Debug = False,
) -> None:
    """Classify pictures and folders of them: one record for each picture, in order."""
    if not inputs and listed is None:
        raise UsageError("name pictures or folders of them; --from FILE and - take lists of paths")
    form = _format(format, output)
    ray = engine is Engine.RAY
    for contradiction, why in (
        (top5 and topk is not None, "--top5 and --topk say the same thing twice; give one of them"),
        (resume and overwrite, "--resume keeps an output and --overwrite replaces it; give one of them"),
        (
            resume and (output is None or form is Format.TABLE),
            "--resume goes on with an --output in CSV, JSON Lines or Parquet",
        ),
        (
            nul and listed is None and "-" not in (inputs or []),
            "-0 says how the paths of a list are parted; give one, --from FILE or -",
        ),
        (
            resume and report is not None,
            "--report draws all pictures of one run, and --resume skips some; give one of them",
        ),
        (
            report is not None and report == output,
            "--report and --output name the same file; give each its own",
        ),
        (
            form is Format.PARQUET and output is None,
            "Parquet can't be written to stdout; give --output F.parquet",
        ),
        (
            ray and (output is None or form is not Format.PARQUET),
            "--engine ray writes a folder of Parquet files; give --output F.parquet",
        ),
        (
            ray and (strict or report is not None),
            "--strict and --report need all answers in one process; give them to --engine local",
        ),
    ):
        if contradiction:
            raise UsageError(why)
    with screen() as show:
        from alexnet_tk.files import refuse_existing, sha256
        from alexnet_tk.inference import Classifier, find
        from alexnet_tk.zoo import default_model

        if output is not None and ray:
            from alexnet_tk.inference.parts import refuse_existing_parts

            refuse_existing_parts(output, resume, overwrite)
        elif output is not None:
            from alexnet_tk.inference.resume import refuse_existing_answers

            refuse_existing_answers(output, form.value, keep=overwrite or resume)
        if report is not None:
            refuse_existing(report, overwrite)
        taken = model or default_model()
        # Large networks take half a second to open; the pictures are looked for meanwhile.
        with ThreadPoolExecutor(1) as threads:
            opening = threads.submit(
                Classifier,
                taken,
                "cpu" if ray else device,  # the actors' own device is theirs to open
                labels=labels,
                preprocess=preprocess,
            )
            found = find([each for each in inputs or [] if each != "-"], _lists(inputs or [], listed, nul))
            if not found.paths:
                named = [*(inputs or []), *([str(listed)] if listed else [])]
                raise InputError(
                    f"no pictures in {', '.join(named)}; endings such as .jpg and .png count in folders"
                )
            to_file = output is not None and form is not Format.TABLE
            weights = sha256(taken) if to_file and taken.is_file() else ""
            classifier = opening.result()
        if model is None:
            built_in = f" (comes with alexnet-tk, knows {', '.join(classifier.labels[:3])}, …)"
            show.say(
                f"model: {taken}{'' if taken == Path('model.onnx') else built_in}; --model names another"
            )
        k = 5 if top5 else topk or 1
        if k > len(classifier.labels):
            show.say(f"the model has {len(classifier.labels)} labels: all are given, not {k}")
            k = len(classifier.labels)
        job = Job(taken, weights, classifier, found, k, form, output, resume, batch_size, workers)
        if ray:
            from .predict_over_ray import over_ray

            failed = over_ray(job, device, preprocess, show)
        else:
            from .predict_here import here

            failed = here(job, strict, report, show)
    if failed:
        raise typer.Exit(3)


def _lists(inputs: list[str], listed: Path | None, nul: bool) -> list[str]:
    """The paths of the lists on stdin and in a file, in this order."""
    from alexnet_tk.inference.sources import read_list

    separator = b"\0" if nul else b"\n"
    paths: list[str] = []
    if "-" in inputs:
        if sys.stdin is None:
            raise InputError("- takes a list of paths on stdin, which is closed")
        paths += read_list(sys.stdin.buffer, separator)
    if listed is not None:
        try:
            with listed.open("rb") as file:
                paths += read_list(file, separator)
        except OSError as error:
            raise InputError(f"--from {listed} can't be read: {error.strerror}") from error
    return paths


def _format(format: Format | None, output: Path | None) -> Format:
    if format is not None:
        return format
    if output is not None:
        try:
            return Format(output.suffix.lower().lstrip("."))
        except ValueError:
            raise UsageError(
                f"{output} ends in none of .csv, .jsonl and .parquet; give --format, too"
            ) from None
    return Format.TABLE if sys.stdout.isatty() else Format.CSV
