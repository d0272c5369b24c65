"""The cores and the memory that this process may use."""

import os
from collections.abc import Iterator
from contextlib import suppress
from math import ceil
from pathlib import Path, PurePosixPath

CGROUPS = Path("/sys/fs/cgroup")
PROCESS = Path("/proc/self")


def usable_cores(cgroups: Path = CGROUPS, process: Path = PROCESS) -> int:
    """The number of cores this process may use, by its affinity and its containers' CPU limits."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = (_quota(group) for group in _control_groups(cgroups, process, "cpu"))
    return max(1, min([cores, *(ceil(quota) for quota in quotas if quota)]))


def _control_groups(cgroups: Path, process: Path, controller: str) -> Iterator[Path]:
    """The folders of the process's control group and of its ancestors, for cgroup v2 and v1."""
    yield from (cgroups, cgroups / controller)
    with suppress(OSError, ValueError):
        for line in (process / "cgroup").read_text().splitlines():  # cgroups(7): number:controllers:path
            _, controllers, path = line.split(":", 2)
            if not controllers or controller in controllers.split(","):
                root = cgroups / controller if controllers else cgroups
                inside = PurePosixPath(path.lstrip("/"))
                yield from (root / ancestor for ancestor in (inside, *inside.parents))


def _quota(group: Path) -> float | None:
    """A control group's CPU limit in cores (cgroup v2's cpu.max, v1's cfs_quota_us); None without a limit."""
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
    """The bytes of memory this process may use, the machine's or its containers' limit; None if unknown."""
    limits = []
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for group in _control_groups(cgroups, process, "memory"):
        for file in ("memory.max", "memory.limit_in_bytes"):  # cgroup v2, v1
            with suppress(OSError, ValueError):  # "max": no limit
                limits.append(int((group / file).read_text()))
    return min(limits, default=None)


def forget_peak_memory(process: Path = PROCESS) -> bool:
    """Reset the peak that `peak_memory` reports; False if the system doesn't allow it."""
    try:
        (process / "clear_refs").write_text("5")  # proc(5): resets VmHWM to what is resident now
    except OSError:
        return False
    return True


def peak_memory(process: Path = PROCESS) -> int | None:
    """The peak resident memory of this process in bytes, since the last reset; None if unknown."""
    try:
        status = (process / "status").read_text()
    except OSError:
        return None
    peak = next((line for line in status.splitlines() if line.startswith("VmHWM:")), None)
    return None if peak is None else 1024 * int(peak.split()[1])
