"""What is asked of a run of `predict` or of `features`, and the contradictions in it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import IO, TextIO, get_args

from alexnet_tk.choices import Engine, Math
from alexnet_tk.errors import UsageError
from alexnet_tk.inference.record import Record
from alexnet_tk.prediction.feature_formats import FeatureFormat
from alexnet_tk.prediction.formats import (
    CSV,
    FORMATS,
    AppendableFormat,
    Format,
    Parquet,
    RowFormat,
    WholeFormat,
    endings,
)
from alexnet_tk.prediction.output import OutputFile


@dataclass(frozen=True, kw_only=True)
class Job:
    """The arguments of `predict` or, with a `FeatureFormat`, of `features`, which explain them."""

    inputs: Sequence[str | PathLike[str]]
    lists: Sequence[Path | IO[bytes]] = ()
    nul_separated: bool = False
    model: Path | None = None
    labels: Sequence[str] | str | PathLike[str] | None = None
    preprocess: str | None = None
    outputs: str | None = None
    topk: int = 1
    output: Path | TextIO | None = None
    format: Format = CSV
    resume: bool = False
    overwrite: bool = False
    strict: bool = False
    report: Path | None = None
    explain: Path | None = None
    unknown_below: float | None = None
    device: str = "auto"
    math: Math = "exact"
    batch_size: int | None = None
    workers: int | None = None
    engine: Engine = "local"
    on_record: Callable[[Record], None] | None = None

    @property
    def features(self) -> bool:
        """Whether features are to be written, in place of labels."""
        return isinstance(self.format, FeatureFormat)

    @property
    def file(self) -> Path | None:
        """The output, where it is a file."""
        return self.output if isinstance(self.output, Path) else None

    @property
    def resumable(self) -> OutputFile | None:
        """The output, where it is a file that can be resumed."""
        if self.file is not None and isinstance(self.format, (AppendableFormat, WholeFormat)):
            return OutputFile(self.file, self.format)
        return None

    @property
    def rows(self) -> RowFormat | None:
        """The format of what is written as answers come: a journal's, where the output can't grow."""
        if (file := self.resumable) is not None:
            return file.rows
        return self.format if self.output is not None and isinstance(self.format, RowFormat) else None


def choose_format(name: str | None, output: object) -> Format:
    """The format of that name, else the one that the output's ending stands for; CSV for a stream.

    Raises
    ------
    UsageError
        no format has that name or ending

    """
    if name is not None:
        if name not in FORMATS:
            raise UsageError(f"there is no format {name!r}; the formats are {', '.join(FORMATS)}")
        return FORMATS[name]
    if not isinstance(output, Path):
        return CSV
    for each in FORMATS.values():
        if each.ending and output.suffix.lower() == each.ending:
            return each
    *others, last = endings()
    raise UsageError(
        f"{output} ends in none of {', '.join(others)} and {last}; name the format, too: --format"
    )


def refuse_contradictions(job: Job) -> None:
    """Raise `UsageError` for the first arguments that make no sense, alone or together."""
    is_rows = isinstance(job.format, RowFormat)
    is_resumable = isinstance(job.format, (AppendableFormat, WholeFormat))
    for name, value in (("topk", job.topk), ("batch_size", job.batch_size), ("workers", job.workers)):
        if value is not None and value < 1:
            raise UsageError(f"{name} is {value}; it must be at least 1")
    if job.unknown_below is not None and not 0 <= job.unknown_below <= 1:  # NaN, too
        raise UsageError(f"unknown_below is {job.unknown_below}; it must be a probability, from 0 to 1")
    if job.engine not in get_args(Engine):
        raise UsageError(f"engine is {job.engine!r}; it must be {' or '.join(get_args(Engine))}")
    for is_contradiction, message in (
        (
            not job.inputs and not job.lists,
            "name pictures or folders of them; --from FILE and - take lists of paths",
        ),
        (
            job.nul_separated and not job.lists,
            "-0 says that the paths of a list are NUL-separated; give a list, --from FILE or -",
        ),
        (
            job.resume and job.overwrite,
            "--resume keeps an output and --overwrite replaces it; give one of them",
        ),
        (
            job.resume and (job.file is None or not is_resumable),
            "--resume goes on with an --output in a format that can be read again, such as CSV",
        ),
        (
            job.resume and job.report is not None,
            "--report draws all pictures of one run, and --resume skips some; give one of them",
        ),
        (
            job.report is not None and job.file is not None and job.report.resolve() == job.file.resolve(),
            "--report and --output name the same file; give each its own",
        ),
        (
            not is_rows and job.file is None,
            f"{job.format.name} can't be written to a stream; give --output F{job.format.ending}",
        ),
        (
            job.engine == "ray" and (job.file is None or not isinstance(job.format, Parquet)),
            "--engine ray writes a folder of Parquet files; give --output F.parquet",
        ),
        (
            job.engine == "ray"
            and (job.strict or job.on_record is not None or bool(job.report) or bool(job.explain)),
            "--strict, --report and --explain need all answers in one process; give them to --engine local",
        ),
    ):
        if is_contradiction:
            raise UsageError(message)
