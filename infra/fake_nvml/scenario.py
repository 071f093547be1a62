"""Writes scenario files for the stand-in NVML library: GPUs by model, and what happens to them later."""

import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path


@dataclass(frozen=True)
class GpuModel:
    """What NVML says of a model: marketing name, memory, idle power and clocks."""

    name: str
    memory_mib: int
    part: str = "692-2G520-0200-000"
    power_mw: int = 70_000
    temperature_c: int = 34
    sm_clock_mhz: int = 345
    memory_clock_mhz: int = 2619
    pci_device: str = "0x0"


H100_SXM = GpuModel("NVIDIA H100 80GB HBM3", 81_559, pci_device="0x233010de")


def scenario_text(
    site: str, model: GpuModel, gpus: int, driver: str = "570.124.06", start_ms: int | None = None
) -> str:
    """Returns the scenario of a healthy idle node; UUIDs and serials follow from the site's name."""
    lines = [f"driver {driver}", f"start {int(time.time() * 1000) if start_ms is None else start_ms}"]
    for index in range(gpus):
        digest = sha256(f"{site}/{index}".encode()).hexdigest()
        facts = {
            "uuid": _uuid(digest),
            "pci": f"00000000:{0x1B + index:02X}:00.0",
            "serial": str(1_650_000_000_000 + int(digest[32:40], 16)),
            "part": model.part,
            "name": f'"{model.name}"',
            "memory_mib": model.memory_mib,
            "power_mw": model.power_mw,
            "temperature": model.temperature_c,
            "sm_clock": model.sm_clock_mhz,
            "memory_clock": model.memory_clock_mhz,
            "pci_device": model.pci_device,
        }
        lines += [f"gpu {index} {key} {value}" for key, value in facts.items()]
    return "\n".join(lines) + "\n"


def gpu_uuids(site: str, gpus: int) -> list[str]:
    """Returns the UUIDs that the site's GPUs have in its scenario."""
    return [_uuid(sha256(f"{site}/{index}".encode()).hexdigest()) for index in range(gpus)]


def _uuid(digest: str) -> str:
    return f"GPU-{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"


def write_scenario(path: Path, text: str) -> None:
    """Puts a scenario in place in one step, so that no reader sees half of it."""
    unfinished = path.with_name(path.name + ".new")
    unfinished.write_text(text)
    unfinished.replace(path)


def lose_gpu(path: Path, index: int, xid: int = 79) -> None:
    """Makes a GPU fall off the bus from now on, as XID 79 reports it."""
    write_scenario(path, path.read_text() + f"gpu {index} xid {xid}\ngpu {index} lost 1\n")
