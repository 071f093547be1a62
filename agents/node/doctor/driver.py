"""The driver: does NVML answer, and do library, kernel module and PCI bus say the same."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agents.node.doctor.calls import ADVICE
from agents.node.doctor.findings import Finding, mend, ok, warn
from agents.node.nvml import Blind, NvmlProcess

WAIT_S = 12.0
PAUSE_S = 0.2
SUBJECT = "driver"
LIBRARY_VERSION = re.compile(r"\.so\.(\d+(?:\.\d+)+)$")
MODULE_VERSION = re.compile(r"\s(\d{3,}(?:\.\d+)+)\s")
PCI_DEVICES = Path("/sys/bus/pci/devices")
NVIDIA_VENDOR = "0x10de"
GPU_CLASSES = ("0x0300", "0x0302")  # VGA and 3D controllers


def ask_nvml(process: NvmlProcess) -> tuple[dict[str, Any] | None, str]:
    """Returns one whole answer of the process that asks NVML, and where there is none, why.

    A driver that wakes its GPUs takes seconds for each: what hangs is waited for a while.
    """
    end, answer, reason = time.monotonic() + WAIT_S, None, ""
    while True:
        try:
            answer, reason = process.ask(), ""
        except Blind as error:
            reason = str(error)
            if answer is None and not process.is_starting:
                return None, reason
        is_whole = answer is not None and not any(gpu["hangs"] is not None for gpu in answer["gpus"])
        if is_whole or time.monotonic() >= end:
            return answer, reason
        time.sleep(PAUSE_S)


def examine_driver(answer: dict[str, Any], module: str, pci_gpus: int | None) -> Iterator[Finding]:
    """Yields what the driver is, by NVML, the library's file, the module and the bus."""
    system = answer["system"]
    version, library = system["version"] or "", system.get("library_path") or ""
    if system["simulated"]:
        yield warn(SUBJECT, f"NVML is simulated ({library}): these GPUs are not hardware", "only a sandbox takes them")
    elif module and (found := MODULE_VERSION.search(module)) and found.group(1) != version:
        words = f"NVML says version {version}, the loaded kernel module {found.group(1)}"
        yield mend(SUBJECT, words, "finish the upgrade: reboot, or unload and load the module")
    elif not module:
        yield warn(SUBJECT, "the kernel module's version cannot be read", "let the agent read /proc/driver/nvidia")
    on_disk = LIBRARY_VERSION.search(library)
    if on_disk and version and on_disk.group(1) != version:
        words = f"the library on disk is of version {on_disk.group(1)}, the driver of {version}"
        yield mend(SUBJECT, words, "finish the upgrade: reboot, or unload and load the module")
    digest = system["library_sha256"]
    if digest is None:
        yield warn(SUBJECT, "the library's file was replaced since it was loaded, or may not be read", "look again")
    else:
        yield ok(SUBJECT, f"version {version or 'unknown'}, library {library or '?'}, SHA-256 {digest[:16]}…")
    for name, (code, words) in system["failed"].items():
        said = f"{name} answers {code} ({words})" if code else f"{name} {words}"
        yield warn(SUBJECT, said, ADVICE.get(code, ""))
    yield _count(len(answer["gpus"]), None if system["simulated"] else pci_gpus)


def _count(listed: int, pci_gpus: int | None) -> Finding:
    if not listed:
        return mend(SUBJECT, "NVML lists no GPU", "see lspci and dmesg; in a container pass the GPUs in")
    if pci_gpus is not None and pci_gpus > listed:
        words = f"NVML lists {listed} GPUs, the PCI bus has {pci_gpus}"
        return warn(SUBJECT, words, "the driver has given up on some: see dmesg; or they were not passed in")
    return ok(SUBJECT, f"NVML lists {listed} GPUs")


def pci_gpus(folder: Path = PCI_DEVICES) -> int | None:
    """Returns how many of NVIDIA's GPUs are on the PCI bus; None where the bus cannot be read."""
    count = 0
    try:
        for device in folder.iterdir():
            vendor, kind = ((device / name).read_text().strip() for name in ("vendor", "class"))
            count += vendor == NVIDIA_VENDOR and kind.startswith(GPU_CLASSES)
    except OSError:
        return None
    return count
