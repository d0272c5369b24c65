"""`alexnet-tk predict --engine local`."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from alexnet_tk.errors import AlexnetError

from .predict_job import Format, Job
from .screen import Screen, new_console

if TYPE_CHECKING:
    from alexnet_tk.inference import Record
    from alexnet_tk.inference.results import Totals

PAGE_RANKS = 5  # labels of a picture on the page, also where fewer are written


def here(job: Job, strict: bool, page: Path | None, show: Screen) -> int:
    """Answer in this process; the number of pictures that failed, now or before."""
    from alexnet_tk.inference.predict import Outcome, predict
    from alexnet_tk.inference.report import report
    from alexnet_tk.inference.resume import answers, earlier_batch_size

    show.say(f"device: {job.classifier.device.name} ({job.classifier.device.why})")
    earlier = earlier_batch_size(job.output) if job.resume and job.output is not None else None
    count = len(job.found.paths)
    size = job.batch_size or earlier or job.classifier.batch_size(count, job.workers)
    with ExitStack() as stack:
        writer: AbstractContextManager[tuple[Totals, Callable[[Record], None]]]
        if job.output is None or job.form is Format.TABLE:
            writer = _writer(job, show)
        else:
            writer = answers(job.output, job.plan(size, job.form.value), job.resume, job.found.paths)
        before, write = stack.enter_context(writer)
        add = None
        if page is not None:
            add = stack.enter_context(report(page, str(job.model), job.found.ignored))

        def take(record: "Record") -> None:
            if add is not None:
                add(record)
            write(record)  # last of all: what is written is what has been answered
            show.advance(1)

        outcome = Outcome()
        skipped = job.begin(before, show)
        try:
            predict(
                job.classifier,
                job.found.paths,
                job.topk if page is None else max(job.topk, PAGE_RANKS),
                take,
                skip=skipped,
                batch_size=size,
                workers=job.workers,
                strict=strict,
                thumbnails=page is not None,
                outcome=outcome,
            )
        except (AlexnetError, KeyboardInterrupt, SystemExit):
            job.tell(before, outcome, show)
            raise
    job.tell(before, outcome, show)  # once the output is complete
    return outcome.totals.failed + before.failed


@contextmanager
def _writer(job: Job, show: Screen) -> Iterator[tuple["Totals", Callable[["Record"], None]]]:
    """Nothing answered yet, and what writes a record to stdout, or a table to a file."""
    from alexnet_tk.inference.results import WRITERS, Totals

    from .table import WIDTH, table_writer

    with ExitStack() as stack:
        stream = sys.stdout
        if job.output is not None:
            file = job.output.open("w", encoding="utf-8", errors="surrogateescape", newline="")
            stream = stack.enter_context(file)
        if job.form is not Format.TABLE:
            yield Totals(), WRITERS[job.form](stream, job.topk)
        elif stream.isatty():
            yield Totals(), table_writer(show.console, job.topk)
        else:
            yield Totals(), table_writer(new_console(stream, WIDTH), job.topk)
