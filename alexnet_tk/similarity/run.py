"""The calls behind `similar`: pictures and those most like them; near-equal pictures within a file."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from itertools import takewhile
from os import PathLike
from pathlib import Path, PurePath
from typing import IO, get_args

import numpy as np

from alexnet_tk.archives import without_ending
from alexnet_tk.choices import Math, Metric
from alexnet_tk.errors import ModelError, UsageError
from alexnet_tk.files import refuse_existing, replacing, sha256
from alexnet_tk.inference import Record
from alexnet_tk.inference.pipeline import require_at_least_1
from alexnet_tk.prediction.account import Totals
from alexnet_tk.prediction.formats import CSV
from alexnet_tk.prediction.job import Job, refuse_contradictions
from alexnet_tk.prediction.plan import model_of
from alexnet_tk.prediction.run import as_list, as_paths
from alexnet_tk.prediction.subject import Subject, open_subject
from alexnet_tk.progress import SILENCE, Progress
from alexnet_tk.similarity.groups import groups_of, seconds_for
from alexnet_tk.similarity.nearest import nearest
from alexnet_tk.similarity.page import write_page
from alexnet_tk.similarity.vectors import Vectors, open_vectors
from alexnet_tk.split_names import split_of
from alexnet_tk.text import as_utf8, by_kind, counted

TOGETHER = 4096  # queries that the file is read once for
AT_ONCE = 2**20  # distances that are kept for them
MANY = 100_000  # pictures, from which comparing all with all is asked for twice
DIGITS = 6  # of a distance that are written


@dataclass(frozen=True)
class Neighbour:
    """A picture of the file, and its distance."""

    path: str
    distance: float


@dataclass(frozen=True)
class Match:
    """A picture and the ones most like it, the nearest first; or the error for which there are none."""

    query: str
    error: str = ""
    neighbours: tuple[Neighbour, ...] = ()


@dataclass(frozen=True)
class Group:
    """Near-equal pictures with their cosine distances from the first, and the splits that they lie in."""

    pictures: tuple[Neighbour, ...]
    leak: str = ""  # the splits where they are several, such as "train+val"


def similar(
    queries: str | PathLike[str] | Iterable[str | PathLike[str]],
    among: str | PathLike[str],
    *,
    topk: int = 6,
    metric: Metric = "euclidean",
    model: str | PathLike[str] | None = None,
    lists: Sequence[str | PathLike[str] | IO[bytes]] = (),
    nul_separated: bool = False,
    output: str | PathLike[str] | None = None,
    report: str | PathLike[str] | None = None,
    overwrite: bool = False,
    device: str = "auto",
    math: Math = "exact",
    batch_size: int | None = None,
    workers: int | None = None,
    progress: Progress = SILENCE,
) -> list[Match]:
    """Find the pictures most like others by the last hidden layer, as in figure 4 of the 2012 paper.

    The search is exact: the result is that of computing every distance in float64, and of equal distances the
    first row of the file comes first. The file is read once for 4,096 queries, in blocks of some megabytes.
    With OPENBLAS_NUM_THREADS=1 set before numpy is loaded, as by the command, it takes half the time.

    Parameters
    ----------
    queries, lists, nul_separated
        pictures, as `predict` takes its inputs
    among
        what `features` wrote: F.parquet, a folder of such files, or F.npy with F.npy.jsonl beside it
    topk
        pictures for each query, at most as many as the file holds
    metric
        "euclidean", or "cosine": 1 - the cosine of the angle, which is 1 where a vector is zero
    model
        the file that `among` was made with; None: model.onnx in the current folder
    output
        a table to write, .csv, with a row for each query and neighbour
    report
        a page to draw, .html, of each query beside its neighbours
    overwrite
        replace an output that exists
    device, math, batch_size, workers
        as `Classifier` takes them
    progress
        receives the device, the account and the number of rows searched

    Returns
    -------
    a match for each query, in order; one that can't be read has an error

    Raises
    ------
    UsageError
        arguments that make no sense
    InputError
        no pictures; an input that does not exist; `among` can't be used
    ModelError, DeviceError
        the model can't be used, does not give features, or gives others than the file holds
    OutputError
        an output exists or can't be written

    """
    require_at_least_1(topk=topk)
    if metric not in get_args(Metric):
        raise UsageError(f"metric is {metric!r}; it must be {' or '.join(get_args(Metric))}")
    file, table, page = Path(among), _as_path(output), _as_path(report)
    _refuse(table, page, file, overwrite)
    vectors = open_vectors(file)
    job = Job(
        inputs=as_list(queries),
        lists=as_paths(lists),
        nul_separated=nul_separated,
        model=_as_path(model),
        device=device,
        math=math,
        batch_size=batch_size,
        workers=workers,
    )
    refuse_contradictions(job)
    subject = open_subject(job, progress)
    _require_same_features(subject, vectors, progress)
    progress.say(f"device: {subject.classifier.device}")
    begun, matches, totals = time.perf_counter(), list[Match](), Totals()
    topk = min(topk, max(1, vectors.rows))
    for records in _together(subject, job, max(1, min(TOGETHER, AT_ONCE // topk)), progress):
        matches += _matches(records, vectors, topk, metric, progress)
    for match in matches:
        totals.add(match.error)
    failed = f", {totals.failed:,} failed ({by_kind(totals.reasons)})" if totals.failed else ""
    account = (
        f"{counted(len(matches), 'picture')} in {time.perf_counter() - begun:.2f} s: "
        f"{totals.answered:,} answered{failed}, among {counted(vectors.rows, 'row')} of {file}"
    )
    if table is not None:
        _write(table, match_rows(matches))
    if page is not None:
        rows = [(each.query, each.error, [(n.path, n.distance) for n in each.neighbours]) for each in matches]
        write_page(page, "Similar pictures", f"{account}; {metric} distances", rows)
    progress.say(account)
    return matches


def duplicates(
    among: str | PathLike[str],
    distance: float = 0.05,
    *,
    output: str | PathLike[str] | None = None,
    report: str | PathLike[str] | None = None,
    overwrite: bool = False,
    yes: bool = False,
    progress: Progress = SILENCE,
) -> list[Group]:
    """Find the groups of near-equal pictures in a file of features, and those that lie in several splits.

    All pairs are compared. Two pictures are in a group if their cosine distance is at most `distance`, or if
    others lead from one to the other in such steps. The pictures of a group lie in several splits where their
    paths part at folders, or archives, with the names of such, as train, Validation or test_set.zip.

    Parameters
    ----------
    among
        as `similar` takes it
    distance
        0 to 1; 0.05 finds copies, other qualities and many other sizes of a picture
    output, report, overwrite
        a table, .csv, and a page, .html, to write of the groups; replace those that exist
    yes
        compare more than 100,000 pictures, however long it takes
    progress
        receives the account and the number of pictures compared

    Returns
    -------
    the groups, those that leak first, and each in the order of the file

    Raises
    ------
    UsageError
        the distance makes no sense; more than 100,000 pictures, and not `yes`: the message says how long
    InputError, OutputError
        as `similar`

    """
    if not 0 <= distance < 1:
        raise UsageError(
            f"--duplicates {distance:g} is no distance of near-equal pictures; give 0 to 1, as 0.05"
        )
    file, table, page = Path(among), _as_path(output), _as_path(report)
    _refuse(table, page, file, overwrite)
    vectors = open_vectors(file)
    if vectors.rows > MANY and not yes:
        left = timedelta(seconds=round(seconds_for(vectors)))
        raise UsageError(
            f"comparing all pairs of {vectors.rows:,} pictures takes about {left} here; give --yes to do it"
        )
    begun = time.perf_counter()
    found = groups_of(vectors, distance, progress)
    paths = vectors.paths({row for group in found for row, _ in group})
    groups = [_group([Neighbour(paths[row], far) for row, far in group]) for group in found]
    groups.sort(key=lambda group: not group.leak)
    pictures = sum(len(each.pictures) for each in groups)
    account = (
        f"{file}: {counted(vectors.rows, 'row')} in {time.perf_counter() - begun:.2f} s: "
        f"{counted(len(groups), 'group')} of near-equal pictures, {pictures:,} in all"
    )
    if table is not None:
        _write(table, group_rows(groups))
    if page is not None:
        rows = [
            (first.path, "", [(n.path, n.distance) for n in others])
            for first, *others in (each.pictures for each in groups)
        ]
        write_page(page, "Near-equal pictures", f"{account}; cosine distances up to {distance:g}", rows)
    progress.say(account)
    leaks = Counter(each.leak for each in groups if each.leak)
    if leaks:
        progress.say(f"{counted(leaks.total(), 'group')} in more than one split: {by_kind(leaks)}")
    return groups


def match_rows(matches: Iterable[Match]) -> Iterator[list[object]]:
    """The rows of a table of matches, with its header; a failed query has one with its error."""
    yield ["query", "rank", "path", "distance", "error"]
    for match in matches:
        query = as_utf8(match.query)
        if match.error:
            yield [query, "", "", "", match.error]
        for rank, each in enumerate(match.neighbours, 1):
            yield [query, rank, as_utf8(each.path), f"{each.distance:.{DIGITS}g}", ""]


def group_rows(groups: Iterable[Group]) -> Iterator[list[object]]:
    """The rows of a table of groups, with its header."""
    yield ["group", "path", "distance", "leak"]
    for number, group in enumerate(groups, 1):
        for each in group.pictures:
            yield [number, as_utf8(each.path), f"{each.distance:.{DIGITS}g}", group.leak]


def _as_path(path: str | PathLike[str] | None) -> Path | None:
    return None if path is None else Path(path)


def _refuse(table: Path | None, page: Path | None, among: Path, overwrite: bool) -> None:
    """Raise `UsageError` or `OutputError` where an output can't be written, before the work."""
    for path, option, ending in ((table, "--output", ".csv"), (page, "--report", ".html")):
        if path is not None:
            if path.suffix.lower() != ending:
                raise UsageError(f"{option} {path} does not end in {ending}; give it that ending")
            refuse_existing(path, overwrite, source=[among])


def _write(table: Path, rows: Iterable[list[object]]) -> None:
    with replacing(table) as part, part.open("wb") as file:
        file.writelines(map(CSV.line, rows))


def _require_same_features(subject: Subject, vectors: Vectors, progress: Progress) -> None:
    """Raise `ModelError` where the model's features can't be the file's; say where they may be others."""
    units = subject.classifier.require_features()
    if units != vectors.units:
        raise ModelError(
            f"{subject.model} gives {units:,} features and {vectors.path} holds {vectors.units:,}; give "
            "--model the file that they were made with"
        )
    made_with = model_of(vectors.path)
    if made_with is not None and made_with != sha256(subject.model):
        progress.say(
            f"{vectors.path} was made with another model than {subject.model}: distances may mean nothing"
        )


def _together(subject: Subject, job: Job, most: int, progress: Progress) -> Iterator[list[Record]]:
    """The queries' records with their features, `most` or a few more at a time."""
    waiting = list[Record]()
    pictures = subject.found.paths
    progress.begin("queries", len(pictures))
    batches = subject.classifier.batches(
        pictures, 1, list, batch_size=job.batch_size, workers=job.workers, features=True
    )
    with closing(batches):
        for records in batches:
            waiting += records
            progress.advance(len(records))
            if len(waiting) >= most:
                yield waiting
                waiting = []
    if waiting:
        yield waiting


def _matches(
    records: list[Record], vectors: Vectors, topk: int, metric: Metric, progress: Progress
) -> Iterator[Match]:
    """The match of each record."""
    features = [each.features.astype(np.float32) for each in records if each.features is not None]
    if not features:
        yield from (Match(each.path, each.error) for each in records)
        return
    progress.begin("searching", vectors.rows)
    found = nearest(np.stack(features), vectors, topk, metric, progress.advance)
    paths = vectors.paths({row for each in found for _, row in each})
    results = iter(found)
    for each in records:
        near = () if each.error else tuple(Neighbour(paths[row], far) for far, row in next(results))
        yield Match(each.path, each.error, near)


def _group(pictures: list[Neighbour]) -> Group:
    """The group of these, and the splits that they lie in if these are several."""
    splits = _splits([each.path for each in pictures])
    return Group(tuple(pictures), "+".join(sorted(splits)) if len(splits) > 1 else "")


def _splits(paths: Sequence[str]) -> set[str]:
    """The splits of pictures: of each, the outermost folder with such a name that not all of them share.

    So neither a data set in a folder called train nor a class called val is taken for one.
    """
    parts = [PurePath(each).parent.parts for each in paths]
    shared = sum(takewhile(bool, (len(set(level)) == 1 for level in zip(*parts, strict=False))))
    folders = ([without_ending(each) for each in one[shared:]] for one in parts)
    return {split for each in folders if (split := next(filter(None, map(split_of, each)), None))}
