"""The section of benchmarks/gpu.py about several GPUs; run as a script, one process of it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import cast, get_args

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch

from alexnet_tk.choices import Parallelism
from alexnet_tk.progress import SILENCE, Progress
from alexnet_tk.training import train
from benchmarks.gpu_material import CLASSES, QUICK_RUN, TINY, few_pictures
from benchmarks.gpu_section import Section, Skipped
from benchmarks.gpu_training import need_torch_on


class Dies(Progress):
    """Ends this process as `kill -9` does, when it reports its first epoch."""

    def result(self, line: str) -> None:
        """An epoch's figures."""
        os.kill(os.getpid(), signal.SIGKILL)


def modes(section: Section) -> None:
    """Every parallel mode on the GPUs of this machine, or two processes of the CPU; then one that dies."""
    need_torch_on(section.device)
    gpus = 2 if section.device == "cpu" else torch.cuda.device_count()
    if gpus < 2:
        raise Skipped("parallel modes: this machine has one GPU")
    count = processes(gpus)
    if count < gpus:
        section.note("GPUs", f"{count} of {gpus}: a power of two, which every mode divides into")
    names = [*get_args(Parallelism), "killed"]
    if section.quick and section.device == "cpu":  # each run loads torch in three processes
        section.skip(f"{', '.join(names[:-1])}: not with --quick on the CPU")
        names = names[-1:]
    data = few_pictures(section)
    for mode in names:
        if section.has_time(mode):
            with section.part(mode):
                train_in_processes(section, mode, count, data)


def processes(gpus: int) -> int:
    """The largest power of two of GPUs that the small network of `run_rank` divides among."""
    return min(1 << (gpus.bit_length() - 1), CLASSES)


def run_settings(count: int) -> tuple[str, ...]:
    """Settings of a short run that every mode can share among `count` processes."""
    # A pipeline is two processes, and takes its part of a batch in micro-batches.
    return (*TINY, *QUICK_RUN, f"train.batch_size={4 * count}")


def train_in_processes(section: Section, mode: str, count: int, data: Path) -> None:
    """Train in `count` processes, and look at how they end."""
    output = section.folder / f"{mode}.pt"
    begun = time.perf_counter()
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    try:
        done = subprocess.run(
            [sys.executable, *launcher, __file__, mode, data, output, section.device],
            capture_output=True,
            text=True,
            check=False,
            timeout=max(30.0, section.deadline - time.monotonic()),
        )
    except subprocess.TimeoutExpired:
        section.expect(False, f"{mode}: ends in its time")
        return
    section.note(mode, {"processes": count, "seconds": round(time.perf_counter() - begun, 1)})
    errors = [line for line in done.stderr.splitlines() if "Error" in line]
    if mode == "killed":
        section.expect(done.returncode != 0, "a killed process ends the run with an error")
        section.expect("SIGKILL" in done.stderr, f"the error names the signal: {errors[-1:]}")
    else:
        section.expect(done.returncode == 0 and output.exists(), f"{mode} trains: {errors[-1:]}")


def run_rank(mode: str, data: str, output: str, device: str) -> None:
    """What a process of `modes` does: train a tiny network; of a "killed" run, the first dies."""
    parallel, progress = ("data", Dies()) if mode == "killed" else (cast(Parallelism, mode), SILENCE)
    extra = run_settings(int(os.environ["WORLD_SIZE"]))
    train(data, settings=extra, output=output, device=device, parallel=parallel, progress=progress)


if __name__ == "__main__":
    run_rank(*sys.argv[1:])
