"""A GPU's state as the doctor judges it: memory errors, MIG, links, clocks, and who is on it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agents.node.doctor.calls import examine_calls
from agents.node.doctor.findings import Finding, mend, ok, warn
from agents.node.errors import BadConfiguration
from agents.node.fitness import TENANT_AND_QUIET, WORDS, hindrance_of
from agents.node.grades import WHOLE_NODE_GPUS, chip_grade
from agents.node.inventory import MIB, clean_device_id, reading_of
from agents.node.policy import IdleRule
from agents.node.processes import LiveLease, Owners
from schemas.gpu_health import FABRIC_COMPLETED, FABRIC_UNFINISHED, HARDWARE_THROTTLE
from schemas.nodes import GpuReading

UNREAD_UUID = "GPU-00000000-0000-0000-0000-000000000000"
# nvmlDeviceGpuRecoveryAction_t of NVIDIA's nvml.h.
RECOVERY = {1: "reset the GPU", 2: "reboot the machine", 3: "drain peer-to-peer work", 4: "drain and reset the GPU"}
SLOWDOWNS = {0x8: "hardware slowdown", 0x40: "too hot", 0x80: "power brake"}
RESET = "reset the GPU or reboot: stop the agent, then nvidia-smi --gpu-reset"
OTHER_CHECKS = frozenset({"not_idle_with_process", "processes_unknown", "mig_enabled", "recovery_action"}) | {
    "row_remap_pending",
    "row_remap_failed",
    "fabric_not_ready",
    "nvlink_down",
}


def examine_gpu(
    gpu: dict[str, Any], count: int, grade: str | None, idle: IdleRule, owners: Owners, leases: Sequence[LiveLease]
) -> Iterator[Finding]:
    """Yields all that can be said of one GPU of `count`, from an answer of the process that asks NVML."""
    uuid = gpu["identity"].get("uuid")
    subject = f"GPU {gpu['index']}" + (f" ({uuid})" if uuid else "")
    if gpu["lost"]:
        yield mend(subject, "is lost: it no longer answers", "see dmesg for the XID, reboot the machine")
    yield from examine_calls(subject, gpu)
    if gpu["lost"] or not gpu["answered"] or "facts" not in gpu:
        return
    yield from _grade(subject, gpu, grade)
    reading = reading_of(uuid if isinstance(uuid, str) and uuid else UNREAD_UUID, gpu, ())
    yield from _memory_errors(subject, reading)
    yield _mig(subject, gpu, reading)
    yield from _recovery(subject, reading)
    yield _links(subject, reading, count)
    yield from _slowdowns(subject, reading)
    processes = tuple(owners.label(process, leases) for process in reading.processes)
    yield from _processes(subject, reading, processes, owners)
    leased = any(process.whose == "lease" for process in processes)
    labelled = reading.model_copy(update={"processes": processes})
    hindrance = hindrance_of(labelled, leased, idle)
    if hindrance and hindrance not in OTHER_CHECKS:
        yield warn(subject, f"is not offered now: {WORDS.get(hindrance, hindrance)}")


def _grade(subject: str, gpu: dict[str, Any], chosen: str | None) -> Iterator[Finding]:
    identity, total = gpu["identity"], gpu["facts"].get("memory_total")
    if not identity.get("name") or not isinstance(total, int):
        return
    try:
        grade = chip_grade(identity["name"], clean_device_id(identity.get("pci_device_id")), total // MIB, chosen)
    except BadConfiguration as error:
        yield mend(subject, str(error))
        return
    yield ok(subject, f"is sold as {grade}: {identity['name']}, {total // MIB} MiB")


def _memory_errors(subject: str, reading: GpuReading) -> Iterator[Finding]:
    if reading.ecc_uncorrected is None:
        yield warn(subject, "ECC is off, or the board has none", "errors of the memory stay unseen: nvidia-smi -e 1")
    elif reading.ecc_uncorrected:
        count = reading.ecc_uncorrected
        yield warn(
            subject, f"ECC counts {count} uncorrectable errors", "one more takes the GPU from sale until a reset"
        )
    else:
        yield ok(subject, f"ECC is on, {reading.ecc_corrected or 0} errors corrected, none uncorrectable")
    if reading.remap_failed:
        yield mend(subject, "a row remap has failed", "the board's memory is worn: have it replaced")
    elif reading.remap_pending:
        yield mend(subject, "a row remap is pending", RESET)
    elif reading.remapped_correctable is not None:
        rows = f"{reading.remapped_correctable} correctable, {reading.remapped_uncorrectable or 0} uncorrectable"
        yield ok(subject, f"rows remapped: {rows}, none pending, none failed")


def _mig(subject: str, gpu: dict[str, Any], reading: GpuReading) -> Finding:
    if reading.mig_enabled:
        return mend(subject, "MIG is on", f"whole GPUs are sold: nvidia-smi -i {gpu['index']} -mig 0")
    return ok(subject, "MIG is off")


def _recovery(subject: str, reading: GpuReading) -> Iterator[Finding]:
    if action := reading.recovery_action:
        yield mend(subject, f"the driver asks for a recovery ({action})", RECOVERY.get(action, RESET))


def _links(subject: str, reading: GpuReading, count: int) -> Finding:
    """The links between GPUs matter where eight go as one."""
    bad = mend if count == WHOLE_NODE_GPUS else warn
    if reading.nvlinks_down:
        return bad(subject, f"{reading.nvlinks_down} NVLinks are down", "see nvidia-smi nvlink -s; reseat, or reset")
    if reading.fabric_state in FABRIC_UNFINISHED:
        return bad(subject, "the NVLink fabric is not ready", "start it: systemctl start nvidia-fabricmanager")
    fabric = "ready" if reading.fabric_state == FABRIC_COMPLETED else "none, or not reported"
    links = "not reported" if reading.nvlinks_down is None else "none down"
    return ok(subject, f"fabric: {fabric}; NVLinks: {links}")


def _slowdowns(subject: str, reading: GpuReading) -> Iterator[Finding]:
    if throttle := (reading.throttle or 0) & HARDWARE_THROTTLE:
        why = ", ".join(words for bit, words in SLOWDOWNS.items() if throttle & bit)
        yield warn(
            subject, f"the hardware slows it down: {why}", "check cooling and power; the GPU is not offered meanwhile"
        )


def _processes(subject: str, reading: GpuReading, processes: tuple, owners: Owners) -> Iterator[Finding]:
    if reading.processes_unknown:
        return  # the call that failed has a line of its own
    strange = [process for process in processes if process.whose not in TENANT_AND_QUIET]
    hidden = [process for process in processes if process.whose == "unknown"]
    for process in strange:
        program = owners.table.program(process.pid) or "its program may not be seen"
        who = f"process {process.pid} ({program}, user {owners.table.user(process.pid)}, {process.memory_mib} MiB)"
        yield warn(subject, f"{who} is no buyer's: the GPU is not offered while it is there", "end it, or let it end")
    for process in hidden:
        where = "is not seen from here" if not Path(f"/proc/{process.pid}").exists() else "may not be looked at"
        advice = "run the agent as root, or its container with the host's pid namespace"
        yield mend(subject, f"process {process.pid} {where}, so nobody can say whose it is", advice)
    if not strange and not hidden:
        yield ok(subject, f"{len(processes)} processes, none that is foreign")
