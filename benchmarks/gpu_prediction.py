"""The sections of benchmarks/gpu.py about prediction: right answers, clear errors, speed."""

import csv
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import get_args

import numpy as np
import onnxruntime as ort

from alexnet_tk import predict
from alexnet_tk.benchmarking.measure import decoding_alone, limit, network_alone
from alexnet_tk.choices import Math
from alexnet_tk.errors import AlexnetError
from alexnet_tk.inference.cuda import PROVIDER
from alexnet_tk.inference.model import Model, open_model
from benchmarks.gpu_material import LABELS, TINY, exported, forms, jpegs, pictures, untrained
from benchmarks.gpu_section import Section, Skipped, gpus

# The largest difference of a probability from the CPU's, by how the device multiplies; TF32 and half
# precision have mantissas of the same width.
TOLERANCES = {"exact": 1e-5, "tf32": 2e-3}
TOP1_AGREEMENT = 0.99  # of files in half precision
MIN_ANSWERS = LABELS - 2  # different ones, without which equal answers prove nothing


def opened(path: Path, section: Section, math: Math = "exact") -> Model:
    """The model on the section's device; raises `Skipped` where ONNX Runtime is the package without CUDA.

    With the package for GPUs, a model that can't be opened is a failure, whatever the reason.
    """
    if section.device == "cuda" and PROVIDER not in ort.get_available_providers():
        try:
            version("onnxruntime-gpu")
        except PackageNotFoundError:
            raise Skipped("onnxruntime-gpu is not installed") from None
    return open_model(path, section.device, math)


def answers(section: Section) -> None:
    """Every form's answers on the device against the CPU's."""
    for form in forms(section):
        if section.has_time(form):
            with section.part(form):
                compare(section, form, exported(section, form))


def compare(section: Section, form: str, path: Path) -> None:
    """A file's probabilities on the device against those on the CPU."""
    cpu = open_model(path, "cpu")
    shown = pictures(16 if section.quick else 256, cpu.image_size, seed=1)
    theirs = cpu.run(shown)
    different = len(set(theirs.argmax(1).tolist()))
    section.expect(
        different >= MIN_ANSWERS, f"{form}: pictures have {MIN_ANSWERS} different answers, not {different}"
    )
    for math in get_args(Math) if form.startswith("fp32") else ("exact",):
        what = f"{form}, --math {math}"
        with section.part(what):
            here = opened(path, section, math)
            ours = here.run(shown)
            difference = float(np.abs(ours - theirs).max())
            agreement = float((ours.argmax(1) == theirs.argmax(1)).mean())
            figures = {"largest difference": difference, "top-1 agreement": agreement}
            section.note(what, figures | {"different answers": different})
            allowed = TOLERANCES[here.device.arithmetic]
            section.expect(difference <= allowed, f"{what}: differs from the CPU by at most {allowed:g}")
            if not form.startswith("fp32"):
                section.expect(
                    agreement >= TOP1_AGREEMENT, f"{what}: top-1 of {TOP1_AGREEMENT:.0%} is the CPU's"
                )


def messages(section: Section) -> None:
    """What a user is told of a device that is not there, and of int8 on CUDA: one line each."""
    path = exported(section, "fp32 native")
    faults = [("cuda:99", path), ("gpu", path), (section.device, section.folder / "missing.onnx")]
    if section.device == "cuda":
        opened(path, section)
        with section.part("int8 on CUDA"):
            faults.append(("cuda", int8_file(section)))
    for device, file in faults:
        name = f"{file.name} on {device}"
        try:
            open_model(file, device)
            section.expect(False, f"{name}: an error")
        except AlexnetError as error:
            section.note(name, str(error))
            section.expect("\n" not in str(error), f"{name}: a message of one line")
            if file.name.startswith("int8"):
                section.expect("int8 is for CPUs" in str(error), f"{name}: says that int8 is for CPUs")
    provoked(section, path)


def int8_file(section: Section) -> Path:
    """A tiny network in int8, which opens on the CPU."""
    from alexnet_tk.exporting import export

    path, shown = section.folder / "int8.onnx", jpegs(section, 32)
    checkpoint = untrained(section, *TINY, varied=False)
    export(checkpoint, path, precision="int8", lrn="decomposed", calibrate=shown, overwrite=True)
    return path


# Opens a file in an environment of its own, and prints the device or the error. "hidden": CUDA's libraries
# are only found where the system has them, not in Python packages.
OPENS = """
import sys
from pathlib import Path
import onnxruntime
from alexnet_tk.errors import AlexnetError
from alexnet_tk.inference.model import open_model
path, device, libraries = sys.argv[1:]
if libraries == "hidden":
    onnxruntime.preload_dlls = lambda: None
try:
    print("opened", open_model(Path(path), device).device)
except AlexnetError as error:
    print(error)
"""


def provoked(section: Section, path: Path) -> None:
    """What is said where GPUs or libraries are hidden, or a GPU's number is beyond the last."""
    beyond = f"cuda:{gpus() or 1}"
    faults: tuple[tuple[str, str, str, dict[str, str], str], ...] = (
        ("CUDA_VISIBLE_DEVICES is empty", "cuda", "shown", {"CUDA_VISIBLE_DEVICES": ""}, "finds no GPU"),
        ("the same, every GPU", "cuda:all", "shown", {"CUDA_VISIBLE_DEVICES": ""}, "finds no GPU"),
        (f"beyond the last GPU, {beyond}", beyond, "shown", {}, f"there is no {beyond}"),
        ("libraries hidden", "cuda", "hidden", {"LD_LIBRARY_PATH": ""}, "can't be found"),
    )
    for name, device, libraries, changed, words in faults:
        if not section.has_time(name):
            return
        done = subprocess.run(
            [sys.executable, "-c", OPENS, path, device, libraries],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)} | changed,
            capture_output=True,
            text=True,
            check=False,
        )
        said = (done.stdout + done.stderr).strip()
        section.note(name, said)
        if libraries == "hidden" and said.startswith("opened"):
            section.skip(f"{name}: the system has them, too")
            continue
        section.expect(
            "\n" not in said and said.startswith("--device cuda"), f"{name}: a message of one line"
        )
        if section.device == "cuda":
            section.expect(words in said, f"{name}: says {words!r}")


def every_gpu(section: Section) -> None:
    """`predict` on every GPU of the machine against one: the same answers, pictures/s."""
    available = gpus() if section.device == "cuda" else 0
    section.note("GPUs", available)
    if available < 2:
        raise Skipped(f"cuda:all needs two GPUs, and this run has {available}")
    count = 40 if section.quick else 5000
    folder, path = jpegs(section, count), exported(section, "fp16 decomposed")
    opened(path, section)
    labels: list[dict[str, str]] = []
    for device in ("cuda:0", "cuda:all", "cuda:0", "cuda:all"):  # in turns
        if not section.has_time(device):
            return
        output = section.folder / "every gpu.csv"
        begun = perf_counter()
        predict([folder], model=path, output=output, overwrite=True, device=device)
        rate = round(count / (perf_counter() - begun))
        section.note(f"{device}, run {len(labels) // 2 + 1}, pictures/s", rate)
        with output.open(newline="", encoding="utf-8") as file:
            labels.append({row["path"]: row["label_1"] for row in csv.DictReader(file)})
        if len(labels) == 2:
            compare_records(section, *labels)


def compare_records(section: Section, one: dict[str, str], every: dict[str, str]) -> None:
    """The records of one GPU against those of all: labels by their paths, in the order of the output."""
    different = len(set(one.values()))
    section.expect(different > 1, "the pictures have different answers, without which nothing is proven")
    section.expect(list(one) == list(every), "the same order of records")
    agreement = sum(every.get(path) == label for path, label in one.items()) / len(one)
    section.expect(agreement >= TOP1_AGREEMENT, f"the same top-1 for {TOP1_AGREEMENT:.0%}")


def native_and_decomposed(section: Section) -> None:
    """The network alone on the device, each form, in turns; pictures/s."""
    batch_size, seconds, rounds = (4, 0.05, 1) if section.quick else (128, 2.0, 3)
    rates: dict[str, list[float]] = {}
    models: dict[str, Model] = {}
    for form in forms(section):
        if section.has_time(form):
            with section.part(form):
                model = opened(exported(section, form), section)
                model.run(pictures(batch_size, model.image_size, seed=1))
                models[form] = model
    for number in range(rounds):
        for form, model in models.items():
            if section.has_time(f"{form}, round {number + 1}"):
                rates.setdefault(form, []).append(network_alone(model, batch_size, seconds)[0])
    for form, measured in rates.items():
        section.note(f"{form}, pictures/s", round(float(np.median(measured))))


def whole_predict(section: Section) -> None:
    """`predict` on a folder of JPEGs, and its share of what network and decoding reach alone."""
    for form in forms(section):
        if section.has_time(form):
            with section.part(form):
                predict_folder(section, form)


def predict_folder(section: Section, form: str) -> None:
    """`predict` with one file."""
    count, batch_size = (40, 4) if section.quick else (5000, 128)
    folder, path = jpegs(section, count), exported(section, form)
    model = opened(path, section)
    network, _ = network_alone(model, batch_size, 0.05 if section.quick else 3.0)
    decoding = decoding_alone(model, [str(each) for each in sorted(folder.iterdir())])
    output = section.folder / f"{form}.csv"
    begun = perf_counter()
    predict([folder], model=path, output=output, overwrite=True, device=section.device)
    rate = count / (perf_counter() - begun)
    share = rate / limit(network, decoding, model.device.name)
    figures = {"network": network, "decoding": decoding, "predict, with its start": rate}
    section.note(f"{form}, pictures/s", {each: round(value) for each, value in figures.items()})
    section.note(f"{form}, share of the limit", round(share, 2))
    rows = output.read_text(encoding="utf-8").count("\n")
    section.expect(rows == count + 1, f"{form}: a row for each picture, not {rows - 1}")
