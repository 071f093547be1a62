"""Proves the GPUs of a lease from the inside, for the renter, under his meter key: the operator's agent has no part.

A whole challenge as a node's agent answers one, by the same code; what it finds is the renter's to know.
"""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from agents.node.client import DeliveryClient
from agents.node.ending import ExitStatus
from agents.node.errors import AgentError
from agents.node.identity import Identity
from agents.node.inventory import Nvml
from agents.node.proof.choice import choose_backend
from agents.node.proving import Prover
from agents.node.renter import TIMEOUT_S, renter_identity
from agents.node.wire import open_http
from schemas.nodes import ChallengeVerdict
from schemas.renter import ProofRequest, renter_agent

log = logging.getLogger("hourbook.meter")


def run(lease_id: str, key_file: Path, url: str) -> int:
    """Proves what this machine shows once; returns an exit status. What failed is one line.

    UNPROVEN says that something did not pass, MEND that there was no verdict.
    """
    try:
        verdict = asyncio.run(_prove(lease_id, renter_identity(lease_id, key_file, url), url))
    except AgentError as error:
        log.error("%s", error)
        return ExitStatus.MEND
    for gpu in verdict.gpus if verdict else ():
        log.info("%s: %s", gpu.gpu_uuid, "passed" if gpu.passed else gpu.reason)
    if verdict is None:
        return ExitStatus.MEND
    return ExitStatus.OK if verdict.passed else ExitStatus.UNPROVEN


async def prove_inside(
    lease_id: str, identity: Identity, prover: Prover, delivery: DeliveryClient, present: frozenset[str]
) -> ChallengeVerdict | None:
    """Asks for a challenge to the lease's GPUs and answers it with those that are there. Raises AgentError."""
    name = renter_agent(lease_id)
    challenge = await delivery.ask_proof(lease_id, identity.sign(ProofRequest, agent=name))
    return await prover.prove(challenge, name, present)


async def _prove(lease_id: str, identity: Identity, url: str) -> ChallengeVerdict | None:
    telemetry = Nvml()
    try:
        present = frozenset(gpu.uuid for gpu in telemetry.inventory())
        backend = choose_backend(telemetry.driver.simulated, sorted(present))
        with ThreadPoolExecutor(max(1, len(present))) as executor:
            async with open_http(httpx.AsyncClient, timeout=TIMEOUT_S) as http:
                delivery = DeliveryClient(http, url)
                return await prove_inside(
                    lease_id, identity, Prover(identity, backend, delivery, executor), delivery, present
                )
    finally:
        telemetry.close()
