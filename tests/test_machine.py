"""How many cores and how much memory a process may use, from control groups made up in a folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from alexnet_tk.machine import forget_peak_memory, peak_memory, usable_cores, usable_memory


@pytest.fixture(autouse=True)
def _sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)


def write(folder: Path, **files: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("400000 100000\n", 4),
        ("150000 100000\n", 2),
        ("50000 100000\n", 1),
        ("1000 100000\n", 1),
        ("250000 50000\n", 5),
        ("9900000 100000\n", 16),
        ("max 100000\n", 16),
        ("400000 0\n", 16),
        ("", 16),
        ("rubbish\n", 16),
        ("a b\n", 16),
    ],
)
def test_the_limit_of_cgroup_v2(text: str, cores: int, tmp_path: Path) -> None:
    write(tmp_path, cpu__max=text)
    assert usable_cores(tmp_path) == cores


@pytest.mark.parametrize(
    ("quota", "period", "cores"),
    [
        ("400000\n", "100000\n", 4),
        ("150000\n", "100000\n", 2),
        ("10000\n", "100000\n", 1),
        ("-1\n", "100000\n", 16),
        ("0\n", "100000\n", 16),
        ("400000\n", "0\n", 16),
        ("rubbish\n", "100000\n", 16),
    ],
)
def test_the_limit_of_cgroup_v1(quota: str, period: str, cores: int, tmp_path: Path) -> None:
    write(tmp_path / "cpu", cpu__cfs_quota_us=quota, cpu__cfs_period_us=period)
    assert usable_cores(tmp_path) == cores


def test_half_of_cgroup_v1_is_no_limit(tmp_path: Path) -> None:
    write(tmp_path / "cpu", cpu__cfs_quota_us="400000\n")
    assert usable_cores(tmp_path) == 16


def test_without_control_groups_the_affinity_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert usable_cores(tmp_path) == 16
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3}, raising=False)
    assert usable_cores(tmp_path) == 1
    write(tmp_path, cpu__max="400000 100000\n")
    assert usable_cores(tmp_path) == 1, "the smaller of both limits"


def test_where_there_is_no_affinity_the_machine_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cores(tmp_path) == 64
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores(tmp_path) == 1


def test_this_machine_has_at_least_one() -> None:
    assert usable_cores() >= 1


@pytest.mark.parametrize(
    ("text", "memory"),
    [("1000000\n", 10**6), ("max\n", 64 * 2**30), (f"{2**62}\n", 64 * 2**30), ("", 64 * 2**30)],
)
def test_memory(text: str, memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lesser of the machine's own and the container's, by either version of control groups."""
    sizes = {"SC_PHYS_PAGES": 16 * 2**20, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__, raising=False)
    monkeypatch.setattr(os, "sysconf_names", sizes, raising=False)
    assert usable_memory(tmp_path) == 64 * 2**30
    write(tmp_path, memory__max=text)
    assert usable_memory(tmp_path) == memory
    (tmp_path / "memory.max").unlink()
    write(tmp_path / "memory", memory__limit_in_bytes=text)
    assert usable_memory(tmp_path) == memory
    monkeypatch.delattr(os, "sysconf", raising=False)
    assert usable_memory(tmp_path / "without") is None


HOLD_AND_GIVE_BACK = """
import mmap
from alexnet_tk.machine import peak_memory
before = peak_memory()
with mmap.mmap(-1, 2**26) as held:
    held.write(b"x" * 2**26)
print(peak_memory() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells")
def test_the_peak_remembers_what_was_given_back() -> None:
    # In a process of its own: this one may have held more before.
    told = subprocess.check_output([sys.executable, "-c", HOLD_AND_GIVE_BACK])
    assert 0.9 * 2**27 < int(told) < 1.2 * 2**27, "the map, and the bytes written to it"


def test_the_peak_is_forgotten_where_the_system_allows_it(tmp_path: Path) -> None:
    assert not forget_peak_memory(tmp_path / "gone")
    assert forget_peak_memory(tmp_path)
    assert (tmp_path / "clear_refs").read_text() == "5"  # proc(5): resets the peak


def test_a_system_that_does_not_tell(tmp_path: Path) -> None:
    assert peak_memory(tmp_path / "gone") is None
    (tmp_path / "status").write_text("Name: x\n")
    assert peak_memory(tmp_path) is None
    (tmp_path / "status").write_text("Name: x\nVmHWM:\t  1234 kB\n")
    assert peak_memory(tmp_path) == 1234 * 1024


@pytest.mark.parametrize("version", [1, 2])
def test_groups_within_groups_count(version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process's own control group and all around it, of cgroup v2 and of v1."""
    monkeypatch.setattr(os, "sysconf_names", {}, raising=False)
    process = tmp_path / "process"
    line = "0::/pod/inner" if version == 2 else "3:cpu,cpuacct:/pod/inner\n9:memory:/pod/inner\n1:name=x:/x"
    write(process, cgroup=line)
    folders = {name: tmp_path if version == 2 else tmp_path / name for name in ("cpu", "memory")}
    for each in folders.values():
        (each / "pod" / "inner").mkdir(parents=True, exist_ok=True)

    def limit(group: str, cores: int, memory: int) -> None:
        if version == 2:
            write(tmp_path / group, cpu__max=f"{cores}00000 100000", memory__max=str(memory))
        else:
            files = {"cpu__cfs_quota_us": f"{cores}00000", "cpu__cfs_period_us": "100000"}
            write(folders["cpu"] / group, **files)
            write(folders["memory"] / group, memory__limit_in_bytes=str(memory))

    assert usable_cores(tmp_path, process) == 16
    assert usable_memory(tmp_path, process) is None
    for group, cores, memory in (("pod/inner", 6, 600), ("pod", 5, 700), (".", 7, 500)):
        limit(group, cores, memory)
    assert usable_cores(tmp_path, process) == 5
    assert usable_memory(tmp_path, process) == 500
