"""Makes a node known to the venue, once; afterwards the state folder says who it is."""

import logging
import time
from dataclasses import dataclass

from agents.node.client import DeliveryClient
from agents.node.errors import BadConfiguration
from agents.node.grades import node_grade
from agents.node.identity import Identity, boot_id
from agents.node.inventory import Telemetry
from agents.node.policy import Policy
from agents.node.state import StateFolder
from schemas.nodes import Challenge, EnrolReply, EnrolRequest

AGENT_VERSION = "hourbook-agent 0.1.0"
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


def remembered(state: StateFolder) -> Enrolment | None:
    """Returns the enrolment of an earlier start."""
    known = state.read("node")
    return Enrolment(**known | {"gpu_uuids": tuple(known["gpu_uuids"])}) if known else None


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
    return _remember(reply, grade, policy.hub, tuple(gpu.uuid for gpu in gpus), state)


def _remember(
    reply: EnrolReply, grade: str, hub: str, gpu_uuids: tuple[str, ...], state: StateFolder
) -> Enrolment:
    lasting = {
        "node_id": reply.node_id,
        "account": reply.account,
        "grade": grade,
        "gpu_uuids": gpu_uuids,
        "report_interval_ms": reply.report_interval_ms,
        "hub": hub,
    }
    state.write("node", lasting)
    return Enrolment(**lasting, nonce=reply.server_nonce, challenge=reply.challenge)
