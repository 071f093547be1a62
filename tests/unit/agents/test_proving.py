"""The prover: a busy venue is waited for, a lost answer asked for again, and a gate's challenge comes first."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from agents.node import proving
from agents.node.challenge import NumpyBackend
from agents.node.errors import VenueRefused, VenueUnreachable
from agents.node.proving import Prover
from schemas.challenge import draw_opening
from schemas.nodes import Challenge, ChallengeVerdict, CommitReply, OpeningRequest, ResidencyRequest
from tests.fixtures.delivery import TestNode

NODE = TestNode()
BUSY = VenueRefused(503, "unavailable", "too many proofs", {"retryable": True})


class Venue:
    """Answers each step; `troubles` are raised first, in their order."""

    def __init__(self, *troubles: Exception):
        self.troubles, self.steps = list(troubles), []

    async def commit(self, commit):
        self._step("commit")
        second = ResidencyRequest(challenge_id=commit.challenge_id, nonce="cd" * 32, stride=1, deadline_ms=1)
        return CommitReply(challenge_id=commit.challenge_id, residency=second)

    async def prove_residency(self, answer):
        self._step("residency")
        gpus = tuple(draw_opening(b"s", challenge(answer.challenge_id), gpu.gpu_uuid, 1, 2) for gpu in answer.gpus)
        return OpeningRequest(challenge_id=answer.challenge_id, deadline_ms=1, gpus=gpus)

    async def open(self, opening):
        self._step(f"open {opening.challenge_id}")
        return ChallengeVerdict(challenge_id=opening.challenge_id, passed=True, judged_ms=1, gpus=())

    def _step(self, name: str) -> None:
        self.steps.append(name)
        if self.troubles and name.startswith("open"):
            raise self.troubles.pop(0)


class Signer:
    """Signs as the node does."""

    sign = NODE.sign


def challenge(name: str, cause: str = "idle") -> Challenge:
    return Challenge(
        challenge_id=name, cause=cause, nonce="ab" * 32, n=32, rounds=2, gpu_uuids=NODE.gpus, issued_ms=0, deadline_ms=1
    )


@pytest.fixture
def executor():
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(proving, "STEP_PAUSE_S", (0.01, 0.02))


async def prove(venue: Venue, executor, name: str = "ch-1", cause: str = "idle"):
    prover = Prover(Signer(), NumpyBackend(), venue, executor)
    return await prover.prove(challenge(name, cause), NODE.node_id, frozenset(NODE.gpus))


async def test_each_gpu_is_opened_by_a_message_of_its_own(executor):
    venue = Venue()
    assert (await prove(venue, executor)).passed
    assert venue.steps == ["commit", "residency", "open ch-1", "open ch-1"]


async def test_a_busy_venue_is_asked_again_for_long_and_a_lost_answer_a_few_times(executor):
    venue = Venue(*[BUSY] * 20, *[VenueUnreachable("away")] * 4)
    assert (await prove(venue, executor)).passed
    assert venue.steps.count("open ch-1") == 2 + 24
    with pytest.raises(VenueUnreachable):
        await prove(Venue(*[VenueUnreachable("away")] * 5), executor)


async def test_a_refusal_for_good_ends_the_proof(executor):
    closed = VenueRefused(409, "challenge_closed", "over", {})
    with pytest.raises(VenueRefused):
        await prove(Venue(closed), executor)


async def test_an_idle_proof_that_waits_for_the_venue_is_left_when_a_gate_s_challenge_comes(executor):
    venue = Venue(*[BUSY] * 1_000)
    prover = Prover(Signer(), NumpyBackend(), venue, executor)
    idle = asyncio.create_task(prover.prove(challenge("ch-idle"), NODE.node_id, frozenset(NODE.gpus)))
    while "open ch-idle" not in venue.steps:
        await asyncio.sleep(0.01)
    gate = asyncio.create_task(prover.prove(challenge("ch-gate", "gate"), NODE.node_id, frozenset(NODE.gpus)))
    assert await idle is None
    venue.troubles.clear()
    assert (await gate).passed
    assert venue.steps[-2:] == ["open ch-gate", "open ch-gate"]


async def test_two_challenges_of_one_gate_are_both_answered(executor):
    venue = Venue(*[BUSY] * 3)
    prover = Prover(Signer(), NumpyBackend(), venue, executor)
    proofs = (prover.prove(challenge(name, "gate"), NODE.node_id, frozenset(NODE.gpus)) for name in ("ch-1", "ch-2"))
    assert [verdict.passed for verdict in await asyncio.gather(*proofs)] == [True, True]
