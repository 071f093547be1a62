"""What GPUs the node has and how they are, read from NVML through pynvml; says whether the library is a stand-in."""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import pynvml

from agents.node.errors import NoGpus
from agents.node.grades import chip_grade
from schemas.gpu_health import FATAL_XIDS
from schemas.nodes import GpuInventory, GpuProcess, GpuReading

MIB = 1024 * 1024
STAND_IN_SYMBOL = "hourbook_simulated_nvml"
KERNEL_DRIVER = Path("/proc/driver/nvidia/version")
MEMORY_MAPS = Path("/proc/self/maps")


@dataclass(frozen=True)
class Driver:
    """Where the telemetry comes from; `simulated` is set by the library's own mark, whatever anybody configured."""

    version: str
    kernel_version: str
    library_sha256: str
    simulated: bool


class Telemetry(Protocol):
    """What the agent reads its GPUs from."""

    driver: Driver

    def inventory(self) -> tuple[GpuInventory, ...]:
        """Returns the GPUs as they were found at the start."""

    def read(self) -> tuple[GpuReading, ...]:
        """Returns one reading per GPU of the inventory, lost ones too."""


class Nvml:
    """Telemetry of the real driver, or of whatever library answers in its name."""

    def __init__(self, grade: str | None = None) -> None:
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise NoGpus(f"NVML does not answer: {error}") from error
        self.driver = _driver()
        self._handles: dict[str, object] = {}
        self._inventory: list[GpuInventory] = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            self._add_gpu(pynvml.nvmlDeviceGetHandleByIndex(index), grade)
        if not self._inventory:
            raise NoGpus("NVML lists no GPU")
        self._xids = _XidWatch(self._handles)
        self._ecc_at_start = {uuid: _ecc(handle, 1) for uuid, handle in self._handles.items()}
        self._condemned: set[str] = set()

    def inventory(self) -> tuple[GpuInventory, ...]:
        """Returns the GPUs as they were found at the start."""
        return tuple(self._inventory)

    def read(self) -> tuple[GpuReading, ...]:
        """Returns one reading per GPU; a fatal XID condemns a GPU until the agent starts anew."""
        seen = self._xids.collect()
        self._condemned |= {uuid for uuid, xids in seen.items() if FATAL_XIDS.keys() & set(xids)}
        return tuple(self._read_gpu(gpu.uuid, seen.get(gpu.uuid, ())) for gpu in self._inventory)

    def _add_gpu(self, handle: object, grade: str | None) -> None:
        name = pynvml.nvmlDeviceGetName(handle)
        uuid = pynvml.nvmlDeviceGetUUID(handle)
        self._handles[uuid] = handle
        self._inventory.append(
            GpuInventory(
                uuid=uuid,
                pci_address=pynvml.nvmlDeviceGetPciInfo(handle).busId,
                serial=_ask(pynvml.nvmlDeviceGetSerial, handle, default="unknown"),
                board_part_number=_ask(pynvml.nvmlDeviceGetBoardPartNumber, handle, default=""),
                name=name,
                memory_mib=pynvml.nvmlDeviceGetMemoryInfo(handle).total // MIB,
                grade=grade or chip_grade(name),
            )
        )

    def _read_gpu(self, uuid: str, xids: tuple[int, ...]) -> GpuReading:
        try:
            facts = _facts(self._handles[uuid])
        except pynvml.NVMLError:
            return absent(uuid, xids)
        healthy = (
            uuid not in self._condemned
            and not facts["remap_failed"]
            and not facts["mig_enabled"]
            and facts["ecc_uncorrected"] <= self._ecc_at_start[uuid]
        )
        return GpuReading(uuid=uuid, present=True, healthy=healthy, xid=xids, **facts)


class _XidWatch:
    """Collects the XIDs that the driver reports, per GPU."""

    def __init__(self, handles: dict[str, object]) -> None:
        self._uuids = {_address(handle): uuid for uuid, handle in handles.items()}
        self._events = pynvml.nvmlEventSetCreate()
        for handle in handles.values():
            xid_events = pynvml.nvmlEventTypeXidCriticalError
            _ask(pynvml.nvmlDeviceRegisterEvents, handle, xid_events, self._events, default=None)

    def collect(self) -> dict[str, tuple[int, ...]]:
        """Returns what came since the last call."""
        seen: dict[str, tuple[int, ...]] = {}
        while True:
            try:
                event = pynvml.nvmlEventSetWait_v2(self._events, 0)
            except pynvml.NVMLError_Timeout:
                return seen
            uuid = self._uuids.get(_address(event.device))
            if uuid:
                seen[uuid] = (*seen.get(uuid, ()), event.eventData)


def absent(uuid: str, xids: tuple[int, ...] = ()) -> GpuReading:
    """Returns the reading of a GPU that does not answer."""
    return GpuReading(uuid=uuid, present=False, healthy=False, xid=xids)


def _facts(handle: object) -> dict:
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    corrected, uncorrected, _pending, failed = _ask(pynvml.nvmlDeviceGetRemappedRows, handle, default=(0, 0, 0, 0))
    return {
        "memory_total_mib": memory.total // MIB,
        "memory_used_mib": memory.used // MIB,
        "utilisation_percent": pynvml.nvmlDeviceGetUtilizationRates(handle).gpu,
        "power_mw": _ask(pynvml.nvmlDeviceGetPowerUsage, handle, default=0),
        "energy_mj": _ask(pynvml.nvmlDeviceGetTotalEnergyConsumption, handle, default=0),
        "temperature_c": pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
        "sm_clock_mhz": pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM),
        "memory_clock_mhz": pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM),
        "throttle": _ask(pynvml.nvmlDeviceGetCurrentClocksEventReasons, handle, default=0),
        "ecc_corrected": _ecc(handle, 0),
        "ecc_uncorrected": _ecc(handle, 1),
        "remapped_correctable": corrected,
        "remapped_uncorrectable": uncorrected,
        "remap_failed": bool(failed),
        "mig_enabled": bool(_ask(pynvml.nvmlDeviceGetMigMode, handle, default=(0, 0))[0]),
        "processes": tuple(_process(found) for found in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)),
    }


def _process(found: Any) -> GpuProcess:
    used_mib = (found.usedGpuMemory or 0) // MIB
    return GpuProcess(pid=found.pid, memory_mib=used_mib)


def _ecc(handle: object, error_type: int) -> int:
    return _ask(pynvml.nvmlDeviceGetTotalEccErrors, handle, error_type, pynvml.NVML_AGGREGATE_ECC, default=0)


def _ask(function: Callable[..., Any], *arguments: object, default: Any) -> Any:
    """Asks for a fact that some boards do not have."""
    try:
        return function(*arguments)
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound):
        return default


def _address(handle: object) -> int | None:
    return ctypes.cast(handle, ctypes.c_void_p).value


def _driver() -> Driver:
    simulated = hasattr(pynvml.nvmlLib, STAND_IN_SYMBOL)
    return Driver(
        version=pynvml.nvmlSystemGetDriverVersion(),
        kernel_version="" if simulated else _kernel_version(),  # the machine's own driver is not the stand-in's
        library_sha256=sha256(_library_path().read_bytes()).hexdigest(),
        simulated=simulated,
    )


def _kernel_version() -> str:
    return KERNEL_DRIVER.read_text().splitlines()[0] if KERNEL_DRIVER.exists() else ""


def _library_path() -> Path:
    """Returns the file that the process has mapped under NVML's name, links resolved."""
    for line in MEMORY_MAPS.read_text().splitlines():
        if "libnvidia-ml.so" in line:
            return Path(line.split(maxsplit=5)[5])
    raise NoGpus("no NVML library is mapped into this process")
