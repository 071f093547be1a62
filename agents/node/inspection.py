"""Makes a signed report on the condition of GPUs, for a hardware listing or for a buyer who looks again."""

import time

from agents.node.enrol import AGENT_VERSION
from agents.node.errors import BadConfiguration
from agents.node.identity import Identity
from agents.node.inventory import Telemetry
from schemas.nodes import InspectedGpu, InspectionReport


def inspect_gpus(
    identity: Identity, telemetry: Telemetry, node_id: str, nonce: str, uuids: tuple[str, ...]
) -> InspectionReport:
    """Reads the named GPUs (all, where none is named) and signs what it saw, bound to the nonce of whoever asked."""
    inventory = {gpu.uuid: gpu for gpu in telemetry.inventory()}
    readings = {reading.uuid: reading for reading in telemetry.read()}
    unknown = set(uuids) - inventory.keys()
    if unknown:
        raise BadConfiguration(f"this node has no GPU {', '.join(sorted(unknown))}")
    unread = sorted(uuid for uuid in uuids or inventory if not readings[uuid].present)
    if unread or not inventory:
        raise BadConfiguration(f"these GPUs cannot be read now: {', '.join(unread) or 'none answers'}")
    return identity.sign_as_told(
        InspectionReport,
        agent=node_id,
        public_key=identity.public_key,
        nonce=nonce,
        driver_version=telemetry.driver.version,
        library_sha256=telemetry.driver.library_sha256,
        agent_version=AGENT_VERSION,
        nvml_simulated=telemetry.driver.simulated,
        wall_ms=time.time_ns() // 1_000_000,
        gpus=tuple(InspectedGpu(inventory=inventory[uuid], reading=readings[uuid]) for uuid in uuids or inventory),
    )
