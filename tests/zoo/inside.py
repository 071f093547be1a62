"""What runs in a lease, brought in by its buyer: the renter's meter, or proofs under its key.

It is the buyer's program, but the operator's machine: what it sees and computes on is what he was given.
"""

import asyncio
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents.node.challenge import Chain, Residency
from agents.node.identity import Identity
from schemas.nodes import Challenge, GpuOpening, SignedMessage
from schemas.renter import ProofRequest, renter_agent
from tests.fixtures.answering import answer_challenge, ask_patiently
from tests.fixtures.renter import Renter, RenterGpus

if TYPE_CHECKING:
    from tests.zoo.program import Program

CREATED, NOT_NOW, PAUSE_S = 201, 409, 0.3


@dataclass(frozen=True)
class Visit:
    """A lease, the private half of its meter key in hex, and what the buyer does there: `prove` or `meter`."""

    lease_id: str
    key: str
    what: str


class Inside:
    """Answers challenges as the lease's renter."""

    def __init__(self, program: "Program", lease_id: str, identity: Identity) -> None:
        self.program, self.lease_id, self.identity = program, lease_id, identity
        self.backend_name = program.backend_name
        self.node = SimpleNamespace(node_id=renter_agent(lease_id), sign=identity.sign)

    async def prove(self) -> None:
        """Has the GPUs prove themselves, once; waits until the hour has begun."""
        question = self.identity.sign(ProofRequest, agent=self.node.node_id).canonical()
        path = f"/v1/leases/{self.lease_id}/challenges"
        while (answer := await ask_patiently(self.program.http, path, content=question)).status_code == NOT_NOW:
            await asyncio.sleep(PAUSE_S)
        if answer.status_code == CREATED:
            verdict = await answer_challenge(self, Challenge.model_validate_json(answer.content))
            for gpu in verdict.gpus if verdict else ():
                self.program.tell(f"inside {gpu.reason or 'passed'}")

    async def chain(self, challenge: Challenge, uuid: str) -> Chain:
        """Runs one GPU's chain."""
        return await self.program.given_chip(uuid).run(challenge, self.node.node_id, uuid)

    async def held(self, chain: Chain, nonce: str, stride: int) -> Residency:
        """Answers the second nonce for one GPU."""
        return await self.program.given_chip(chain.gpu_uuid).hold(chain, self.node.node_id, nonce, stride)

    def opening(self, opened: GpuOpening) -> GpuOpening:
        """Returns what is sent of an opening."""
        return opened

    async def ask(self, path: str, message: SignedMessage) -> bytes | None:
        """Posts a step of an answer."""
        answer = await ask_patiently(self.program.http, path, content=message.canonical())
        return answer.content if answer.is_success else None


async def enter(program: "Program", visit: Visit) -> None:
    """Does what the buyer came for."""
    identity = Identity(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(visit.key)))
    if visit.what == "prove":
        for _ in range(program.proofs):
            await Inside(program, visit.lease_id, identity).prove()
    else:
        gpus = RenterGpus(program.leases[visit.lease_id].gpu_uuids)
        meter = Renter(visit.lease_id, gpus, identity)
        await meter.run(program.given.url, lambda _: program.is_gone_inside())
