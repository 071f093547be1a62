"""What GPUs the node has and how they are, as a child process reads them from NVML; a driver's failure ends nothing."""

import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from agents.node import nvml
from agents.node.call_failures import CallFailures
from agents.node.errors import BadConfiguration, NoGpus
from agents.node.grades import chip_grade
from agents.node.health_memory import HealthMemory
from agents.node.nvml import COMMAND, Blind, NvmlProcess
from agents.node.state import StateFolder
from schemas.complaints import pattern_of
from schemas.gpu_models import NVIDIA
from schemas.ids import GpuUuid
from schemas.nodes import GpuInventory, GpuProcess, GpuReading

MIB = 1024 * 1024
START_PAUSE_S = 0.2
COUNT_MAX = 2**63 - 1
KERNEL_DRIVER = Path("/proc/driver/nvidia/version")
UNKNOWN = "unknown"
NO_DIGEST = "0" * 64
# Serials that boards give which have none, in small letters without blanks.
NO_SERIALS = frozenset(
    {"", "0x0", "0123456789", "123456789", "default", "err", "error", "na", "nil", "none", "notavailable"}
    | {"notsupported", "null", "unavailable", "undefined", "unknown", "unknownerror", "xxxxxxxx"}
)
TEXT_MAX = 128
XIDS_MAX = 256
DISPLAY = "Display"
UUID_FORM = re.compile(pattern_of(GpuUuid))
MEASURED = {
    "utilisation_percent": (0, 100),
    "power_mw": (0, COUNT_MAX),
    "energy_mj": (0, COUNT_MAX),
    "temperature_c": (-273, 1000),
    "sm_clock_mhz": (0, COUNT_MAX),
    "memory_clock_mhz": (0, COUNT_MAX),
    "throttle": (0, COUNT_MAX),
    "ecc_corrected": (0, COUNT_MAX),
    "ecc_uncorrected": (0, COUNT_MAX),
    "remapped_correctable": (0, COUNT_MAX),
    "remapped_uncorrectable": (0, COUNT_MAX),
    "recovery_action": (0, 2**31),
    "fabric_state": (0, 2**31),
    "nvlinks_down": (0, 64),
}
FLAGS = ("remap_pending", "remap_failed", "mig_enabled")
log = logging.getLogger("hourbook.agent")


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
    """Telemetry of the real driver, or of whatever library answers in its name.

    `known` are the UUIDs of an earlier enrolment: with them it starts although NVML is blind or a GPU is lost, and
    reports them so. Without them it raises NoGpus where nothing can be enrolled. `chosen` are UUIDs, or `index:0` of
    NVML's order; without any all GPUs are taken but those that drive a display. In `state` faults outlive a restart.
    """

    def __init__(
        self,
        grade: str | None = None,
        known: Sequence[str] = (),
        chosen: Sequence[str] = (),
        state: StateFolder | None = None,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self.driver = Driver(UNKNOWN, "", NO_DIGEST, simulated=False)
        self._lock = threading.Lock()
        self._process = NvmlProcess(command)
        self._failures = CallFailures()
        self._health = HealthMemory(state)
        self._expected: tuple[str, ...] = tuple(known)
        self._blind_because: set[str] = set()
        self._inventory: tuple[GpuInventory, ...] = ()
        try:
            answer = self._ask() if known else self._ask_patiently()
        except Blind as error:
            if not known:
                self.close()
                raise NoGpus(f"NVML does not answer: {error}") from error
            self._say_blind(error)
            return
        try:
            self._inventory = tuple(inventory_of(choose(answer["gpus"], chosen), grade))
        except BadConfiguration as error:
            if not known:
                self.close()
                raise
            log.warning("the enrolled GPUs are reported all the same: %s", error)
        if not self._inventory and not known:
            self.close()
            raise NoGpus("NVML lists no GPU" if not answer["gpus"] else "NVML lists no GPU that says what it is")
        found = tuple(gpu.uuid for gpu in self._inventory)
        if known:
            _compare_with_enrolment(found, known)
        self._expected += tuple(uuid for uuid in found if uuid not in self._expected)

    @property
    def failed_calls(self) -> Counter:
        """How often each call failed, by its name and NVML's code."""
        return self._failures.counts

    @property
    def child_pid(self) -> int | None:
        """The number of the process that asks NVML."""
        return self._process.pid

    def inventory(self) -> tuple[GpuInventory, ...]:
        """Returns the GPUs as they were found at the start."""
        return self._inventory

    def read(self) -> tuple[GpuReading, ...]:
        """Returns one reading for each known GPU. Takes some seconds at most, whatever the driver does."""
        with self._lock:
            try:
                answer = self._ask()
            except Blind as error:
                return tuple(blind(uuid) for uuid in self._say_blind(error))
            return tuple(self._reading(uuid, answer["gpus"]) for uuid in self._expected)

    def close(self) -> None:
        """Ends the process that asks NVML."""
        self._process.close()

    def _ask(self) -> dict[str, Any]:
        answer = self._process.ask(frozenset(self._expected))
        if self._blind_because:
            log.info("NVML answers again")
            self._blind_because = set()
        self._failures.take("NVML", answer["system"]["failed"])
        for gpu in answer["gpus"]:
            gpu["identity"]["uuid"] = _clean(gpu["identity"].get("uuid"))
            name = gpu["identity"]["uuid"] or f"GPU {gpu['index']}"
            self._failures.take(name, _failures_of(gpu))
        self._learn_driver(answer["system"])
        return answer

    def _ask_patiently(self) -> dict[str, Any]:
        """Asks until nothing hangs any more: a driver that wakes its GPUs takes seconds for each of them.

        Raises Blind for what no waiting mends, and where the time for it is over.
        """
        end = time.monotonic() + nvml.START_S
        while True:
            answer = None
            try:
                answer = self._ask()
            except Blind:
                if not self._process.is_starting or time.monotonic() >= end:
                    raise
            is_whole = answer is not None and not any(gpu["hangs"] is not None for gpu in answer["gpus"])
            if is_whole or (answer is not None and time.monotonic() >= end):
                return answer
            time.sleep(START_PAUSE_S)

    def _say_blind(self, error: Blind) -> tuple[str, ...]:
        """Says each reason once while it lasts: that the process has crashed, then that the library is not there."""
        if str(error) not in self._blind_because:
            log.error("the meter is blind, no GPU can be read: %s", error)
        self._blind_because.add(str(error))
        return self._expected

    def _reading(self, uuid: str, gpus: list[dict[str, Any]]) -> GpuReading:
        gpu = next((gpu for gpu in gpus if gpu["identity"].get("uuid") == uuid), None)
        if gpu is None:
            # Something there that does not say what it is may be this one; only where there is nothing, it is gone.
            unnamed = any(not each["lost"] and not each["identity"].get("uuid") for each in gpus)
            return blind(uuid) if unnamed else absent(uuid)
        xids = tuple(xid for xid in gpu["xids"] if isinstance(xid, int) and xid >= 0)
        if len(xids) > XIDS_MAX:  # a storm, as a job that faults in a loop makes it: each number once
            xids = tuple(dict.fromkeys(xids))[:XIDS_MAX]
        if gpu["lost"]:
            return absent(uuid, xids)
        if not gpu["answered"]:
            return blind(uuid, xids)
        return self._health.judge(reading_of(uuid, gpu, xids))

    def _learn_driver(self, system: dict[str, Any]) -> None:
        simulated = system["simulated"]
        self.driver = Driver(
            version=_clean(system["version"]) or UNKNOWN,
            kernel_version="" if simulated else kernel_version(),  # the machine's own driver is not the stand-in's
            library_sha256=system["library_sha256"] or NO_DIGEST,
            simulated=simulated,
        )


def absent(uuid: str, xids: tuple[int, ...] = ()) -> GpuReading:
    """Returns the reading of a GPU that is gone."""
    return GpuReading(uuid=uuid, present=False, healthy=False, xid=xids)


def blind(uuid: str, xids: tuple[int, ...] = ()) -> GpuReading:
    """Returns the reading of a GPU that answers nothing, though nothing says that it is gone."""
    return GpuReading(uuid=uuid, present=False, healthy=False, blind=True, xid=xids)


def inventory_of(gpus: list[dict[str, Any]], grade: str | None) -> list[GpuInventory]:
    """Returns the GPUs that say what they are. Raises BadConfiguration where a grade cannot be told."""
    found = []
    uuids = [_clean(gpu["identity"].get("uuid")) for gpu in gpus]
    for gpu, uuid in zip(gpus, uuids, strict=True):
        identity, facts = gpu["identity"], gpu.get("facts") or {}
        name = _clean(identity.get("name"))
        memory = _within(facts.get("memory_total"), MIB, COUNT_MAX)
        if gpu["lost"] or not uuid or not name or memory is None:
            log.warning("GPU %d (%s) is left out: %s", gpu["index"], uuid or "no UUID", _why_left_out(gpu, memory))
            continue
        if not UUID_FORM.fullmatch(uuid) or uuids.count(uuid) > 1:
            why = "another GPU says the same UUID" if uuids.count(uuid) > 1 else "that is no UUID of a GPU"
            log.warning("GPU %d (%s) is left out: %s", gpu["index"], uuid, why)
            continue
        device_id = clean_device_id(identity.get("pci_device_id"))
        found.append(
            GpuInventory(
                uuid=uuid,
                pci_address=_clean(identity.get("pci_address")) or f"unknown-{gpu['index']}",
                serial=clean_serial(identity.get("serial")),
                board_part_number=_clean(identity.get("part")),
                name=name,
                memory_mib=memory // MIB,
                grade=chip_grade(name, device_id, memory // MIB, grade),
                pci_device_id=device_id,
            )
        )
    return _without_shared_serials(found)


def _without_shared_serials(gpus: list[GpuInventory]) -> list[GpuInventory]:
    """Takes a serial that several GPUs give as none: it is a placeholder, or that of the board they all sit on."""
    counts = Counter(gpu.serial for gpu in gpus)
    shared = sorted(serial for serial, count in counts.items() if count > 1 and serial != UNKNOWN)
    for serial in shared:
        log.warning("%d GPUs give one serial, %s: it counts as unknown", counts[serial], serial)
    return [gpu.model_copy(update={"serial": UNKNOWN}) if gpu.serial in shared else gpu for gpu in gpus]


def choose(gpus: list[dict[str, Any]], chosen: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the GPUs that the operator chose; without a choice those that do not drive a display.

    Raises BadConfiguration where he chose one that is not there.
    """
    taken, missing = [], set(chosen)
    for gpu in gpus:
        names = {gpu["identity"].get("uuid"), f"index:{gpu['index']}"}
        missing -= names
        if chosen and not names & set(chosen):
            log.info("GPU %d (%s) is left out: the policy does not name it", gpu["index"], gpu["identity"].get("uuid"))
        elif not chosen and DISPLAY in (gpu["identity"].get("name") or ""):
            log.info("GPU %d (%s) is left out: it drives a display", gpu["index"], gpu["identity"].get("name"))
        else:
            taken.append(gpu)
    if missing:
        raise BadConfiguration(f"the policy names GPUs that are not there: {', '.join(sorted(missing))}")
    return taken


def _compare_with_enrolment(found: Sequence[str], known: Sequence[str]) -> None:
    """Says what changed in the slots since the node was enrolled."""
    for uuid in known:
        if uuid not in found:
            log.warning("%s of the enrolment does not answer as a whole GPU: it is reported as it is", uuid)
    for uuid in found:
        if uuid not in known:
            log.warning("%s is there but not enrolled: it is not sold until it is", uuid)


def _why_left_out(gpu: dict[str, Any], memory: int | None) -> str:
    if gpu["lost"]:
        return "it is lost"
    if gpu.get("hangs") is not None:
        return f"{gpu['hangs']} does not return"
    if memory is None and (gpu.get("facts") or {}).get("memory_total") is not None:
        return f"nvmlDeviceGetMemoryInfo says {gpu['facts']['memory_total']} bytes of memory"
    needed = ("nvmlDeviceGetHandleByIndex", "nvmlDeviceGetUUID", "nvmlDeviceGetName")
    needed += () if memory is not None else ("nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetMemoryInfo")
    answers = [f"{name} answers {code} ({words})" for name, (code, words) in gpu["failed"].items() if name in needed]
    return ", ".join(answers) or "it does not say what it is"


def reading_of(uuid: str, gpu: dict[str, Any], xids: tuple[int, ...]) -> GpuReading:
    """Returns a reading of a GPU that answers; what cannot be is taken as not told."""
    facts, processes = gpu["facts"], gpu["processes"]
    total, used = facts["memory_total"], facts["memory_used"]
    if total is None or used is None or not 0 <= used <= total <= COUNT_MAX:
        used = None
    measured = {name: _within(facts[name], *bounds) for name, bounds in MEASURED.items()}
    return GpuReading(
        uuid=uuid,
        present=True,
        healthy=True,
        memory_total_mib=None if _within(total, 1, COUNT_MAX) is None else total // MIB,
        memory_used_mib=None if used is None else used // MIB,
        **measured,
        **{name: bool(facts[name]) for name in FLAGS},
        xid=xids,
        processes=tuple(_process(*process) for process in processes or ()),
        processes_unknown=processes is None,
    )


def _process(pid: int, used: int | None, kind: str) -> GpuProcess:
    return GpuProcess(pid=pid, memory_mib=(used or 0) // MIB, kind=kind)


def clean_serial(serial: object) -> str:
    """Returns a serial as the board gives it, or `unknown` for the many ways to say that there is none."""
    text = _clean(serial)
    plain = "".join(text.split()).replace("-", "").casefold()
    usable = text.isascii() and text.replace("-", "").isalnum() and len(text) <= 64
    is_told = len(set(plain)) > 1 and plain not in NO_SERIALS  # 0000, FFFF and the like are none
    return text if usable and is_told else UNKNOWN


def clean_device_id(pci_device_id: object) -> str | None:
    """Returns device and vendor id in hexadecimal; None where that is no board of NVIDIA's."""
    text = pci_device_id if isinstance(pci_device_id, str) else ""
    is_known = len(text) == 8 and text.endswith(NVIDIA) and text[:4] != "0000"
    return text if is_known else None


def kernel_version() -> str:
    """Returns the first line of what the kernel's driver says of itself; "" where there is none."""
    try:
        return KERNEL_DRIVER.read_text(errors="replace").splitlines()[0]
    except (OSError, IndexError):
        return ""


def _failures_of(gpu: dict[str, Any]) -> dict[str, tuple[int, str]]:
    failed = {name: tuple(failure) for name, failure in gpu["failed"].items() if failure}
    return failed | ({gpu["hangs"]: (0, "does not return")} if gpu.get("hangs") is not None else {})


def _within(value: object, least: int, most: int) -> int | None:
    return value if isinstance(value, int) and least <= value <= most else None


def _clean(text: object) -> str:
    """Returns printable text without control characters, of a bounded length."""
    return "".join(char for char in text if char.isprintable()).strip()[:TEXT_MAX] if isinstance(text, str) else ""
