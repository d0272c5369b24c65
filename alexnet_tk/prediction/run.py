"""The one call behind `predict` and `features`: pictures in, answers written, one complete account out."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import IO, TextIO

from alexnet_tk.choices import Engine, Math
from alexnet_tk.errors import AlexnetError, OutputError
from alexnet_tk.files import refuse_existing
from alexnet_tk.inference import Record
from alexnet_tk.prediction.account import Outcome, Totals
from alexnet_tk.prediction.feature_formats import FeatureFormat
from alexnet_tk.prediction.formats import Format, Parquet
from alexnet_tk.prediction.heat_maps import heat_map_writer, make_heat_map_folder, refuse_existing_folder
from alexnet_tk.prediction.job import Job, choose_format, refuse_contradictions
from alexnet_tk.prediction.local import LocalRun
from alexnet_tk.prediction.output import Write
from alexnet_tk.prediction.plan import earlier_batch_size
from alexnet_tk.prediction.report import report as draw_report
from alexnet_tk.prediction.subject import Subject, open_subject
from alexnet_tk.progress import SILENCE, Progress
from alexnet_tk.zoo import default_model

REPORT_RANKS = 5  # labels of a picture on the page, also where fewer are written


def predict(
    inputs: str | PathLike[str] | Iterable[str | PathLike[str]] = (),
    *,
    topk: int = 1,
    output: str | PathLike[str] | TextIO | None = None,
    format: str | Format | None = None,
    model: str | PathLike[str] | None = None,
    labels: Sequence[str] | str | PathLike[str] | None = None,
    preprocess: str | None = None,
    outputs: str | None = None,
    lists: Sequence[str | PathLike[str] | IO[bytes]] = (),
    nul_separated: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    strict: bool = False,
    report: str | PathLike[str] | None = None,
    explain: str | PathLike[str] | None = None,
    unknown_below: float | None = None,
    device: str = "auto",
    math: Math = "exact",
    batch_size: int | None = None,
    workers: int | None = None,
    engine: Engine = "local",
    on_record: Callable[[Record], None] | None = None,
    progress: Progress = SILENCE,
) -> Outcome:
    """Classify pictures and folders of them: one record for each picture, in order.

    Parameters
    ----------
    inputs
        pictures, folders, .zip and .tar archives, patterns and URLs, as `inference.find` takes them
    topk
        labels of a record, at most as many as the model has
    output
        a file or a text stream for the answers; without it, and without `on_record`, they are in the
        outcome's `records`, which take some 300 bytes each
    format
        a name in `formats.FORMATS`, or such an object; None: by the output's ending, CSV for a stream
    model
        what `export` wrote; None: model.onnx in the current folder, else the built-in fashion-mini
    labels, preprocess, outputs
        of a model from elsewhere, as `Classifier` takes them
    lists, nul_separated
        files of paths, one on each line or NUL-separated, whose pictures follow those of `inputs`
    resume, overwrite
        go on with an output that exists, or replace it; without them it is refused
    strict
        stop before the first picture that fails
    report
        a page to draw, .html, of the pictures and their answers
    explain
        a folder for what the answers rest on: each picture as the network saw it, with a heat map over it, as
        `heat_maps` names them; on the page of `report`, too. The model is one of `export` with `explain`
    unknown_below
        mark records as unknown whose highest probability is below this one, in a column of their own
    device, math, batch_size, workers
        as `Classifier` and its `classify` take them; over Ray, `workers` are actors
    engine
        "local": this process; "ray": a cluster, whose output is a folder of Parquet files
    on_record
        a function that takes every record, in order, in this thread, before it is written
    progress
        receives the device, the account and the number of pictures answered

    Returns
    -------
    what became of the pictures

    Raises
    ------
    UsageError
        arguments that make no sense, or none together
    InputError
        no pictures; an input that does not exist; a picture that failed, and `strict`
    ModelError, RecipeError, DeviceError, ClusterError
        the model, its preprocessing, the device or the cluster can't be used
    OutputError
        an output exists, can't be written or can't be resumed
    KeyboardInterrupt, SystemExit
        Ctrl-C or SIGTERM came; what was answered is kept

    """
    destination = Path(output) if isinstance(output, (str, PathLike)) else output
    chosen = format if isinstance(format, Format) else choose_format(format, destination)
    job = Job(
        inputs=as_list(inputs),
        lists=as_paths(lists),
        nul_separated=nul_separated,
        model=None if model is None else Path(model),
        labels=labels,
        preprocess=preprocess,
        outputs=outputs,
        topk=topk,
        output=destination,
        format=chosen if unknown_below is None else chosen.with_unknown(),
        resume=resume,
        overwrite=overwrite,
        strict=strict,
        report=None if report is None else Path(report),
        explain=None if explain is None else Path(explain),
        unknown_below=unknown_below,
        device=device,
        math=math,
        batch_size=batch_size,
        workers=workers,
        engine=engine,
        on_record=on_record,
    )
    return run(job, progress)


def as_list(inputs: str | PathLike[str] | Iterable[str | PathLike[str]]) -> list[str | PathLike[str]]:
    """The inputs, which may be a single one."""
    return [inputs] if isinstance(inputs, (str, PathLike)) else list(inputs)


def as_paths(lists: Sequence[str | PathLike[str] | IO[bytes]]) -> list[Path | IO[bytes]]:
    """The lists, those that are named by their paths."""
    return [Path(each) if isinstance(each, (str, PathLike)) else each for each in lists]


def run(job: Job, progress: Progress) -> Outcome:
    """Do a job; raises what `predict` raises."""
    refuse_contradictions(job)
    _refuse_outputs(job)
    subject = open_subject(job, progress)
    if job.explain is not None:
        subject.classifier.require_explanations()
        make_heat_map_folder(job.explain, subject.found.paths, job.resume)
    if isinstance(job.format, FeatureFormat):
        job = replace(job, format=job.format.with_units(subject.classifier.require_features()))
    if job.engine == "ray":
        from alexnet_tk.prediction.ray_run import predict_over_ray

        return predict_over_ray(job, subject, progress)
    return _predict_here(job, subject, progress)


def _refuse_outputs(job: Job) -> None:
    """Raise `OutputError` where an output can't be written, and `ModuleNotFoundError` for a missing extra."""
    job.format.require()
    sources = [job.model or default_model(), *_existing(job.inputs)]
    if job.engine == "ray" and job.file is not None and isinstance(job.format, Parquet):
        from alexnet_tk.prediction.parts import refuse_existing_parts

        refuse_existing_parts(job.file, job.resume, job.overwrite, job.format)
    elif (file := job.resumable) is not None:
        file.refuse_existing(keep=job.overwrite or job.resume, source=sources)
    elif job.file is not None:
        refuse_existing(job.file, job.overwrite, source=sources)
    if job.report is not None:
        refuse_existing(job.report, job.overwrite, source=sources)
    if job.explain is not None:
        refuse_existing_folder(job.explain, keep=job.overwrite or job.resume)


def _existing(inputs: Sequence[str | PathLike[str]]) -> list[Path]:
    """The inputs that are files; what folders hold is looked for later."""
    return [Path(path) for path in inputs if os.path.isfile(path)]  # noqa: PTH113  a URL is no path


def _predict_here(job: Job, subject: Subject, progress: Progress) -> Outcome:
    """Answer in this process."""
    on, pictures = subject.classifier.device, subject.found.paths
    progress.say(f"device: {on}")
    earlier = earlier_batch_size(job.file) if job.resume and job.file is not None else None
    format, topk = job.rows, subject.topk

    def given(record: Record) -> Record:
        """What was asked for of it; a page has more labels."""
        record = record.top(topk).marked(job.unknown_below)
        return replace(record, heat_map=b"") if record.heat_map else record

    def row(record: Record) -> bytes:
        assert format is not None, "else no rows are made"
        return format.row(given(record), topk)

    local = LocalRun(
        subject.classifier,
        pictures,
        topk if job.report is None else max(topk, REPORT_RANKS),
        row=None if format is None else row,
        batch_size=job.batch_size or earlier,
        workers=job.workers,
        thumbnails=job.report is not None,
        features=job.features,
        explain=job.explain is not None,
    )
    before, records = Totals(), list[Record]()

    def outcome() -> Outcome:
        return Outcome(subject.found, before, local.totals, local.seconds, local.speed, records)

    with ExitStack() as stack:
        before, write = stack.enter_context(_writer(job, subject, local.batch_size))
        add_to_page = None
        if job.report is not None:
            page = draw_report(job.report, str(subject.model), subject.found.ignored)
            add_to_page = stack.enter_context(page)

        write_heat_map = None
        if job.explain is not None:
            write_heat_map = heat_map_writer(job.explain, before.pictures)

        def take(batch: list[Record], rows: list[bytes]) -> None:
            if write_heat_map is not None:
                for record in batch:
                    write_heat_map(record)
            if add_to_page is not None:
                for record in batch:
                    add_to_page(record.marked(job.unknown_below))
            if job.on_record is not None:
                for record in batch:
                    job.on_record(given(record))
            elif job.output is None:
                records.extend(map(given, batch))
            write(b"".join(rows))  # last: what is written is what has been answered
            progress.advance(len(batch))

        before.begin(progress, str(job.output), len(pictures))
        try:
            singly = job.on_record is not None
            local.write_records(take, skip=before.pictures, strict=job.strict, singly=singly)
        except (AlexnetError, KeyboardInterrupt, SystemExit):
            outcome().tell(progress)
            raise
    outcome().tell(progress)  # once the output is complete
    return outcome()


@contextmanager
def _writer(job: Job, subject: Subject, batch_size: int) -> Iterator[tuple[Totals, Write]]:
    """The records that the output holds already, and what takes further rows, of `job.rows`."""
    if (file := job.resumable) is not None:
        plan = subject.plan(job.format.name, batch_size)
        with file.open(plan, job.resume, subject.found.paths) as resumed:
            yield resumed
        return
    format, output = job.rows, job.output
    if format is None or output is None:
        yield Totals(), lambda rows: None
        return
    with ExitStack() as stack:
        if isinstance(output, Path):
            stack.enter_context(_output_errors(output))
            opened = output.open("w", encoding="utf-8", errors="surrogateescape", newline="")
            stream: TextIO = stack.enter_context(opened)
        else:
            stream = output

        closed: list[BrokenPipeError] = []

        def put(rows: bytes) -> None:
            if closed:
                return
            try:
                stream.write(rows.decode("utf-8", "surrogateescape"))
                stream.flush()
            except BrokenPipeError as error:  # as by `| head`; the page is wanted all the same
                if job.report is None:
                    raise
                closed.append(error)

        put(format.header(subject.topk))
        yield Totals(), put
        if closed:  # and the page is complete: it was begun after this, so it has ended before
            raise closed[0]


@contextmanager
def _output_errors(output: Path) -> Iterator[None]:
    """Turn the system's errors, a full disk's for example, into `OutputError`."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{output} can't be written: {error.strerror or error}") from error
