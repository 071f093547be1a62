"""Says on what machine figures were taken: they mean nothing without it."""

import os
import platform
from pathlib import Path


def read_field(path: str, name: str) -> str:
    """The value of the first `name : value` line of a file under /proc, or an empty string."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def describe_machine() -> dict[str, str | int | float]:
    """Processor, cores that this process may use, memory, system and load."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "processor": read_field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": cores,
        "memory": read_field("/proc/meminfo", "MemTotal"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_1_min": round(os.getloadavg()[0], 2),
    }
