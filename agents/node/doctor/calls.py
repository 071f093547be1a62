"""Every call of NVML that the agent makes of a GPU, with what it answered, and what a failure of it costs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from agents.node.call_failures import NOT_THERE, OPTIONAL_CALLS
from agents.node.doctor.findings import Finding

MIB = 1024 * 1024
COMPUTE = "nvmlDeviceGetComputeRunningProcesses_v3"
OPTIONAL = OPTIONAL_CALLS | {"nvmlDeviceGetGraphicsRunningProcesses_v3", "nvmlDeviceRegisterEvents"}
# What to do about a code that NVML answers; 0 stands for a call that never returns, -1 and -2 for rubbish.
ADVICE = {
    -2: "driver and library may be of different versions: reboot, or reload the module",
    -1: "driver and library may be of different versions: reboot, or reload the module",
    0: "the driver hangs in it: see dmesg, reset the GPU or reboot",
    4: "let the agent's user, or its container, open /dev/nvidia*",
    8: "connect the board's power cables",
    9: "load the driver's module: modprobe nvidia",
    10: "the driver is slow to answer: see dmesg, reset the GPU",
    15: "the GPU is lost: see dmesg for the XID, reboot the machine",
    16: "reset the GPU: stop the agent, then nvidia-smi --gpu-reset",
    18: "the driver was upgraded under a running one: reboot, or unload and load the module",
    999: "see dmesg for lines of NVRM",
}


@dataclass(frozen=True)
class Call:
    """A call by the name under which its failure is noted; `say` puts what it answered into words.

    Without a call that `is_needed` the GPU cannot be enrolled, or is not offered.
    """

    name: str
    say: Callable[[dict[str, Any]], str]
    is_needed: bool = False


def _identity(key: str) -> Callable[[dict[str, Any]], str]:
    return lambda gpu: str(gpu["identity"].get(key))


def _fact(*keys: str, unit: str = "", scale: int = 1) -> Callable[[dict[str, Any]], str]:
    def say(gpu: dict[str, Any]) -> str:
        values = [gpu["facts"].get(key) for key in keys]
        return " / ".join("not reported" if value is None else _number(value, scale) for value in values) + unit

    return say


def _number(value: Any, scale: int) -> str:
    return str(value) if scale == 1 or not isinstance(value, int) else f"{value / scale:.10g}"


def _processes(kind: str) -> Callable[[dict[str, Any]], str]:
    return lambda gpu: f"{sum(found[2] == kind for found in gpu['processes'] or ())} processes"


CALLS = (
    Call("nvmlDeviceGetUUID", _identity("uuid"), is_needed=True),
    Call("nvmlDeviceGetName", _identity("name"), is_needed=True),
    Call("nvmlDeviceGetPciInfo", _identity("pci_address"), is_needed=True),
    Call("nvmlDeviceGetSerial", _identity("serial")),
    Call("nvmlDeviceGetBoardPartNumber", _identity("part")),
    Call("nvmlDeviceGetMemoryInfo_v2", _fact("memory_used", "memory_total", unit=" MiB", scale=MIB), is_needed=True),
    Call("nvmlDeviceGetUtilizationRates", _fact("utilisation_percent", unit=" %")),
    Call("nvmlDeviceGetPowerUsage", _fact("power_mw", unit=" W", scale=1000)),
    Call("nvmlDeviceGetTotalEnergyConsumption", _fact("energy_mj", unit=" J", scale=1000)),
    Call("nvmlDeviceGetTemperature", _fact("temperature_c", unit=" °C")),
    Call("nvmlDeviceGetClockInfo", _fact("sm_clock_mhz", "memory_clock_mhz", unit=" MHz")),
    Call("nvmlDeviceGetCurrentClocksEventReasons", lambda gpu: hex(gpu["facts"].get("throttle") or 0)),
    Call("nvmlDeviceGetTotalEccErrors", _fact("ecc_corrected", "ecc_uncorrected", unit=" corrected / uncorrected")),
    Call("nvmlDeviceGetRemappedRows", _fact("remapped_correctable", "remapped_uncorrectable")),
    Call("nvmlDeviceGetMigMode", lambda gpu: "on" if gpu["facts"].get("mig_enabled") else "off"),
    Call("nvmlDeviceGetFieldValues", _fact("recovery_action", unit=" (recovery action)")),
    Call("nvmlDeviceGetGpuFabricInfoV", _fact("fabric_state", unit=" (fabric state)")),
    Call("nvmlDeviceGetNvLinkState", _fact("nvlinks_down", unit=" links down")),
    Call(COMPUTE, _processes("compute"), is_needed=True),
    Call("nvmlDeviceGetMPSComputeRunningProcesses_v3", _processes("mps")),
    Call("nvmlDeviceGetGraphicsRunningProcesses_v3", _processes("graphics")),
    Call("nvmlDeviceRegisterEvents", lambda gpu: "XIDs are reported"),
)
KNOWN = {call.name for call in CALLS}


def failures_of(gpu: dict[str, Any]) -> dict[str, tuple[int, str]]:
    """Returns the calls that fail on a GPU, by name, with code and words; one that hangs included."""
    failed = {name: tuple(failure) for name, failure in gpu["failed"].items() if failure}
    return failed | ({gpu["hangs"] or "a call": (0, "does not return")} if gpu.get("hangs") is not None else {})


def examine_calls(subject: str, gpu: dict[str, Any]) -> Iterator[Finding]:
    """Yields what each call answered of one GPU, as the process that asks NVML gave it."""
    failed = failures_of(gpu)
    answers = gpu["answered"] and "facts" in gpu
    for call in CALLS:
        if call.name in failed:
            yield _failure(subject, call.name, failed[call.name], call.is_needed)
        elif answers:
            yield Finding("ok", subject, f"{call.name}: {call.say(gpu)}", is_detail=True)
    for name in failed.keys() - KNOWN:
        yield _failure(subject, name, failed[name], is_needed=not answers)


def _failure(subject: str, name: str, failure: tuple[int, str], is_needed: bool) -> Finding:
    code, words = failure
    if code in NOT_THERE and name in OPTIONAL:
        return Finding("ok", subject, f"{name}: not there on this board or driver ({words})", is_detail=True)
    said = f"{name} answers {code} ({words})" if code else f"{name} {words}"
    if is_needed or not code:
        return Finding("mend", subject, f"{said}: the GPU cannot be sold", ADVICE.get(code, ""))
    return Finding("warning", subject, f"{said}: its values count as unknown", ADVICE.get(code, ""))
