"""The sections of benchmarks/gpu.py about prediction: right answers, clear errors, speed."""

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from alexnet_tk.benchmarking.measure import decoding_alone, limit, network_alone
from alexnet_tk.choices import Math
from alexnet_tk.errors import AlexnetError
from alexnet_tk.inference.model import Model, open_model
from benchmarks.gpu_section import TINY, Section, Skipped, forms, jpegs, untrained

# The largest difference of a probability from the CPU's, by how the device computes float32.
TOLERANCES = {"exact": 1e-5, "tf32": 2e-3}
TOP1_AGREEMENT = 0.99  # of files in half precision


def opened(path: Path, section: Section, math: Math = "exact") -> Model:
    """The model on the section's device; raises `Skipped` where ONNX Runtime can't use it."""
    try:
        return open_model(path, section.device, math)
    except AlexnetError as error:
        raise Skipped(f"prediction on {section.device}: {error}") from error


def answers(section: Section) -> None:
    """Every form's answers on the device against the CPU's."""
    count = 8 if section.quick else 256
    for name, path in forms(section).items():
        if not section.has_time(name):
            return
        cpu = open_model(path, "cpu")
        pictures = np.random.default_rng(1).integers(
            0, 256, (count, cpu.image_size, cpu.image_size, 3), dtype=np.uint8
        )
        theirs = cpu.run(pictures)
        for math in get_args(Math) if name.startswith("fp32") else ("exact",):
            here = opened(path, section, math)
            ours = here.run(pictures)
            difference = float(np.abs(ours - theirs).max())
            agreement = float((ours.argmax(1) == theirs.argmax(1)).mean())
            what = f"{name}, --math {math}"
            section.note(what, {"largest difference": difference, "top-1 agreement": agreement})
            if name.startswith("fp32"):
                allowed = TOLERANCES[here.device.arithmetic]
                section.expect(difference <= allowed, f"{what}: differs from the CPU by at most {allowed:g}")
            else:
                section.expect(
                    agreement >= TOP1_AGREEMENT, f"{what}: top-1 of {TOP1_AGREEMENT:.0%} is the CPU's"
                )


def messages(section: Section) -> None:
    """What a user is told of a device that is not there, and of int8 on CUDA: one line each."""
    path = forms(section)["fp32 native"]
    faults = [("cuda:99", path), ("gpu", path), (section.device, section.folder / "missing.onnx")]
    if section.device == "cuda":
        from alexnet_tk.exporting import export

        opened(path, section)
        int8, pictures = section.folder / "int8.onnx", jpegs(section, 32)
        checkpoint = untrained(section, *TINY)
        try:
            export(checkpoint, int8, precision="int8", lrn="decomposed", calibrate=pictures, overwrite=True)
            faults.append(("cuda", int8))
        except AlexnetError as error:  # untrained weights may not survive quantisation
            section.skip(f"int8 on CUDA: {error}")
    for device, file in faults:
        name = f"{file.name} on {device}"
        try:
            open_model(file, device)
            section.expect(False, f"{name}: an error")
        except AlexnetError as error:
            section.note(name, str(error))
            section.expect("\n" not in str(error), f"{name}: a message of one line")
    provoked(section, path)


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
    beyond = f"cuda:{torch.cuda.device_count() or 1}"
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
    gpus = torch.cuda.device_count()
    section.note("GPUs", gpus)
    if section.device != "cuda" or gpus < 2:
        raise Skipped(f"cuda:all needs two GPUs, and this run has {gpus if section.device == 'cuda' else 0}")
    from time import perf_counter

    from alexnet_tk import predict

    count = 40 if section.quick else 5000
    path = forms(section)["fp16 decomposed"]
    answers: list[list[tuple[str, str]]] = []
    for device in ("cuda:0", "cuda:all", "cuda:0", "cuda:all"):  # in turns
        if not section.has_time(device):
            return
        output = section.folder / "every gpu.csv"
        begun = perf_counter()
        predict([jpegs(section, count)], model=path, output=output, overwrite=True, device=device)
        section.note(
            f"{device}, run {len(answers) // 2 + 1}, pictures/s", round(count / (perf_counter() - begun))
        )
        with output.open(newline="", encoding="utf-8") as file:
            answers.append([(row["path"], row["label_1"]) for row in csv.DictReader(file)])
    one, every = answers[:2]
    section.expect([path for path, _ in one] == [path for path, _ in every], "the same order of records")
    agreement = sum(mine == theirs for mine, theirs in zip(one, every, strict=True)) / count
    section.expect(agreement >= TOP1_AGREEMENT, f"the same top-1 for {TOP1_AGREEMENT:.0%}")


def native_and_decomposed(section: Section) -> None:
    """The network alone on the device, each form, in turns; pictures/s."""
    batch_size, seconds, rounds = (4, 0.05, 1) if section.quick else (128, 2.0, 3)
    models = {name: opened(path, section) for name, path in forms(section).items()}
    rates: dict[str, list[float]] = {name: [] for name in models}
    for model in models.values():
        model.run(np.zeros((batch_size, model.image_size, model.image_size, 3), np.uint8))
    for _ in range(rounds):
        for name, model in models.items():
            if section.has_time(name):
                rates[name].append(network_alone(model, batch_size, seconds)[0])
    for name, each in rates.items():
        if each:
            section.note(f"{name}, pictures/s", round(float(np.median(each))))


def whole_predict(section: Section) -> None:
    """`predict` on a folder of JPEGs, and its share of what network and decoding reach alone."""
    from time import perf_counter

    from alexnet_tk import predict

    count, batch_size = (40, 4) if section.quick else (5000, 128)
    folder = jpegs(section, count)
    paths = [str(each) for each in sorted(folder.iterdir())]
    for name, path in forms(section).items():
        if not section.has_time(name):
            return
        model = opened(path, section)
        network, _ = network_alone(model, batch_size, 0.05 if section.quick else 3.0)
        decoding = decoding_alone(model, paths)
        output = section.folder / f"{name}.csv"
        begun = perf_counter()
        predict([folder], model=path, output=output, overwrite=True, device=section.device)
        rate = count / (perf_counter() - begun)
        share = rate / limit(network, decoding, model.device.name)
        figures = {"network": network, "decoding": decoding, "predict, with its start": rate}
        section.note(f"{name}, pictures/s", {each: round(value) for each, value in figures.items()})
        section.note(f"{name}, share of the limit", round(share, 2))
        rows = output.read_text(encoding="utf-8").count("\n")
        section.expect(rows == count + 1, f"{name}: a row for each picture, not {rows - 1}")
