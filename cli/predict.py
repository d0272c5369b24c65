"""`alexnet-tk predict`."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alexnet_tk.errors import InputError, UsageError

from .options import Debug, Device, Overwrite
from .screen import Screen, new_console, screen

if TYPE_CHECKING:
    from alexnet_tk.inference import Found, Record
    from alexnet_tk.inference.results import Totals


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
    with screen() as show:
        from alexnet_tk.files import refuse_existing
        from alexnet_tk.inference import Classifier, find
        from alexnet_tk.inference.results import Totals
        from alexnet_tk.zoo import default_model

        if output is not None:
            refuse_existing(output, overwrite)
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

        totals, begun = Totals(), time.perf_counter()
        show.begin("predicting", len(found.paths))
        with _writer(form, output, wanted, show) as write:
            for record in classifier.classify(found.paths, wanted, batch_size=batch_size, workers=workers):
                write(record)
                totals.add(record)
                show.advance(1)
                if strict and record.error:
                    raise InputError(f"{record.path}: {record.error}; stopped there, as --strict asks")
    show.say(_account(found, totals, time.perf_counter() - begun))
    if totals.failed:
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


@contextmanager
def _writer(
    form: Format, output: Path | None, topk: int, show: Screen
) -> Iterator[Callable[["Record"], None]]:
    """What writes a record in this form, to the file or to stdout."""
    from alexnet_tk.inference.results import WRITERS

    from .table import WIDTH, table_writer

    with ExitStack() as stack:
        stream = sys.stdout
        if output is not None:
            file = output.open("w", encoding="utf-8", errors="surrogateescape", newline="")
            stream = stack.enter_context(file)
        if form is not Format.TABLE:
            yield WRITERS[form](stream, topk)
        elif stream.isatty():
            yield table_writer(show.console, topk)
        else:
            yield table_writer(new_console(stream, WIDTH), topk)


def _account(found: "Found", totals: "Totals", seconds: float) -> str:
    """What became of everything that was found, in one line."""
    count = totals.answered + totals.failed
    line = f"{count:,} pictures in {seconds:.1f} s ({count / seconds:,.0f}/s): {totals.answered:,} answered"
    for title, counts in (("failed", totals.reasons), ("ignored, not a picture's ending", found.ignored)):
        number = sum(counts.values())
        kinds = [f"{many:,} × {what}" for what, many in sorted(counts.items(), key=lambda each: -each[1])]
        if number:
            line += f"; {number:,} {title} ({', '.join(kinds[:5])}{', …' if len(kinds) > 5 else ''})"
    return line
