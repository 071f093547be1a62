"""What may be a node, and when it may sell: the errors of delivery first, then enrolment and fitness as pure rules."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from pydantic import ValidationError

from schemas.accounts import EnrolmentToken
from schemas.gpu_health import GpuHealth, next_health
from schemas.gpu_models import GRADES, contradiction, grade_by_device, grade_by_name
from schemas.ids import lot_of
from schemas.nodes import EnrolRequest, GpuInventory, GpuReading

LINUX_DRIVER = re.compile(r"^(\d{3})\.\d{2,3}(\.\d{2,3})?$")
# From 500 on NVIDIA's Linux branches are multiples of five; the majors between them were published for Windows alone.
BRANCHES_OF_FIVE_FROM = 500
FORM_FACTOR_MEMORY = re.compile(r"(?:SXM|PCIE|NVL|OAM)(\d{2,3})$")
LAST_TWO_DIGITS = re.compile(r"(\d{2})$")
# A driver shows a few per cent less than a board's nominal memory (decimal GB) when ECC takes its share.
MEMORY_SHOWN_PERMILLE_MIN = 950
NO_SERIAL = "unknown"
RECORD_BYTES_MAX = 900_000  # what the broker takes as one record, with room for its head and what an event adds


class DeliveryError(Exception):
    """A request of an agent that breaks a rule; `code` is stable, `status` is HTTP's."""

    code = "malformed_request"
    status = 422
    retryable = False

    def __init__(self, detail: str, **members: object):
        super().__init__(detail)
        self.detail, self.members = detail, members


class BadToken(DeliveryError):
    """The enrolment token is not the gateway's, has expired, or was used by another node."""

    code, status = "enrolment_token_refused", 403


class Implausible(DeliveryError):
    """The facts that a node states cannot all be true (L1)."""

    code = "implausible_node"


class AgentTooOld(DeliveryError):
    """The agent's version is below the oldest that the venue takes."""

    code = "agent_too_old"


class GpuElsewhere(DeliveryError):
    """A GPU of this node stands in the venue already; a UUID and a serial live once."""

    code, status = "gpu_enrolled_elsewhere", 409


class UnknownNode(DeliveryError):
    """No node has this id."""

    code, status = "unknown_node", 404


class UnknownLease(DeliveryError):
    """The node has no lease or challenge with this id."""

    code, status = "not_found", 404


class BadSignature(DeliveryError):
    """The message is not signed by the node's key."""

    code, status = "bad_node_signature", 401


class NotThisNode(DeliveryError):
    """The path names another node than the message, or the thing belongs to another node."""

    code, status = "not_this_node", 403


class NodeInUse(DeliveryError):
    """The node has sold hours that are not over, or a buyer is in."""

    code, status = "node_in_use", 409


class NodeRetired(DeliveryError):
    """The node's account has retired it; the machine enrols anew, with a new key."""

    code, status = "node_retired", 403


class NodeBarred(DeliveryError):
    """The node is quarantined or banned; nothing of it counts until a person has looked."""

    code, status = "node_barred", 403


class RecordTooLarge(DeliveryError):
    """The message makes a record that the broker would not take."""

    code, status = "body_too_large", 413


def check_record(value: bytes) -> None:
    """Raises RecordTooLarge for a record that no topic takes: committed, it could never leave."""
    if len(value) > RECORD_BYTES_MAX:
        raise RecordTooLarge(f"a message has at most {RECORD_BYTES_MAX} bytes")


def read_token(text: str) -> EnrolmentToken:
    """Reads the gateway's token, JSON as the operator was given it. Raises BadToken."""
    try:
        return EnrolmentToken.model_validate_json(text)
    except ValidationError as error:
        raise BadToken("the token is not an enrolment token") from error


def check_plausible(request: EnrolRequest, accept_simulated: bool) -> None:
    """Layer L1 at enrolment. Raises Implausible with the first fact that cannot be."""
    if request.nvml_simulated and not accept_simulated:
        raise Implausible("telemetry comes from the stand-in library, which only a sandbox takes")
    if fault := driver_fault(request.driver_version, request.kernel_driver_version):
        raise Implausible(fault)
    check_inventory(request.gpus, request.grade, request.nvml_simulated)


def check_inventory(gpus: Sequence[GpuInventory], grade: str, simulated: bool) -> None:
    """Raises Implausible where a node of this grade cannot consist of these GPUs."""
    for name in ("uuid", "pci_address"):
        values = [getattr(gpu, name) for gpu in gpus]
        if len(set(values)) != len(values):
            raise Implausible(f"two GPUs share one {name}")
    serials = [gpu.serial for gpu in gpus if gpu.serial != NO_SERIAL]
    if len(set(serials)) != len(serials):
        raise Implausible("two GPUs share one serial")
    _check_grades(gpus, grade, simulated)


def driver_fault(version: str, kernel_version: str) -> str:
    """Says why no Linux machine runs such a driver, "" where one may. `kernel_version` is the module's, or ""."""
    match = LINUX_DRIVER.match(version)
    if not match:
        return f"driver version {version} is none"
    major = int(match.group(1))
    if major >= BRANCHES_OF_FIVE_FROM and major % 5:
        return f"driver version {version} was never published for Linux"
    if kernel_version and version not in kernel_version:
        return f"the library says driver {version}, the kernel {kernel_version}"
    return ""


def _check_grades(gpus: Sequence[GpuInventory], whole: str, simulated: bool) -> None:
    lot = lot_of(whole)
    single = whole.removesuffix("X8") if lot > 1 else whole
    if len(gpus) % lot:
        raise Implausible(f"{whole} is sold {lot} GPUs at a time, the node has {len(gpus)}")
    for gpu in gpus:
        if gpu.grade != single:
            raise Implausible(f"{gpu.uuid} is {gpu.grade}, the node is sold as {whole}")
        against = contradiction(gpu.grade, gpu.name, gpu.pci_device_id, gpu.memory_mib)
        if against and not simulated:
            raise Implausible(f"{gpu.uuid} cannot be {gpu.grade}: {against}")
        if not simulated and not _shows_grade(gpu):
            words = f"it has no PCI device id, and {gpu.name!r} is the name of no such board"
            raise Implausible(f"nothing shows that {gpu.uuid} is {gpu.grade}: {words}")
        if gpu.memory_mib < memory_min_mib(gpu.grade):
            raise Implausible(f"{gpu.uuid} shows {gpu.memory_mib} MiB, too little for {gpu.grade}")


def _shows_grade(gpu: GpuInventory) -> bool:
    """Says whether anything but the node's word speaks for a grade; of one that is in no table nothing can."""
    by_device = grade_by_device(gpu.pci_device_id, gpu.memory_mib)
    return gpu.grade not in GRADES or gpu.grade in (by_device, grade_by_name(gpu.name, gpu.memory_mib))


@cache
def memory_min_mib(grade: str) -> int:
    """Returns the least memory a GPU of this grade shows; 0 where the grade's name does not say its memory."""
    name = grade.removesuffix("X8")
    match = FORM_FACTOR_MEMORY.search(name) or LAST_TWO_DIGITS.search(name)
    return int(match.group(1)) * 10**9 * MEMORY_SHOWN_PERMILLE_MIN // 1000 // 2**20 if match else 0


def next_fitness(
    known: Mapping[str, GpuHealth],
    readings: Iterable[GpuReading],
    boot_id: str,
    memory_mib_min: int,
    whole_node: bool = False,
) -> dict[str, GpuHealth]:
    """Returns every enrolled GPU's health after a report; a GPU that the report leaves out is lost."""
    by_uuid = {reading.uuid: reading for reading in readings}
    return {
        uuid: next_health(before, by_uuid.get(uuid), boot_id, memory_mib_min, whole_node)
        for uuid, before in known.items()
    }


def sellable_gpus(grade: str, fitness: Mapping[str, GpuHealth]) -> tuple[str, ...]:
    """Returns the GPUs a node may stand behind asks with: the fit ones; a whole-node grade needs them all."""
    fit = tuple(sorted(uuid for uuid, state in fitness.items() if state.is_sellable))
    lot = lot_of(grade)
    return fit if lot == 1 or (len(fit) == len(fitness) and len(fit) % lot == 0) else ()
