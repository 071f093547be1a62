"""Answers a challenge from beginning to end: run the chains, commit, open what is asked, take the verdict."""

import asyncio
import logging
from concurrent.futures import Executor

from agents.node.challenge import Backend, Chain, open_chain, run_chain
from agents.node.client import DeliveryClient
from agents.node.identity import Identity
from schemas.nodes import (
    Challenge,
    ChallengeCommit,
    ChallengeOpening,
    ChallengeVerdict,
    GpuCommit,
    OpeningRequest,
)

log = logging.getLogger("hourbook.agent")


class Prover:
    """One node's prover. The executor bounds how much of the machine the proofs of several nodes may take."""

    def __init__(self, identity: Identity, backend: Backend, delivery: DeliveryClient, executor: Executor) -> None:
        self._identity, self._backend, self._delivery, self._executor = identity, backend, delivery, executor

    async def prove(self, challenge: Challenge, node_id: str, present: frozenset[str]) -> ChallengeVerdict | None:
        """Proves the GPUs that are there; for a lost one nothing is claimed, and the venue sees that it is missing.

        Returns None where none is there: the challenge then goes without an answer.
        """
        if present.isdisjoint(challenge.gpu_uuids):
            log.warning("challenge %s (%s) goes unanswered: no GPU is there", challenge.challenge_id, challenge.cause)
            return None
        loop = asyncio.get_running_loop()
        chains = {
            uuid: await loop.run_in_executor(self._executor, run_chain, self._backend, challenge, node_id, uuid)
            for uuid in challenge.gpu_uuids
            if uuid in present
        }
        asked = await self._delivery.commit(self._commit(challenge, node_id, chains))
        verdict = await self._delivery.open(self._open(asked, node_id, chains))
        failed = ", ".join(f"{gpu.gpu_uuid}: {gpu.reason}" for gpu in verdict.gpus if not gpu.passed)
        log.info("challenge %s (%s): %s", challenge.challenge_id, challenge.cause, failed or "passed")
        return verdict

    def _commit(self, challenge: Challenge, node_id: str, chains: dict[str, Chain]) -> ChallengeCommit:
        return self._identity.sign(
            ChallengeCommit,
            agent=node_id,
            challenge_id=challenge.challenge_id,
            backend=self._backend.name,
            heads=tuple(GpuCommit(gpu_uuid=uuid, head=chain.head.hex()) for uuid, chain in chains.items()),
        )

    def _open(self, asked: OpeningRequest, node_id: str, chains: dict[str, Chain]) -> ChallengeOpening:
        return self._identity.sign(
            ChallengeOpening,
            agent=node_id,
            challenge_id=asked.challenge_id,
            gpus=tuple(open_chain(chains[gpu.gpu_uuid], gpu) for gpu in asked.gpus if gpu.gpu_uuid in chains),
        )
