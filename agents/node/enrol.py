"""Makes a node known to the venue, once; afterwards the state folder says who it is."""

import logging
import re
import time
from dataclasses import asdict, dataclass, replace

from pydantic import TypeAdapter, ValidationError

from agents import VERSION
from agents.node.client import DeliveryClient, GatewayClient
from agents.node.errors import BadAnswer, BadConfiguration, VenueRefused
from agents.node.grades import node_grade
from agents.node.identity import Identity, boot_id
from agents.node.inventory import UUID_FORM, Telemetry
from agents.node.policy import Policy
from agents.node.state import StateFolder
from schemas.accounts import EnrolmentToken
from schemas.complaints import pattern_of
from schemas.ids import NodeId
from schemas.nodes import Challenge, EnrolRequest, GpuChange, node_id_of

AGENT_VERSION = f"hourbook-agent {VERSION}"
REPORT_INTERVAL_MS = 10_000  # until the first reply says more
INTERVAL_MS_MAX = 24 * 3600 * 1000
NOT_FOUND = 404
OWN_KEY = "node_key"
NODE_FORM = re.compile(pattern_of(NodeId))
log = logging.getLogger("hourbook.agent")


@dataclass(frozen=True)
class Enrolment:
    """What the venue calls this node, and the GPUs that it knows of it."""

    node_id: str
    account: str
    grade: str
    gpu_uuids: tuple[str, ...]
    report_interval_ms: int
    hub: str = ""
    nonce: str | None = None
    challenge: Challenge | None = None


LASTING: TypeAdapter[Enrolment] = TypeAdapter(Enrolment)


def remembered(state: StateFolder) -> Enrolment | None:
    """Returns the enrolment of an earlier start; a file that does not hold one is set aside."""
    known = state.read("node")
    if known is None:
        return None
    try:
        enrolment = LASTING.validate_python(known, strict=False)
    except ValidationError:
        enrolment = None
    if enrolment is not None and _is_plausible(enrolment):
        return enrolment
    state.set_aside(state.path / "node.json")
    return None


def _is_plausible(known: Enrolment) -> bool:
    """Tells whether reports can be made from an enrolment that was read."""
    has_gpus = known.gpu_uuids and all(UUID_FORM.fullmatch(uuid) for uuid in known.gpu_uuids)
    return bool(has_gpus) and NODE_FORM.fullmatch(known.node_id) and 0 < known.report_interval_ms <= INTERVAL_MS_MAX


async def recalled(identity: Identity, delivery: DeliveryClient, state: StateFolder) -> Enrolment | None:
    """Returns the enrolment as the venue remembers it for this key, None where it knows no such node."""
    try:
        facts = await delivery.show_node(node_id_of(identity.public_key))
    except VenueRefused as refusal:
        if refusal.status != NOT_FOUND:
            raise
        return None
    try:
        known = Enrolment(
            node_id=str(facts["node"]),
            account=str(facts["account"]),
            grade=str(facts["grade"]),
            gpu_uuids=tuple(map(str, facts["gpus"])),
            report_interval_ms=REPORT_INTERVAL_MS,
            hub=str(facts["hub"]),
        )
    except (KeyError, TypeError) as error:
        raise BadAnswer(f"the venue's answer is not a node: {error!r}") from error
    log.info("the venue remembers this node: %s of account %s", known.node_id, known.account)
    _remember(known, state)
    return known


async def enrol(
    identity: Identity,
    telemetry: Telemetry,
    policy: Policy,
    token: str | None,
    delivery: DeliveryClient,
    state: StateFolder,
) -> Enrolment:
    """Enrols with the one-time token. A lost answer does no harm: the same key gets the same node again."""
    if not token:
        raise BadConfiguration("the node is not enrolled and there is no token: the operator gets one from the gateway")
    gpus = telemetry.inventory()
    grade = node_grade(tuple(gpu.grade for gpu in gpus), policy.whole_node)
    request = identity.sign(
        EnrolRequest,
        token=token,
        public_key=identity.public_key,
        label=policy.label,
        hub=policy.hub,
        grade=grade,
        boot_id=boot_id(),
        gpus=gpus,
        driver_version=telemetry.driver.version,
        kernel_driver_version=telemetry.driver.kernel_version,
        library_sha256=telemetry.driver.library_sha256,
        agent_version=AGENT_VERSION,
        nvml_simulated=telemetry.driver.simulated,
        wall_ms=time.time_ns() // 1_000_000,
    )
    reply = await delivery.enrol(request)
    log.info("%s enrolled as %s of account %s, level %s", policy.label, reply.node_id, reply.account, reply.level)
    made = Enrolment(
        node_id=reply.node_id,
        account=reply.account,
        grade=grade,
        gpu_uuids=tuple(gpu.uuid for gpu in gpus),
        report_interval_ms=reply.report_interval_ms,
        hub=policy.hub,
        nonce=reply.server_nonce,
        challenge=reply.challenge,
    )
    _remember(made, state)
    return made


async def register_key(identity: Identity, gateway: GatewayClient, token: str | None, state: StateFolder) -> None:
    """Gets the node its own key at the gateway by its token, once. A lost answer does no harm."""
    if state.read(OWN_KEY) is not None:
        return
    if not token:
        raise BadConfiguration("the node has no key at the gateway, and no token to get one: name one, or api_key")
    try:
        form = identity.node_key_form(EnrolmentToken.model_validate_json(token))
    except ValidationError as error:
        raise BadConfiguration("the token is not an enrolment token: paste it as the gateway gave it") from error
    await gateway.register(form)
    log.info("the node acts at the gateway by a key of its own, %s", node_id_of(identity.public_key))
    state.write(OWN_KEY, {"key_id": node_id_of(identity.public_key)})


def differences(known: Enrolment, found: tuple[str, ...]) -> list[str]:
    """Says which GPUs came and went since the enrolment."""
    gone = [f"{uuid} of the enrolment does not answer" for uuid in known.gpu_uuids if uuid not in found]
    new = [f"{uuid} is not enrolled: `hourbook-agent gpus --update` tells the venue" for uuid in found]
    return gone + [line for uuid, line in zip(found, new, strict=True) if uuid not in known.gpu_uuids]


async def change_gpus(
    identity: Identity, telemetry: Telemetry, known: Enrolment, delivery: DeliveryClient, state: StateFolder
) -> Enrolment:
    """Tells the venue which GPUs the node consists of now; new ones are proven before they are sold."""
    request = identity.sign(
        GpuChange,
        agent=known.node_id,
        boot_id=boot_id(),
        gpus=telemetry.inventory(),
        nvml_simulated=telemetry.driver.simulated,
        wall_ms=time.time_ns() // 1_000_000,
    )
    reply = await delivery.change_gpus(request)
    log.info("%s: %d GPUs, new %s, gone %s", known.node_id, len(reply.gpus), list(reply.added), list(reply.removed))
    changed = replace(known, gpu_uuids=reply.gpus)
    _remember(changed, state)
    return changed


def _remember(enrolment: Enrolment, state: StateFolder) -> None:
    lasting = asdict(replace(enrolment, nonce=None, challenge=None))
    state.write("node", {name: value for name, value in lasting.items() if value is not None})
