"""What a run is about: the model, opened, and the pictures, found."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from alexnet_tk.choices import Math
from alexnet_tk.errors import InputError
from alexnet_tk.files import sha256
from alexnet_tk.inference import Classifier, Found, find
from alexnet_tk.inference.cuda import arithmetic
from alexnet_tk.inference.sources import read_list
from alexnet_tk.prediction.job import Job
from alexnet_tk.prediction.plan import Plan, device_to_go_on
from alexnet_tk.progress import Progress
from alexnet_tk.text import counted, shortened
from alexnet_tk.zoo import built_in_model, default_model


@dataclass(frozen=True)
class Subject:
    """What a run is about, once the model is open and the pictures are found."""

    model: Path
    sha256: str  # of the model, where an output may be resumed one day
    classifier: Classifier
    found: Found
    topk: int
    math: Math
    unknown_below: float | None = None
    explain: Path | None = None

    def plan(self, format: str, batch_size: int, device: str | None = None) -> Plan:
        """What decides the bytes of an output."""
        here = self.classifier.device
        kind, how = here.kind, here.arithmetic
        if device is not None:
            model = self.classifier.model
            # For int8 files "fast" changes nothing; that the workers' processors have bfloat16 is assumed.
            math = "exact" if model.metadata.get("precision") == "int8" else self.math
            kind, how = device, arithmetic(device, math, model.is_half)
        return Plan.of(
            self.sha256,
            self.found.paths,
            self.topk,
            format,
            batch_size,
            settings=self.classifier.settings,
            device=kind,
            arithmetic=how,
            unknown_below=self.unknown_below,
            explain=str(self.explain or ""),
        )


def open_subject(job: Job, progress: Progress) -> Subject:
    """Open the model and, meanwhile, find the pictures: a large network takes half a second to open.

    Raises
    ------
    InputError
        no pictures, an input that does not exist, a list that can't be read
    ModelError, RecipeError, DeviceError, UsageError
        as `Classifier`

    """
    model = job.model or default_model()
    device = "cpu" if job.engine == "ray" else job.device  # each actor opens a device of its own
    if job.resume and (output := job.resumable) is not None and output.begun:
        device = device_to_go_on(device, output.path, progress)
    with ThreadPoolExecutor(1) as threads:
        opening = threads.submit(
            Classifier,
            model,
            device,
            math=job.math,
            labels=job.labels,
            preprocess=job.preprocess,
            outputs=job.outputs,
        )
        found = find(job.inputs, _listed(job))
        if not found.paths:
            lists = [str(each) if isinstance(each, Path) else "-" for each in job.lists]
            named = ", ".join([*map(str, job.inputs), *lists])
            raise InputError(f"no pictures in {named}: {found.instead_of_pictures()}")
        to_resume = job.resumable is not None and model.is_file()
        hashed = sha256(model) if to_resume else ""
        classifier = opening.result()
    if job.model is None:
        about = ""
        if model == built_in_model():
            clothes = shortened(classifier.labels, 3)
            about = f" (comes with alexnet-tk, for pictures of single clothes: {clothes})"
        progress.say(f"model: {model}{about}; --model names another")
    topk = min(job.topk, len(classifier.labels))
    if topk < job.topk:
        progress.say(f"the model has {counted(topk, 'label')}: all are given, not {job.topk:,}")
    return Subject(model, hashed, classifier, found, topk, job.math, job.unknown_below, job.explain)


def _listed(job: Job) -> list[str]:
    """The paths of all lists."""
    separator = b"\0" if job.nul_separated else b"\n"
    paths: list[str] = []
    for each in job.lists:
        if not isinstance(each, Path):
            paths += read_list(each, separator, "the list on stdin")
            continue
        try:
            with each.open("rb") as file:
                paths += read_list(file, separator, f"--from {each}")
        except OSError as error:
            raise InputError(f"--from {each} can't be read: {error.strerror}") from error
    return paths
