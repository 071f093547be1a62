"""Answers a challenge from beginning to end: run the chains, commit, show that they are still held, open each GPU."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Executor
from typing import TypeVar

from agents.node.challenge import (
    Backend,
    Chain,
    Residency,
    answer_residency,
    open_chain,
    residency_paths,
    run_chain,
)
from agents.node.client import DeliveryClient
from agents.node.errors import AgentError, VenueRefused, VenueUnreachable
from agents.node.identity import Identity
from schemas.nodes import (
    Challenge,
    ChallengeCommit,
    ChallengeOpening,
    ChallengeVerdict,
    CommitReply,
    GpuCommit,
    GpuDigest,
    GpuOpening,
    GpuOpeningRequest,
    OpeningRequest,
    ResidencyAnswer,
    ResidencyRequest,
)

STEP_TRIES_MAX = 5
STEP_PAUSE_S = (1.0, 10.0)
# A venue that has many openings to verify takes each in its turn, and lengthens their deadlines meanwhile.
BUSY_S_MAX = 1_800.0
Reply = TypeVar("Reply")
log = logging.getLogger("hourbook.agent")


class ProofAbandoned(AgentError):
    """What is left of a proof is not worth holding up the next one."""


class Prover:
    """One node's prover. The executor bounds how much of the machine the proofs of several nodes may take."""

    def __init__(self, identity: Identity, backend: Backend, delivery: DeliveryClient, executor: Executor) -> None:
        self._identity, self._backend, self._delivery, self._executor = identity, backend, delivery, executor
        self._turn = asyncio.Lock()
        self._gates_waiting, self._yields = 0, False
        self._gate_came = asyncio.Event()

    async def prove(self, challenge: Challenge, node_id: str, present: frozenset[str]) -> ChallengeVerdict | None:
        """Proves the GPUs that are there; for a lost one nothing is claimed, and the venue sees that it is missing.

        Returns None where none is there: the challenge then goes without an answer.
        """
        uuids = [uuid for uuid in challenge.gpu_uuids if uuid in present]
        if not uuids:
            log.warning("challenge %s (%s) goes unanswered: no GPU is there", challenge.challenge_id, challenge.cause)
            return None
        is_gate = challenge.cause == "gate"
        self._note_gate(1 if is_gate else 0)
        try:
            async with self._turn:  # two chains do not fit into a GPU's memory
                self._note_gate(-1 if is_gate else 0)
                is_gate, self._yields = False, challenge.cause == "idle"
                return await self._prove(challenge, node_id, uuids)
        except ProofAbandoned as error:
            log.info("challenge %s (%s) is left: %s", challenge.challenge_id, challenge.cause, error)
            return None
        finally:
            self._note_gate(-1 if is_gate else 0)

    def _note_gate(self, change: int) -> None:
        """Counts the gates' challenges that wait for their turn: an idle one does not hold them up."""
        self._gates_waiting += change
        if self._gates_waiting:
            self._gate_came.set()
        else:
            self._gate_came.clear()

    async def _prove(self, challenge: Challenge, node_id: str, uuids: list[str]) -> ChallengeVerdict:
        chains: dict[str, Chain] = {}
        try:
            # All GPUs at once: the venue's clock runs until the last of them is done.
            runs = (self._work(run_chain, self._backend, challenge, node_id, uuid) for uuid in uuids)
            for chain in await _all(runs):
                chains[chain.gpu_uuid] = chain
            return await self._show(challenge, node_id, chains)
        finally:
            for chain in chains.values():
                chain.release()

    async def _show(self, challenge: Challenge, node_id: str, chains: dict[str, Chain]) -> ChallengeVerdict:
        reply = await self._step(self._delivery.commit, self._commit(challenge, node_id, chains))
        asked, residencies = reply.opening, {}
        if reply.residency is not None:
            residencies = await self._hold(reply.residency, node_id, chains)
            answer = self._digests(reply, node_id, residencies)
            asked = await self._step(self._delivery.prove_residency, answer)
        verdict = await self._open_all(asked, node_id, chains, residencies)
        failed = ", ".join(f"{gpu.gpu_uuid}: {gpu.reason}" for gpu in verdict.gpus if not gpu.passed)
        log.info("challenge %s (%s): %s", challenge.challenge_id, challenge.cause, failed or "passed")
        return verdict

    async def _hold(self, asked: ResidencyRequest, node_id: str, chains: dict[str, Chain]) -> dict[str, Residency]:
        answers = (self._work(answer_residency, chain, node_id, asked.nonce, asked.stride) for chain in chains.values())
        return dict(zip(chains, await _all(answers), strict=True))

    async def _open_all(
        self, asked: OpeningRequest, node_id: str, chains: dict[str, Chain], residencies: dict[str, Residency]
    ) -> ChallengeVerdict:
        """Opens one GPU after the other: each is a message of its own, since its rows are megabytes."""
        for gpu in asked.gpus:
            await self._pause(0)
            parts = (asked.challenge_id, node_id, chains[gpu.gpu_uuid], gpu, residencies.get(gpu.gpu_uuid))
            verdict = await self._step(self._delivery.open, await self._work(self._open, *parts))
        return verdict

    def _commit(self, challenge: Challenge, node_id: str, chains: dict[str, Chain]) -> ChallengeCommit:
        return self._identity.sign(
            ChallengeCommit,
            agent=node_id,
            challenge_id=challenge.challenge_id,
            backend=self._backend.name,
            heads=tuple(GpuCommit(gpu_uuid=uuid, head=chain.head.hex()) for uuid, chain in chains.items()),
        )

    def _digests(self, reply: CommitReply, node_id: str, residencies: dict[str, Residency]) -> ResidencyAnswer:
        digests = (GpuDigest(gpu_uuid=uuid, digest=held.digest.hex()) for uuid, held in residencies.items())
        return self._identity.sign(ResidencyAnswer, agent=node_id, challenge_id=reply.challenge_id, gpus=tuple(digests))

    def _open(
        self, challenge_id: str, node_id: str, chain: Chain, asked: GpuOpeningRequest, held: Residency | None
    ) -> ChallengeOpening:
        gpus = (open_gpu(chain, asked, held),)
        return self._identity.sign(ChallengeOpening, agent=node_id, challenge_id=challenge_id, gpus=gpus)

    async def _work(self, function: Callable[..., Reply], *args: object) -> Reply:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *args)

    async def _step(self, send: Callable[[object], Awaitable[Reply]], message: object) -> Reply:
        """Sends a step again where its answer was lost or the venue is busy: the same message gets the same answer.

        Raises VenueUnreachable or VenueRefused, ProofAbandoned where a gate's challenge has come meanwhile.
        """
        lost, busy_from_s, pause_s = 0, time.monotonic(), STEP_PAUSE_S[0]
        while True:
            try:
                return await send(message)
            except VenueUnreachable:
                lost += 1
                if lost == STEP_TRIES_MAX:
                    raise
            except VenueRefused as refusal:
                if not refusal.members.get("retryable") or time.monotonic() - busy_from_s > BUSY_S_MAX:
                    raise
            await self._pause(pause_s)
            pause_s = min(2 * pause_s, STEP_PAUSE_S[1])

    async def _pause(self, seconds: float) -> None:
        """Waits between steps. Raises ProofAbandoned, in an idle proof, as soon as a gate's challenge waits."""
        if not self._yields:
            await asyncio.sleep(seconds)
            return
        try:
            async with asyncio.timeout(seconds):
                await self._gate_came.wait()
        except TimeoutError:
            return
        raise ProofAbandoned("the challenge of a gate comes first")


def open_gpu(chain: Chain, asked: GpuOpeningRequest, held: Residency | None) -> GpuOpening:
    """Opens what is asked of one GPU, with the paths of its residency answer where there was one."""
    opening = open_chain(chain, asked)
    if held is None:
        return opening
    rounds = []
    for opened, paths in zip(opening.rounds, residency_paths(chain, asked), strict=True):
        rows = tuple(
            row.model_copy(update={"residency_path": tuple(sibling.hex() for sibling in path)})
            for row, path in zip(opened.rows, paths, strict=True)
        )
        rounds.append(opened.model_copy(update={"rows": rows}))
    roots = tuple(root.hex() for root in held.roots)
    return opening.model_copy(update={"rounds": tuple(rounds), "residency_roots": roots})


async def _all(works: Iterable[Awaitable[Reply]]) -> list[Reply]:
    """Returns all results; where one fails the others are waited for, so that nothing runs on unseen."""
    results = await asyncio.gather(*works, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            for other in results:
                if isinstance(other, Chain):
                    other.release()
            raise result
    return results
