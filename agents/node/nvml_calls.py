"""Every question to one GPU, each on its own: whatever a call answers, raises, or lacks stays with that call.

Runs in the child process of `agents.node.nvml_child`, and so imports nothing but pynvml.
"""

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import pynvml

NOT_FOUND = pynvml.NVML_ERROR_FUNCTION_NOT_FOUND
OTHER_STRUCTURE = (NOT_FOUND, pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH)
GARBAGE = -1
ODD = -2
PID_MAX = 2**22
NVLINKS_MAX = 36
LOST_PROBES = ("nvmlDeviceGetMemoryInfo", "nvmlDeviceGetUtilizationRates", "nvmlDeviceGetPowerUsage")


class ProcessInfoV1(ctypes.Structure):
    """A process as drivers before MIG list it."""

    _fields_ = [("pid", ctypes.c_uint), ("usedGpuMemory", ctypes.c_ulonglong)]


class GarbageAnswer(Exception):
    """The library filled a structure of another version: what it says cannot be."""


class GpuCalls:
    """Asks one GPU. `failed` has the calls that fail now, by name: NVML's code (or -1, -2) and its name."""

    def __init__(self, handle: object) -> None:
        self.handle = handle
        self.failed: dict[str, tuple[int, str]] = {}
        self.current: str | None = None
        self.answered = False
        self.lost = False

    def ask(self, name: str, *arguments: object, function: Callable | None = None) -> Any:
        """Returns the answer to one call, or None where it fails; notes which call is under way."""
        answer, failure = self._try(name, *arguments, function=function)
        self._note(name, failure)
        return answer

    def ask_first(self, *names: str, readers: dict[str, Callable] | None = None) -> Any:
        """Returns the answer of the first of several versions of a call that this library has."""
        failure = None
        for name in names:
            answer, failure = self._try(name, function=(readers or {}).get(name))
            if failure is None:
                break
            if failure[0] not in (*OTHER_STRUCTURE, GARBAGE):
                break
        self._note(names[0], failure)
        return answer

    def begin(self) -> None:
        """Begins a round of questions."""
        self.answered = self.lost = False

    def probe_loss(self) -> None:
        """Makes sure that a GPU of which one call said "lost" is lost: it is not where any other call answers."""
        if not self.lost:
            return
        for name in LOST_PROBES:
            self._try(name)

    def _try(self, name: str, *arguments: object, function: Callable | None = None) -> tuple[Any, tuple | None]:
        self.current = name
        try:
            answer = (function or getattr(pynvml, name))(self.handle, *arguments)
        except pynvml.NVMLError as error:
            self.answered = self.answered or error.value == pynvml.NVML_ERROR_NOT_SUPPORTED
            self.lost = self.lost or error.value == pynvml.NVML_ERROR_GPU_IS_LOST
            return None, (error.value, type(error).__name__.removeprefix("NVMLError_"))
        except (AttributeError, pynvml.NVMLLibraryMismatchError):
            return None, (NOT_FOUND, "FunctionNotFound")
        except GarbageAnswer as error:
            return None, (GARBAGE, f"garbage: {error}")
        except (TypeError, ValueError, OverflowError, MemoryError, ctypes.ArgumentError) as error:
            return None, (ODD, f"{type(error).__name__}")
        finally:
            self.current = None
        self.answered, self.lost = True, False
        return answer, None

    def _note(self, name: str, failure: tuple[int, str] | None) -> None:
        if failure is None:
            self.failed.pop(name, None)
        else:
            self.failed[name] = failure


def read_identity(calls: GpuCalls) -> dict[str, Any]:
    """Returns what does not change while a board sits in its slot."""
    address, device_id = calls.ask("nvmlDeviceGetPciInfo", function=_pci) or (None, None)
    return {
        "uuid": calls.ask("nvmlDeviceGetUUID"),
        "name": calls.ask("nvmlDeviceGetName"),
        "serial": calls.ask("nvmlDeviceGetSerial"),
        "part": calls.ask("nvmlDeviceGetBoardPartNumber"),
        "pci_address": address,
        "pci_device_id": device_id,
    }


def _pci(handle: object) -> tuple[str, str]:
    pci = pynvml.nvmlDeviceGetPciInfo(handle)
    return _text(pci.busId), f"{pci.pciDeviceId:08x}"


def read_facts(calls: GpuCalls) -> dict[str, Any]:
    """Returns what is measured; None for what this GPU does not tell."""
    utilisation = calls.ask("nvmlDeviceGetUtilizationRates")
    corrected, uncorrected, pending, failed = calls.ask("nvmlDeviceGetRemappedRows") or (None, None, False, False)
    mig = calls.ask("nvmlDeviceGetMigMode")
    facts = {
        **_memory(calls),
        "utilisation_percent": utilisation and utilisation.gpu,
        "power_mw": calls.ask("nvmlDeviceGetPowerUsage"),
        "energy_mj": calls.ask("nvmlDeviceGetTotalEnergyConsumption"),
        "temperature_c": calls.ask("nvmlDeviceGetTemperature", pynvml.NVML_TEMPERATURE_GPU),
        "sm_clock_mhz": calls.ask("nvmlDeviceGetClockInfo", pynvml.NVML_CLOCK_SM),
        "memory_clock_mhz": calls.ask("nvmlDeviceGetClockInfo", pynvml.NVML_CLOCK_MEM),
        "throttle": calls.ask_first(
            "nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"
        ),
        "ecc_corrected": _ecc(calls, pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED),
        "ecc_uncorrected": _ecc(calls, pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED),
        "remapped_correctable": corrected,
        "remapped_uncorrectable": uncorrected,
        "remap_pending": bool(pending),
        "remap_failed": bool(failed),
        "mig_enabled": bool(mig and mig[0] == 1),
        "recovery_action": calls.ask("nvmlDeviceGetFieldValues", function=_recovery_action),
        "fabric_state": calls.ask_first(
            "nvmlDeviceGetGpuFabricInfoV",
            "nvmlDeviceGetGpuFabricInfo",
            readers={"nvmlDeviceGetGpuFabricInfoV": _fabric_v2, "nvmlDeviceGetGpuFabricInfo": _fabric_v1},
        ),
        "nvlinks_down": calls.ask("nvmlDeviceGetNvLinkState", function=_nvlinks_down),
    }
    calls.probe_loss()
    return facts


def read_processes(calls: GpuCalls, with_graphics: bool) -> list[tuple[int, int | None, str]] | None:
    """Returns (pid, bytes used, kind) of what is on the GPU; None where the compute processes cannot be listed."""
    found, known = [], True
    for kind, stem in (("compute", "Compute"), ("mps", "MPSCompute"), ("graphics", "Graphics")):
        if kind == "graphics" and not with_graphics:
            continue
        name = f"nvmlDeviceGet{stem}RunningProcesses"
        versions = (f"{name}_v3", f"{name}_v2", name)
        listed = calls.ask_first(*versions, readers={version: _process_reader(version) for version in versions})
        if listed is None:
            known = known and kind != "compute"
            continue
        found += [(pid, used, kind) for pid, used in listed]
    return found if known else None


def _process_reader(version: str) -> Callable[[object], list[tuple[int, int | None]]]:
    def read(handle: object) -> list[tuple[int, int | None]]:
        listed = getattr(pynvml, version)(handle) if version[-3:] in ("_v2", "_v3") else _processes_v1(handle, version)
        processes = [(process.pid, _known_bytes(process.usedGpuMemory)) for process in listed]
        if any(not 0 < pid <= PID_MAX for pid, _ in processes):
            raise GarbageAnswer("a process number that cannot be")
        return processes

    return read


def _known_bytes(used: int | None) -> int | None:
    return None if used is None or used >= 2**63 else used


def _processes_v1(handle: object, name: str) -> Iterator[ProcessInfoV1]:
    function = getattr(pynvml.nvmlLib, name)
    count = ctypes.c_uint(0)
    code = function(handle, ctypes.byref(count), None)
    if code == pynvml.NVML_SUCCESS:
        return
    if code != pynvml.NVML_ERROR_INSUFFICIENT_SIZE:
        raise pynvml.NVMLError(code)
    count.value = min(count.value, 4096) * 2 + 5
    array = (ProcessInfoV1 * count.value)()
    code = function(handle, ctypes.byref(count), array)
    if code != pynvml.NVML_SUCCESS:
        raise pynvml.NVMLError(code)
    yield from array[: count.value]


def _memory(calls: GpuCalls) -> dict[str, int | None]:
    """`used` of the second version leaves out what the driver keeps for itself, which fills small boards."""
    readers = {
        "nvmlDeviceGetMemoryInfo_v2": lambda handle: pynvml.nvmlDeviceGetMemoryInfo(handle, pynvml.nvmlMemory_v2),
    }
    memory = calls.ask_first("nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetMemoryInfo", readers=readers)
    return {"memory_total": memory and memory.total, "memory_used": memory and memory.used}


def _ecc(calls: GpuCalls, error_type: int) -> int | None:
    """Returns the lifetime count, or where there is none, the one since the driver was loaded."""
    count = calls.ask("nvmlDeviceGetTotalEccErrors", error_type, pynvml.NVML_AGGREGATE_ECC)
    if count is None and calls.failed["nvmlDeviceGetTotalEccErrors"][0] == pynvml.NVML_ERROR_NOT_SUPPORTED:
        count = calls.ask("nvmlDeviceGetTotalEccErrors", error_type, pynvml.NVML_VOLATILE_ECC)
    return count


def _recovery_action(handle: object) -> int:
    (field,) = pynvml.nvmlDeviceGetFieldValues(handle, [pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION])
    if field.nvmlReturn != pynvml.NVML_SUCCESS:
        raise pynvml.NVMLError(field.nvmlReturn)
    return field.value.uiVal


def _fabric_v2(handle: object) -> int:
    info = pynvml.c_nvmlGpuFabricInfo_v2_t()
    pynvml.nvmlDeviceGetGpuFabricInfoV(handle, ctypes.byref(info))
    return info.state


def _fabric_v1(handle: object) -> int:
    info = pynvml.c_nvmlGpuFabricInfo_t()
    pynvml.nvmlDeviceGetGpuFabricInfo(handle, ctypes.byref(info))
    return info.state


def _nvlinks_down(handle: object) -> int:
    down = 0
    for link in range(NVLINKS_MAX):
        try:
            down += pynvml.nvmlDeviceGetNvLinkState(handle, link) == pynvml.NVML_FEATURE_DISABLED
        except (pynvml.NVMLError_InvalidArgument, pynvml.NVMLError_NotSupported):
            if link == 0:
                raise
            break
    return down


def _text(raw: bytes | str) -> str:
    return raw.decode(errors="replace") if isinstance(raw, bytes) else raw
