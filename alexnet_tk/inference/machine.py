"""What this machine lets a process use."""

import os
from collections.abc import Iterator
from contextlib import suppress
from math import ceil
from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")
PROCESS = Path("/proc/self")


def usable_cores(cgroups: Path = CGROUPS, process: Path = PROCESS) -> int:
    """The cores this process may use: its affinity and its containers' limits count, not `os.cpu_count`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = (_quota(group) for group in _control_groups(cgroups, process, "cpu"))
    return max(1, min([cores, *(ceil(quota) for quota in quotas if quota)]))


def _control_groups(cgroups: Path, process: Path, controller: str) -> Iterator[Path]:
    """The folders of the control group the process is in and of those around it, of cgroup v2 and v1."""
    yield from (cgroups, cgroups / controller)
    with suppress(OSError, ValueError):
        for line in (process / "cgroup").read_text().splitlines():  # cgroups(7): number:controllers:path
            _, controllers, path = line.split(":", 2)
            if not controllers or controller in controllers.split(","):
                root = cgroups / controller if controllers else cgroups
                inside = PurePosixPath(path.lstrip("/"))
                yield from (root / each for each in (inside, *inside.parents))


def _quota(group: Path) -> float | None:
    """A control group's limit in cores: cgroup v2's cpu.max, v1's cfs_quota_us; None without one."""
    try:
        quota, period = (group / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (group / "cpu.cfs_quota_us").read_text()
            period = (group / "cpu.cfs_period_us").read_text()
        except OSError:
            return None
    try:
        return int(quota) / int(period) if int(quota) > 0 else None
    except (ValueError, ZeroDivisionError):  # "max": no limit
        return None


def usable_memory(cgroups: Path = CGROUPS, process: Path = PROCESS) -> int | None:
    """The bytes this process may use: the machine's or its containers' limit; None where neither is told."""
    limits = []
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for group in _control_groups(cgroups, process, "memory"):
        for file in ("memory.max", "memory.limit_in_bytes"):  # cgroup v2, v1
            with suppress(OSError, ValueError):  # "max": no limit
                limits.append(int((group / file).read_text()))
    return min(limits, default=None)


def forget_peak_memory(process: Path = PROCESS) -> bool:
    """From now on `peak_memory` tells of what comes; False where the system does not allow that."""
    try:
        (process / "clear_refs").write_text("5")  # proc(5): resets VmHWM to what is resident now
    except OSError:
        return False
    return True


def peak_memory(process: Path = PROCESS) -> int | None:
    """The most bytes this process has held since then; None where the system does not tell."""
    try:
        status = (process / "status").read_text()
    except OSError:
        return None
    peak = next((line for line in status.splitlines() if line.startswith("VmHWM:")), None)
    return None if peak is None else 1024 * int(peak.split()[1])
