"""Pictures answered over Ray: on all cores or GPUs of a cluster, or of this machine.

Ray Data hands parts of the pictures to actors, each with a `Classifier` of its own. A row of its data is a
part: paths in, a Parquet file of their records out. A part is answered as a whole, so an actor that is killed
takes with it only what it had in hand: Ray starts another and gives it the part again. This process alone
writes the parts, as they come; of the pictures it holds the paths and nothing else.

The machines must share this package, with the extra `ray`, and the pictures (a common folder, or URLs). The
model is sent to them.
"""

import io
import os
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.data
from ray.data.exceptions import ExecutionTimeoutError
from ray.exceptions import RayError

from alexnet_tk.archives import Member
from alexnet_tk.choices import Math
from alexnet_tk.errors import AlexnetError, ClusterError, UsageError
from alexnet_tk.inference import Classifier
from alexnet_tk.inference.other_models import GivenPreprocess, read_preprocess
from alexnet_tk.inference.remote import is_url
from alexnet_tk.prediction.account import Outcome, Totals
from alexnet_tk.prediction.feature_formats import FeatureFormat
from alexnet_tk.prediction.formats import PARQUET, Parquet
from alexnet_tk.prediction.job import Job
from alexnet_tk.prediction.parquet import errors
from alexnet_tk.prediction.parts import Parts, earlier_folder, parts, parts_format
from alexnet_tk.prediction.plan import device_to_go_on, earlier_batch_size
from alexnet_tk.prediction.ray_cluster import Pool, connect
from alexnet_tk.prediction.subject import Subject
from alexnet_tk.progress import Progress

_SEPARATOR = b"\0"  # no path holds it


def predict_over_ray(job: Job, subject: Subject, progress: Progress) -> Outcome:
    """A whole run over Ray; raises what `answer_parts` and `ray_cluster.connect` raise, and `OutputError`."""
    output, format = job.file, job.format
    assert output is not None and isinstance(format, Parquet), "refuse_contradictions"
    pictures, classifier = subject.found.paths, subject.classifier
    _refuse_members(pictures)
    device = job.device
    if job.resume:
        device = device_to_go_on(device, earlier_folder(output), progress)
    with connect(device, job.workers, progress) as pool:
        progress.say(f"ray: {pool}")
        earlier = earlier_batch_size(earlier_folder(output)) if job.resume else None
        batch_size = job.batch_size or earlier or pool.batch_size
        plan = subject.plan(parts_format(format), batch_size, pool.device)
        with parts(output, plan, job.resume, format) as kept:
            before = kept.totals()
            before.begin(progress, str(output), len(pictures))
            now, seconds = answer_parts(
                pool,
                subject.model,
                pictures,
                subject.topk,
                kept,
                format=format,
                math=subject.math,
                labels=classifier.labels if job.preprocess else None,
                preprocess=read_preprocess(job.preprocess) if job.preprocess else None,
                outputs=job.outputs,
                progress=progress,
            )
    outcome = Outcome(subject.found, before, now, seconds)
    outcome.tell(progress)
    return outcome


def answer_parts(
    pool: Pool,
    model: Path,
    pictures: Sequence[str],
    topk: int,
    parts: Parts,
    *,
    format: Parquet = PARQUET,
    math: Math = "exact",
    labels: list[str] | None = None,
    preprocess: GivenPreprocess | None = None,
    outputs: str | None = None,
    progress: Progress,
) -> tuple[Totals, float]:
    """Answer for the pictures whose part is not there yet.

    Parameters
    ----------
    pool
        what `connect` gives
    model, math, labels, preprocess, outputs
        as `Classifier`
    pictures
        URLs, or paths as all machines see them; relative ones are seen from the folder this process is in
    topk
        how many labels a record holds, at most as many as there are
    parts
        those of a plan for these pictures
    format
        of a part: of labels, or of features
    progress
        receives the number of pictures of each part that is written

    Returns
    -------
    the counts of these pictures, and the seconds that they took

    Raises
    ------
    ClusterError
        an actor can't open the model or compute, or Ray gave up
    OutputError
        a part can't be written

    """
    totals, begun = Totals(), time.perf_counter()
    rows = [
        {"part": number, "paths": _SEPARATOR.join(map(os.fsencode, parts.cut(pictures, number)))}
        for number in parts.missing()
    ]
    if not rows:
        return totals, time.perf_counter() - begun
    content = ray.put(np.fromfile(model, np.uint8))
    work = _Work(
        model.name,
        content,
        labels,
        preprocess,
        outputs,
        pool.device,
        math,
        pool.threads,
        parts.plan.batch_size,
        parts.plan.unknown_below,
        format,
        topk,
        str(Path.cwd()),
    )
    try:
        # Rows are `map`ped one by one, each a block: a part is a task, and lost, retried and written as one.
        answered = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            _Actor,  # type: ignore[arg-type]  # its annotation knows functions only
            fn_constructor_args=(work,),
            compute=ray.data.ActorPoolStrategy(size=pool.actors),
            num_cpus=None if pool.device == "cuda" else 1,
            num_gpus=1 if pool.device == "cuda" else None,
        )
        for row in answered.iter_rows():
            if row["refusal"]:
                raise ClusterError(row["refusal"])
            parts.put(row["part"], row["answers"])
            for error in errors(io.BytesIO(row["answers"])):
                totals.add(error)
            progress.advance(len(parts.cut(pictures, row["part"])))
    except (RayError, ExecutionTimeoutError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ClusterError(f"Ray gave up: {lines[-1]}; --resume goes on from the finished parts") from error
    return totals, time.perf_counter() - begun


def _refuse_members(pictures: Iterable[str]) -> None:
    """Raise `UsageError` for a picture in an archive, of which a process that reads it holds the index."""
    for each in pictures:
        if isinstance(each, Member):
            raise UsageError(f"{each}: --engine ray does not read archives in place; unpack it")


@dataclass(frozen=True)
class _Work:
    """What every actor needs to know."""

    name: str  # of the model's file
    content: "ray.ObjectRef[Any]"  # its bytes, uint8; every node holds them once
    labels: list[str] | None
    preprocess: GivenPreprocess | None
    outputs: str | None
    device: str
    math: Math
    threads: int
    batch_size: int
    unknown_below: float | None
    format: Parquet
    topk: int
    folder: str  # which relative paths start from


class _Actor:
    """Answers parts, in a process of its own that may be anywhere."""

    def __init__(self, work: _Work) -> None:
        self._work = work
        self._classifier: Classifier | None = None

    def __call__(self, part: dict[str, Any]) -> dict[str, Any]:
        """The records of a part as a Parquet file, or why there are none.

        What can't be done is said and not raised: Ray would wrap it in tracebacks, or try it again.
        """
        try:
            return {"part": part["part"], "answers": self._answer(part["paths"]), "refusal": ""}
        except AlexnetError as error:
            return {"part": part["part"], "answers": b"", "refusal": str(error)}

    def _answer(self, names: bytes) -> bytes:
        work, paths = self._work, [os.fsdecode(each) for each in names.split(_SEPARATOR)]
        if self._classifier is None:
            self._classifier = self._open()
        seen = [path if is_url(path) else os.path.join(work.folder, path) for path in paths]  # noqa: PTH118
        with_features = isinstance(work.format, FeatureFormat)
        answer = self._classifier.features if with_features else self._classifier.classify
        records = answer(seen, work.topk, batch_size=work.batch_size, workers=work.threads)
        named = (
            replace(record, path=path).marked(work.unknown_below)
            for record, path in zip(records, paths, strict=True)
        )
        return work.format.encode(named, work.topk)

    def _open(self) -> Classifier:
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / self._work.name
            ray.get(self._work.content).tofile(model)
            return Classifier(
                model,
                self._work.device,
                math=self._work.math,
                labels=self._work.labels,
                preprocess=self._work.preprocess,
                outputs=self._work.outputs,
            )
