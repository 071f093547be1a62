"""What makes a GPU faulty, what only keeps it from new buyers, and what is the application's own: one rule for all.

The agent, delivery's register of nodes, and the meter judge a reading by these functions. XIDs follow NVIDIA's catalog,
"Analyzing Xid Errors with the Xid Catalog" (docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html, read in
November 2026), whose immediate action is quoted behind each number; row remapping and the recovery action follow
"Error Recovery and Response Flags" (docs.nvidia.com/deploy/a100-gpu-mem-error-mgmt).
"""

from dataclasses import dataclass, replace

from schemas.nodes import GpuReading

# The GPU has to be reset or the machine rebooted, and no application can raise these by itself.
FATAL_XIDS = {
    48: "double-bit ECC error (WORKFLOW_XID_48: alone RESET_GPU, with 63 or 64 drain and reset)",
    62: "internal microcontroller halted (RESET_GPU)",
    64: "row remapping failed (RESET_GPU)",
    79: "fallen off the bus (RESTART_BM)",
    95: "uncontained memory error (RESET_GPU)",
    119: "GSP firmware did not answer (RESET_GPU)",
    120: "GSP firmware error (RESET_GPU)",
    140: "unrecovered ECC error (RESET_GPU)",
    143: "GPU could not be initialized (RESET_GPU)",
    158: "fatal timeout (RESET_GPU)",
}
# The hour goes on, and nothing new is sold until a reset: a repair waits for it, or the cause may be either side's.
DEGRADING_XIDS = {
    46: "GPU stopped processing (RESET_GPU); a job can cause it",
    54: "auxiliary power is not connected (CHECK_MECHANICALS)",
    63: "row remapped, used from the next reset on (IGNORE)",
    74: "NVLink error (WORKFLOW_NVLINK_ERR)",
    109: "context switch timed out (RESET_GPU); a job can cause it",
    110: "security fault (RESET_GPU)",
    136: "NVLink training failed (RESET_GPU)",
    144: "NVLink error (WORKFLOW_NVLINK5_ERR)",
    145: "NVLink error (WORKFLOW_NVLINK5_ERR)",
    146: "NVLink error (WORKFLOW_NVLINK5_ERR)",
    147: "NVLink error (WORKFLOW_NVLINK5_ERR)",
    148: "NVLink error (WORKFLOW_NVLINK5_ERR)",
    149: "NVLink error (WORKFLOW_NVLINK5_ERR)",
    150: "NVLink error (WORKFLOW_NVLINK5_ERR)",
    155: "NVLink error defined by software (RESET_GPU)",
    156: "resource retired, used from the next reset on (RESET_GPU)",
    157: "no spare left to retire a resource to (IGNORE, then CONTACT_SUPPORT)",
    167: "fatal timeout on PCIe (no action named)",
    169: "internal microcontroller halted (no action named)",
}
# A memory error that took one process with it; the counter of uncorrectable errors rises by it, and that is no fault.
CONTAINED_XID = 94
# All others (8, 11, 13, 31, 32, 37, 43, 45, 68, 69 …) are an application's doing, or news that asks for nothing
# (160 and 161, retired channels: IGNORE) or that only explains another (154, and 171 and 172 beside 48).

# NVML's clock event reasons that the hardware imposes: slowdown 0x8, thermal slowdown 0x40, power brake 0x80.
HARDWARE_THROTTLE = 0x8 | 0x40 | 0x80
# nvmlGpuFabricState_t; 0 is "not supported", as on a GPU without NVSwitch.
FABRIC_UNFINISHED = frozenset({1, 2})
FABRIC_COMPLETED = 3

BLIND = "meter_blind"
LOST = "gpu_lost"
ECC_FAULT = "ecc_uncorrected"
REMAP_FAULT = "row_remap_failed"
RECOVERY_FAULT = "recovery_action"
MIG_FAULT = "mig_enabled"
MEMORY_FAULT = "too_little_memory"
UNHEALTHY = "unhealthy"
THROTTLED = "throttled"
REMAP_PENDING = "row_remap_pending"
FABRIC_FAULT = "fabric_not_ready"
NVLINK_FAULT = "nvlink_down"


@dataclass(frozen=True)
class GpuHealth:
    """What is known of one GPU, carried from reading to reading; "" means none.

    `fault` makes its time non-conforming and `degraded` only keeps it from new buyers. `ecc_uncorrected` is the count
    that is held against nobody, `energy_mj` what the energy counter showed when a lasting fault began, `contained`
    that a contained error was reported whose count may still come.
    """

    boot_id: str = ""
    fault: str = ""
    degraded: str = ""
    ecc_uncorrected: int | None = None
    energy_mj: int | None = None
    contained: bool = False

    @property
    def is_sellable(self) -> bool:
        """Tells whether the GPU may stand behind new asks."""
        return not self.fault and not self.degraded


def fault_of(reading: GpuReading | None, memory_mib_min: int) -> str:
    """Says why a GPU's time does not conform on this reading alone; "" where it does.

    A measurement that is not there (null) is held against nobody.
    """
    if reading is not None and reading.blind:
        return BLIND
    if reading is None or not reading.present:
        return LOST
    if fatal := FATAL_XIDS.keys() & set(reading.xid):
        return f"xid_{min(fatal)}"
    if reading.remap_failed:
        return REMAP_FAULT
    if reading.recovery_action:
        return RECOVERY_FAULT
    if reading.mig_enabled:
        return MIG_FAULT
    if reading.memory_total_mib is not None and reading.memory_total_mib < memory_mib_min:
        return MEMORY_FAULT
    return "" if reading.healthy else reading.fault or UNHEALTHY


def degradation_of(reading: GpuReading, whole_node: bool) -> str:
    """Says why a GPU should get no new buyer though its running hour goes on; "" where nothing speaks against it.

    The links between the GPUs count only where eight go as one (`whole_node`). A slowdown by the hardware counts when
    the agent withholds the GPU for it, which it does after it has lasted.
    """
    if degrading := DEGRADING_XIDS.keys() & set(reading.xid):
        return f"xid_{min(degrading)}"
    if reading.remap_pending:
        return REMAP_PENDING
    if whole_node and reading.fabric_state in FABRIC_UNFINISHED:
        return FABRIC_FAULT
    if whole_node and reading.nvlinks_down:
        return NVLINK_FAULT
    return THROTTLED if reading.withheld == THROTTLED else ""


def is_lasting(fault: str) -> bool:
    """Says whether a fault or degradation is the hardware's own, which only a reset or a reboot can clear."""
    return fault.startswith("xid_") or fault in (ECC_FAULT, REMAP_FAULT)


def next_health(
    before: GpuHealth, reading: GpuReading | None, boot_id: str, memory_mib_min: int, whole_node: bool = False
) -> GpuHealth:
    """Returns a GPU's health after a reading.

    What lasts stays until the boot id changes, or until the energy counter shows less than when the fault began, on a
    reading that is well again: the driver counts anew after a reset.
    """
    if reading is not None and is_as_well_as(before, reading, boot_id, memory_mib_min, whole_node):
        return before
    return judge_reading(before, reading, boot_id, memory_mib_min, whole_node)


def is_as_well_as(before: GpuHealth, reading: GpuReading, boot_id: str, memory_mib_min: int, whole_node: bool) -> bool:
    """Says whether a GPU that was well is well, with nothing to take note of; nearly every reading is of this kind."""
    return (
        before.boot_id == boot_id
        and not (before.fault or before.degraded or before.contained)
        and before.energy_mj is None
        and reading.healthy
        and reading.present
        and not reading.blind
        and not (reading.xid or reading.remap_failed or reading.remap_pending or reading.recovery_action)
        and not (reading.mig_enabled or reading.withheld)
        and reading.ecc_uncorrected in (None, before.ecc_uncorrected)
        and (reading.memory_total_mib is None or reading.memory_total_mib >= memory_mib_min)
        and not (whole_node and (reading.nvlinks_down or reading.fabric_state))
    )


def judge_reading(
    before: GpuHealth, reading: GpuReading | None, boot_id: str, memory_mib_min: int, whole_node: bool
) -> GpuHealth:
    """Returns a GPU's health after a reading, by every rule."""
    if before.boot_id != boot_id:
        before = GpuHealth(boot_id=boot_id)
    fault = fault_of(reading, memory_mib_min)
    if reading is None or fault in (BLIND, LOST):
        return before if is_lasting(before.fault) else replace(before, fault=fault)
    ecc_risen, before = _count_ecc(before, reading)
    if ecc_risen and not is_lasting(fault):
        fault = ECC_FAULT
    degraded = degradation_of(reading, whole_node)
    if _is_reset(before, reading) and not fault:
        before = replace(before, fault="", degraded="", energy_mj=None)
    if is_lasting(before.fault):
        fault = before.fault
    if is_lasting(before.degraded):
        degraded = before.degraded
    began_mj = reading.energy_mj if before.energy_mj is None else before.energy_mj
    lasts = is_lasting(fault) or is_lasting(degraded)
    return replace(before, fault=fault, degraded=degraded, energy_mj=began_mj if lasts else None)


def _count_ecc(before: GpuHealth, reading: GpuReading) -> tuple[bool, GpuHealth]:
    """Returns whether uncorrectable errors have come that no contained error explains, and the health counted on."""
    contained = before.contained or CONTAINED_XID in reading.xid
    count, known = reading.ecc_uncorrected, before.ecc_uncorrected
    if count is None or known is None or count < known:
        return False, replace(before, ecc_uncorrected=known if count is None else count, contained=contained)
    if count > known and contained:
        return False, replace(before, ecc_uncorrected=count, contained=False)
    return count > known, replace(before, contained=contained)


def _is_reset(before: GpuHealth, reading: GpuReading) -> bool:
    return before.energy_mj is not None and reading.energy_mj is not None and reading.energy_mj < before.energy_mj
