"""Challenges at the edge: given out, committed to, opened GPU by GPU, concluded."""

import secrets

from schemas.nodes import (
    Challenge,
    ChallengeCommit,
    ChallengeJudged,
    ChallengeVerdict,
    CommitReply,
    GpuVerdict,
    OpeningRequest,
    ResidencyAnswer,
    ResidencyRequest,
)
from schemas.residency import SECTOR_WORDS
from services.delivery.bands import Band
from services.delivery.challenges import (
    ChallengeClosed,
    Proof,
    ResidencyProof,
    check_digests,
    check_heads,
    conclude,
    draw,
    late_verdict,
    make_challenge,
)
from services.delivery.domain import UnknownLease
from services.delivery.effects import now_ms
from services.delivery.loop_lag import LoopLag
from services.delivery.releases import Releases, clock_us
from services.delivery.rows import StoredChallenge
from services.delivery.settings import Settings
from services.delivery.signatures import Prover, find_prover, signed_prover
from services.delivery.store import Node, Store, transaction
from services.delivery.store.challenges import Commitment
from services.delivery.verifying import Verifier, VerifiersBusy
from services.delivery.waiting import RoundTrips
from services.kit.outbox import PromptPublisher
from services.kit.store import Pool

OVER = ("judged", "applied")


class Proofs:
    """What agents ask for about challenges. No database lock is held while an opening is verified."""

    def __init__(
        self,
        settings: Settings,
        pool: Pool,
        publisher: PromptPublisher,
        releases: Releases,
        verifier: Verifier,
        trips: RoundTrips,
        lag: LoopLag,
    ):
        self._settings, self._pool, self._publisher = settings, pool, publisher
        self._releases, self._verifier, self._trips, self._lag = releases, verifier, trips, lag

    async def commit(self, node_id: str, challenge_id: str, commit: ChallengeCommit) -> CommitReply:
        """Takes the heads of all chains and stops the clock; what comes next is drawn only then."""
        arrived_us, received_ms = clock_us(), now_ms()
        node = (await signed_prover(self._pool, node_id, commit)).node
        async with transaction(self._pool) as store:
            known = await _own_challenge(store, node_id, challenge_id, commit.challenge_id, lock=True)
            if known.state != "issued" and known.commitment == commit.canonical():
                return _next_step(known)
            challenge, left_us = known.challenge, self._releases.of(challenge_id)
            if known.state != "issued" or received_ms > challenge.deadline_ms or left_us is None:
                raise ChallengeClosed(f"challenge {challenge_id} is over")
            check_heads(challenge, commit)
            band, trip_us = self._settings.bands.of(node.grade, node.simulated), self._trips.of(node_id)
            residency = self._draw_residency(challenge, band, received_ms)
            deadline_ms = received_ms + self._settings.challenge_deadline_ms
            asked = None if residency is None else residency.canonical()
            after_us = self._releases.since_sweep_us(challenge_id)
            is_simultaneous = after_us is not None and after_us <= 1_000 * self._settings.simultaneity_ms
            commitment = Commitment(
                challenge_id=challenge_id,
                committed_ms=received_ms,
                commitment=commit.canonical(),
                deadline_ms=deadline_ms,
                seen_us=max(arrived_us - left_us - trip_us, 1),
                trip_us=trip_us,
                residency=asked,
                is_simultaneous=is_simultaneous,
                lag_us=self._lag.within(left_us, arrived_us),
            )
            await store.challenges.commit(commitment)
            if residency is None:
                await self._draw(store, node, challenge, commit, received_ms)
            reply = _next_step(await store.challenges.find(challenge_id))
        self._releases.note([residency_of(challenge_id)])
        return reply

    async def prove_residency(self, node_id: str, challenge_id: str, answer: ResidencyAnswer) -> OpeningRequest:
        """Takes the digests, the first ones that come, and draws what is to be opened."""
        arrived_us, received_ms = clock_us(), now_ms()
        node = (await signed_prover(self._pool, node_id, answer)).node
        async with transaction(self._pool) as store:
            known = await _own_challenge(store, node_id, challenge_id, answer.challenge_id, lock=True)
            if known.opening is not None and known.digests == answer.canonical():
                return known.opening_request
            left_us = self._releases.of(residency_of(challenge_id))
            if known.state != "committed" or known.digests is not None or left_us is None:
                raise ChallengeClosed(f"challenge {challenge_id} takes no digests now")
            challenge, commit = known.challenge, known.commit
            check_digests(commit, answer)
            took_us = max(arrived_us - left_us - known.trip_us, 1)
            lag_us = self._lag.within(left_us, arrived_us)
            await store.challenges.set_resident(challenge_id, answer.canonical(), took_us, lag_us)
            return await self._draw(store, node, challenge, commit, received_ms)

    def _draw_residency(self, challenge: Challenge, band: Band, received_ms: int) -> ResidencyRequest | None:
        if not self._settings.judges("residency"):
            return None
        limit_ms = -(-self._settings.residency_limit_us(challenge, band) // 1_000)
        return ResidencyRequest(
            challenge_id=challenge.challenge_id,
            nonce=secrets.token_hex(32),
            stride=min(self._settings.residency_stride, challenge.n // SECTOR_WORDS),
            deadline_ms=received_ms + limit_ms,
        )

    async def _draw(
        self, store: Store, node: Node, challenge: Challenge, commit: ChallengeCommit, received_ms: int
    ) -> OpeningRequest:
        secret, deadline_ms = secrets.token_bytes(32), received_ms + self._settings.challenge_deadline_ms
        rules = self._settings.challenge_rules(self._settings.bands.of(node.grade, node.simulated))
        asked = draw(challenge, commit, secret, deadline_ms, rules)
        await store.challenges.set_drawn(challenge.challenge_id, secret, asked.canonical(), deadline_ms)
        return asked

    async def open(self, node_id: str, challenge_id: str, body: bytes) -> ChallengeVerdict:
        """Judges what was opened; the verdict is final when no GPU is pending, and a repeat gets the same."""
        received_ms, prover = now_ms(), await find_prover(Store(self._pool), node_id)
        try:
            return await self._open(prover, challenge_id, body, received_ms)
        except VerifiersBusy:
            # Our own load is nobody's lateness.
            deadline_ms = received_ms + self._settings.challenge_deadline_ms
            await Store(self._pool).challenges.extend_opening(challenge_id, deadline_ms)
            raise

    async def _open(self, prover: Prover, challenge_id: str, body: bytes, received_ms: int) -> ChallengeVerdict:
        node_id = prover.name
        async with self._verifier.turn(challenge_id):
            known = await _own_challenge(Store(self._pool), node_id, challenge_id, challenge_id)
            if known.state not in OVER and known.opening is None:
                raise ChallengeClosed("commit and residency come first")
            proof = None if known.state in OVER else self._proof(prover.node, known)
            verdicts = await self._verifier.verify(body, node_id, challenge_id, prover.public_key, proof)
            async with transaction(self._pool) as store:
                known = await _own_challenge(store, node_id, challenge_id, challenge_id, lock=True)
                if known.state in OVER:
                    if known.verdict is None:
                        raise ChallengeClosed(f"challenge {challenge_id} is over")
                    return known.final_verdict
                verdict = await self._conclude(store, proof, verdicts, received_ms, known.deadline_ms)
                if verdict.pending:
                    return verdict
                await conclude_challenge(store, known, verdict, received_ms)
        await self._publisher.published()
        return verdict

    def _proof(self, node: Node, known: StoredChallenge) -> Proof:
        challenge = known.challenge
        band, residency = self._settings.bands.of(node.grade, node.simulated), None
        if known.residency is not None:
            residency = ResidencyProof(
                known.residency_request,
                {gpu.gpu_uuid: gpu.digest for gpu in known.residency_answer.gpus},
                over_us=known.residency_us - self._settings.residency_limit_us(challenge, band),
                lag_us=known.residency_lag_us,
            )
        return Proof(
            challenge=challenge,
            commit=known.commit,
            asked=known.opening_request,
            secret=known.secret,
            seen_us=known.seen_us,
            lag_us=known.lag_us,
            band=band,
            judges_work=self._settings.judges("work"),
            judges_score=self._settings.judges("score"),
            residency=residency,
            was_absent=self._releases.was_absent(challenge.challenge_id),
        )

    async def _conclude(
        self, store: Store, proof: Proof, verdicts: tuple[GpuVerdict, ...], received_ms: int, deadline_ms: int
    ) -> ChallengeVerdict:
        """Keeps the verdicts that came in time, and puts all so far together."""
        is_late = received_ms > deadline_ms
        for verdict in () if is_late else verdicts:
            await store.challenges.put_opened(proof.challenge.challenge_id, verdict)
        opened = await store.challenges.opened(proof.challenge.challenge_id)
        asked = {gpu.gpu_uuid for gpu in proof.asked.gpus}
        if is_late:
            return late_verdict(proof.challenge, proof.band, received_ms, opened, asked)
        return conclude(proof.challenge, proof.band, opened, asked, received_ms)


async def give_up(store: Store, settings: Settings, late: StoredChallenge, time_ms: int) -> None:
    """Concludes a challenge whose time is over."""
    node, challenge = await store.node(late.node), late.challenge
    asked = late.opening_request.gpus if late.opening else ()
    heads = late.commit.heads if late.commitment else ()
    opened = await store.challenges.opened(challenge.challenge_id)
    band = settings.bands.of(node.grade, node.simulated)
    reached = ({gpu.gpu_uuid for gpu in asked}, {head.gpu_uuid for head in heads})
    verdict = late_verdict(challenge, band, time_ms, opened, *reached)
    await conclude_challenge(store, late, verdict, time_ms)


async def issue_challenge(
    store: Store,
    settings: Settings,
    node: Node,
    cause: str,
    gpus: list[str],
    issued_ms: int,
    deadline_ms: int,
    lease_id: str | None = None,
    prover: str | None = None,
) -> Challenge:
    """Gives out a challenge, as large as the band of the node's grade says.

    The agent gets it over a request that it holds open, or with the reply to its next report; a `prover` who is not the
    node's agent has asked for it.

    Raises NoBand.
    """
    challenge = make_challenge(
        f"ch-{secrets.token_hex(12)}",
        cause,
        secrets.token_hex(32),
        gpus,
        issued_ms,
        deadline_ms,
        settings.challenge_rules(settings.bands.of(node.grade, node.simulated)),
        lease_id,
    )
    await store.challenges.insert(node.node_id, challenge, prover)
    if prover is None:
        store.issued.append((node.node_id, challenge))
    return challenge


async def conclude_challenge(store: Store, known: StoredChallenge, verdict: ChallengeVerdict, received_ms: int) -> None:
    """Writes a verdict and puts it on the record; its consequences follow from the record."""
    await store.challenges.set_judged(known.challenge_id, verdict)
    judged = ChallengeJudged(
        node_id=known.node,
        received_ms=received_ms,
        cause=known.cause,
        lease_id=known.lease_id,
        verdict=verdict,
    )
    await store.record(known.node, judged)


def residency_of(challenge_id: str) -> str:
    """Names the release of a challenge's second nonce."""
    return f"{challenge_id}/residency"


def _next_step(known: StoredChallenge) -> CommitReply:
    residency = known.residency_request
    opening = None if residency is not None else known.opening_request
    return CommitReply(challenge_id=known.challenge_id, residency=residency, opening=opening)


async def _own_challenge(store: Store, name: str, challenge_id: str, named: str, lock: bool = False) -> StoredChallenge:
    known = await store.challenges.find(challenge_id, lock)
    if known is None or (known.prover or known.node) != name or named != challenge_id:
        raise UnknownLease(f"{name} has no challenge {challenge_id}")
    return known
