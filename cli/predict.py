"""`alexnet-tk predict`."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alexnet_tk.errors import InputError, UsageError

from .options import Debug, Device, Overwrite, Resume
from .screen import Screen, new_console, screen

if TYPE_CHECKING:
    from alexnet_tk.inference import Found, Record
    from alexnet_tk.inference.results import Totals
    from alexnet_tk.inference.resume import Plan


class Format(StrEnum):
    """The forms of an answer."""

    TABLE = "table"
    CSV = "csv"
    JSONL = "jsonl"


def predict(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[INPUT...]",
            help="Pictures, folders, .zip and .tar archives, patterns; - is a list of paths on stdin.",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help="What `alexnet-tk export` wrote. [default: model.onnx, else the built-in fashion-mini]",
        ),
    ] = None,
    top5: Annotated[bool, typer.Option("--top5", help="The five most probable labels.")] = False,
    topk: Annotated[int | None, typer.Option(min=1, metavar="N", help="The N most probable labels.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write the answers to a file; .csv or .jsonl decides the format.")
    ] = None,
    format: Annotated[
        Format | None, typer.Option(help="[default: table on a terminal, csv elsewhere]", show_default=False)
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
    device: Device = "auto",
    batch_size: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Pictures in a run of the network.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Threads. [default: one for each usable core]")
    ] = None,
    debug: Debug = False,
) -> None:
    """Classify pictures and folders of them: one record for each picture, in order."""
    if top5 and topk is not None:
        raise UsageError("--top5 and --topk say the same thing twice; give one of them")
    if not inputs and listed is None:
        raise UsageError("name pictures or folders of them; --from FILE and - take lists of paths")
    form = _format(format, output)
    if resume and (output is None or form is Format.TABLE):
        raise UsageError("--resume goes on with an --output in CSV or JSON Lines")
    if resume and overwrite:
        raise UsageError("--resume keeps an output and --overwrite replaces it; give one of them")
    with screen() as show:
        from alexnet_tk.files import refuse_existing
        from alexnet_tk.inference import Classifier, find
        from alexnet_tk.inference.results import Totals
        from alexnet_tk.inference.resume import Plan, earlier_batch_size
        from alexnet_tk.zoo import default_model

        if output is not None:
            refuse_existing(output, overwrite or resume)
        found = find([each for each in inputs or [] if each != "-"], _lists(inputs or [], listed, nul))
        if not found.paths:
            named = [*(inputs or []), *([str(listed)] if listed else [])]
            raise InputError(
                f"no pictures in {', '.join(named)}; endings such as .jpg and .png count in folders"
            )
        taken = model or default_model()
        classifier = Classifier(taken, device)
        if model is None:
            built_in = f" (comes with alexnet-tk, knows {', '.join(classifier.labels[:3])}, …)"
            show.say(
                f"model: {taken}{'' if taken == Path('model.onnx') else built_in}; --model names another"
            )
        show.say(f"device: {classifier.device.name} ({classifier.device.why})")
        wanted = 5 if top5 else topk or 1
        if wanted > len(classifier.labels):
            show.say(f"the model has {len(classifier.labels)} labels: all are given, not {wanted}")
            wanted = len(classifier.labels)

        earlier = earlier_batch_size(output) if resume and output else None
        size = batch_size or earlier or classifier.batch_size(len(found.paths), workers)
        before = Totals()
        if output is not None and form is not Format.TABLE:
            before = _plan(output, Plan.of(taken, found.paths, wanted, form.value, size), resume)
        skipped = before.answered + before.failed
        if skipped:
            show.say(f"{output}: {skipped:,} pictures stand in it, {len(found.paths) - skipped:,} are left")

        totals, begun = Totals(), time.perf_counter()
        show.begin("predicting", len(found.paths))
        show.advance(skipped)
        # Batches are cut as they were in the run before, since another cut may round a last digit otherwise.
        start = skipped - skipped % size
        with _writer(form, output, wanted, show) as write:
            records = classifier.classify(found.paths[start:], wanted, batch_size=size, workers=workers)
            for record in islice(records, skipped - start, None):
                write(record)
                totals.add(record.error)
                show.advance(1)
                if strict and record.error:
                    raise InputError(f"{record.path}: {record.error}; stopped there, as --strict asks")
    show.say(_account(found, totals, skipped, time.perf_counter() - begun))
    if totals.failed or before.failed:
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
            raise UsageError(f"{output} ends in neither .csv nor .jsonl; give --format, too") from None
    return Format.TABLE if sys.stdout.isatty() else Format.CSV


def _plan(output: Path, plan: "Plan", resume: bool) -> "Totals":
    """What stands in an output already; a new one gets its plan before its first answer."""
    from alexnet_tk.inference.results import Totals
    from alexnet_tk.inference.resume import begin, take_up

    if resume and output.exists():
        return take_up(output, plan)
    if output.exists():
        os.truncate(output, 0)
    begin(output, plan)
    return Totals()


@contextmanager
def _writer(
    form: Format, output: Path | None, topk: int, show: Screen
) -> Iterator[Callable[["Record"], None]]:
    """What writes a record in this form, to the file or to stdout."""
    from alexnet_tk.inference.results import WRITERS

    from .table import WIDTH, table_writer

    with ExitStack() as stack:
        stream, begun = sys.stdout, False
        if output is not None:
            # What stands in it is to be kept: what was to be replaced is gone by now.
            mode = "w" if form is Format.TABLE else "a"
            file = output.open(mode, encoding="utf-8", errors="surrogateescape", newline="")
            stream = stack.enter_context(file)
            begun = file.tell() > 0
        if form is not Format.TABLE:
            yield WRITERS[form](stream, topk, begun)
        elif stream.isatty():
            yield table_writer(show.console, topk)
        else:
            yield table_writer(new_console(stream, WIDTH), topk)


def _account(found: "Found", totals: "Totals", skipped: int, seconds: float) -> str:
    """What became of everything that was found, in one line."""
    count = totals.answered + totals.failed
    line = f"{count:,} pictures in {seconds:.1f} s ({count / seconds:,.0f}/s): {totals.answered:,} answered"
    for title, counts in (("failed", totals.reasons), ("ignored, not a picture's ending", found.ignored)):
        number = sum(counts.values())
        kinds = [f"{many:,} × {what}" for what, many in sorted(counts.items(), key=lambda each: -each[1])]
        if number:
            line += f"; {number:,} {title} ({', '.join(kinds[:5])}{', …' if len(kinds) > 5 else ''})"
    return line + (f"; {skipped:,} skipped, answered before" if skipped else "")
