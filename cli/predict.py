"""`alexnet-tk predict`."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alexnet_tk.errors import InputError, UsageError

from .options import BatchSize, Debug, Device, Overwrite, Resume, Workers
from .screen import Screen, new_console, screen

if TYPE_CHECKING:
    from alexnet_tk.inference import Classifier, Found, Record
    from alexnet_tk.inference.predict import Outcome
    from alexnet_tk.inference.results import Totals


class Engine(StrEnum):
    """Where the work is done."""

    LOCAL = "local"
    RAY = "ray"


class Format(StrEnum):
    """The forms of an answer."""

    TABLE = "table"
    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


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
    if top5 and topk is not None:
        raise UsageError("--top5 and --topk say the same thing twice; give one of them")
    if not inputs and listed is None:
        raise UsageError("name pictures or folders of them; --from FILE and - take lists of paths")
    form = _format(format, output)
    if resume and (output is None or form is Format.TABLE):
        raise UsageError("--resume goes on with an --output in CSV, JSON Lines or Parquet")
    if resume and report is not None:
        raise UsageError("--report draws all pictures of one run, and --resume skips some; give one of them")
    if form is Format.PARQUET and output is None:
        raise UsageError("Parquet can't be written to stdout; give --output F.parquet")
    if report is not None and report == output:
        raise UsageError("--report and --output name the same file; give each its own")
    if resume and overwrite:
        raise UsageError("--resume keeps an output and --overwrite replaces it; give one of them")
    if engine is Engine.RAY and (output is None or form is not Format.PARQUET):
        raise UsageError("--engine ray writes a folder of Parquet files; give --output F.parquet")
    if engine is Engine.RAY and (strict or report is not None):
        raise UsageError("--strict and --report need all answers in one process; give them to --engine local")
    with screen() as show, ExitStack() as stack:
        from alexnet_tk.files import refuse_existing, sha256
        from alexnet_tk.inference import Classifier, find
        from alexnet_tk.inference.predict import predict as answer
        from alexnet_tk.inference.resume import refuse_existing_answers
        from alexnet_tk.zoo import default_model

        if output is not None and engine is Engine.RAY:
            from alexnet_tk.inference.parts import refuse_existing_parts

            refuse_existing_parts(output, resume, overwrite)
        elif output is not None:
            refuse_existing_answers(output, form.value, keep=overwrite or resume)
        if report is not None:
            refuse_existing(report, overwrite)
        taken = model or default_model()
        # Large networks take half a second to open; the pictures are looked for meanwhile.
        opening = stack.enter_context(ThreadPoolExecutor(1)).submit(
            Classifier,
            taken,
            device if engine is Engine.LOCAL else "cpu",  # the actors' own device is theirs to open
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
        if engine is Engine.LOCAL:
            show.say(f"device: {classifier.device.name} ({classifier.device.why})")
        wanted = 5 if top5 else topk or 1
        if wanted > len(classifier.labels):
            show.say(f"the model has {len(classifier.labels)} labels: all are given, not {wanted}")
            wanted = len(classifier.labels)
        if engine is Engine.RAY:
            assert output is not None
            from .over_ray import over_ray

            before, outcome = over_ray(
                output,
                resume,
                taken,
                weights,
                classifier,
                preprocess,
                found,
                wanted,
                device,
                batch_size,
                workers,
                show,
            )
            _end(found, outcome, before, show)
            return
        size = batch_size or _earlier(output, resume) or classifier.batch_size(len(found.paths), workers)

        before, write = stack.enter_context(
            _writer(form, output, wanted, show)
            if output is None or form is Format.TABLE
            else _answers(output, form, resume, weights, classifier, found, wanted, size)
        )
        skipped = before.answered + before.failed
        if skipped:
            show.say(f"{output}: {skipped:,} pictures stand in it, {len(found.paths) - skipped:,} are left")
        add = stack.enter_context(_report(report, str(taken), found)) if report is not None else None
        show.begin("predicting", len(found.paths))
        show.advance(skipped)

        def take(record: "Record") -> None:
            write(record)
            if add is not None:
                add(record)
            show.advance(1)

        outcome = answer(
            classifier,
            found.paths,
            wanted,
            take,
            skip=skipped,
            batch_size=size,
            workers=workers,
            strict=strict,
            thumbnails=report is not None,
        )
    _end(found, outcome, before, show)


def _end(found: "Found", outcome: "Outcome", before: "Totals", show: Screen) -> None:
    """Say what became of the pictures, and end the command if some failed."""
    show.say(_account(found, outcome, before))
    if outcome.speed is not None and outcome.totals.answered + outcome.totals.failed:
        show.say(f"time: {outcome.speed}")
    if outcome.totals.failed or before.failed:
        raise typer.Exit(3)


def _lists(inputs: list[str], listed: Path | None, nul: bool) -> list[str]:
    """The paths of the lists on stdin and in a file, in this order."""
    from alexnet_tk.inference.sources import read_list

    separator = b"\0" if nul else b"\n"
    paths: list[str] = []
    if "-" in inputs:
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


def _earlier(output: Path | None, resume: bool) -> int | None:
    """The batch size of the run that is taken up."""
    from alexnet_tk.inference.resume import earlier_batch_size

    return earlier_batch_size(output) if resume and output is not None else None


def _answers(
    output: Path,
    form: Format,
    resume: bool,
    weights: str,
    classifier: "Classifier",
    found: "Found",
    topk: int,
    batch_size: int,
) -> AbstractContextManager[tuple["Totals", Callable[["Record"], None]]]:
    from alexnet_tk.inference.resume import Plan, answers

    plan = Plan.of(weights, found.paths, topk, form.value, batch_size, classifier.settings)
    return answers(output, plan, resume, found.paths)


@contextmanager
def _writer(
    form: Format, output: Path | None, topk: int, show: Screen
) -> Iterator[tuple["Totals", Callable[["Record"], None]]]:
    """Nothing answered yet, and what writes a record to stdout, or a table to a file."""
    from alexnet_tk.inference.results import WRITERS, Totals

    from .table import WIDTH, table_writer

    with ExitStack() as stack:
        stream = sys.stdout
        if output is not None:
            file = output.open("w", encoding="utf-8", errors="surrogateescape", newline="")
            stream = stack.enter_context(file)
        if form is not Format.TABLE:
            yield Totals(), WRITERS[form](stream, topk)
        elif stream.isatty():
            yield Totals(), table_writer(show.console, topk)
        else:
            yield Totals(), table_writer(new_console(stream, WIDTH), topk)


def _report(path: Path, model: str, found: "Found") -> AbstractContextManager[Callable[["Record"], None]]:
    from alexnet_tk.inference.report import report

    return report(path, model, found.ignored)


def _account(found: "Found", outcome: "Outcome", before: "Totals") -> str:
    """What became of everything that was found, in one line."""
    totals = outcome.totals
    count, skipped = totals.answered + totals.failed, before.answered + before.failed
    line = f"{count:,} pictures in {outcome.seconds:.2f} s ({count / outcome.seconds:,.0f}/s): "
    line += f"{len(found.paths):,} found, {totals.answered:,} answered"
    for title, counts in (("failed", totals.reasons), ("ignored, not a picture's ending", found.ignored)):
        number = sum(counts.values())
        kinds = [f"{many:,} × {what}" for what, many in sorted(counts.items(), key=lambda each: -each[1])]
        if number:
            line += f"; {number:,} {title} ({', '.join(kinds[:5])}{', …' if len(kinds) > 5 else ''})"
    before_failed = f", {before.failed:,} of them failed" if before.failed else ""
    return line + (f"; {skipped:,} skipped, answered before{before_failed}" if skipped else "")
