"""Verifying apart from the event loop: what a body must be, whose turn it is, and processes for what is large."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from agents.node.challenge import NumpyBackend, run_chain
from agents.node.proving import open_gpu
from schemas.nodes import ChallengeCommit, ChallengeOpening, GpuCommit
from services.delivery import verifying
from services.delivery.bands import SIMULATED
from services.delivery.challenges import ChallengeMismatch, ChallengeRules, Proof, draw, make_challenge
from services.delivery.domain import BadSignature, NotThisNode
from services.delivery.verifying import MalformedOpening, Verifier, VerifiersBusy, verify_opening
from tests.fixtures.delivery import TestNode

NODE, OTHER = TestNode(), TestNode(seed=2)
RULES = ChallengeRules(n=32, rounds=4, open_rounds=2, open_rows=4)
CHALLENGE = make_challenge("ch-1", "idle", "ab" * 32, NODE.gpus[:1], 1_000, 2_000, RULES)


def answered() -> tuple[ChallengeOpening, Proof]:
    chain = run_chain(NumpyBackend(), CHALLENGE, NODE.node_id, NODE.gpus[0])
    facts = {"agent": NODE.node_id, "challenge_id": "ch-1"}
    heads = (GpuCommit(gpu_uuid=NODE.gpus[0], head=chain.head.hex()),)
    commit = NODE.sign(ChallengeCommit, **facts, backend="numpy", heads=heads)
    asked = draw(CHALLENGE, commit, b"s" * 32, 1_900, RULES)
    opening = NODE.sign(ChallengeOpening, **facts, gpus=(open_gpu(chain, asked.gpus[0], None),))
    return opening, Proof(CHALLENGE, commit, asked, b"s" * 32, 1_000, SIMULATED)


def test_only_the_node_s_own_opening_of_this_challenge_is_judged():
    opening, proof = answered()
    body = opening.canonical()
    passed = verify_opening(body, NODE.node_id, "ch-1", NODE.public_key, proof)
    assert [(verdict.gpu_uuid, verdict.passed) for verdict in passed] == [(NODE.gpus[0], True)]
    for arguments, error in (
        ((b"{", NODE.node_id, "ch-1", NODE.public_key), MalformedOpening),
        ((body, OTHER.node_id, "ch-1", OTHER.public_key), NotThisNode),
        ((body, NODE.node_id, "ch-2", NODE.public_key), ChallengeMismatch),
        ((body, NODE.node_id, "ch-1", OTHER.public_key), BadSignature),
    ):
        with pytest.raises(error):
            verify_opening(*arguments, proof)


async def test_so_many_verify_at_a_time_so_many_wait_and_the_rest_come_again():
    verifier, running = Verifier(workers=1, waiting_max=1), asyncio.Event()
    async with AsyncExitStack() as held:
        await held.enter_async_context(verifier.turn("ch-1"))

        async def wait() -> None:
            async with verifier.turn("ch-2"):
                running.set()

        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        assert (verifier.under_way, running.is_set()) == ({"ch-1": 1, "ch-2": 1}, False)
        with pytest.raises(VerifiersBusy):
            async with verifier.turn("ch-3"):
                pass
    await waiting
    assert (verifier.under_way, running.is_set()) == ({}, True)


async def test_a_large_opening_is_verified_in_another_process_with_the_same_result(monkeypatch):
    opening, proof = answered()
    monkeypatch.setattr(verifying, "LARGE_BYTES", 1)
    verifier = Verifier(workers=1, waiting_max=1)
    ending = asyncio.create_task(verifier.run())
    try:
        facts = (opening.canonical(), NODE.node_id, "ch-1", NODE.public_key, proof)
        async with verifier.turn("ch-1"):
            assert await verifier.verify(*facts) == verify_opening(*facts)
        with pytest.raises(BadSignature):
            await verifier.verify(*facts[:3], OTHER.public_key, proof)
    finally:
        ending.cancel()


async def test_a_verifying_process_that_is_killed_costs_one_opening_another_try(monkeypatch):
    opening, proof = answered()
    monkeypatch.setattr(verifying, "LARGE_BYTES", 1)
    verifier = Verifier(workers=1, waiting_max=1)
    ending = asyncio.create_task(verifier.run())
    facts = (opening.canonical(), NODE.node_id, "ch-1", NODE.public_key, proof)
    try:
        await verifier.verify(*facts)
        (process,) = verifier._processes._processes.values()
        process.kill()
        process.join()
        with pytest.raises(VerifiersBusy):
            await verifier.verify(*facts)
        assert [verdict.passed for verdict in await verifier.verify(*facts)] == [True]
    finally:
        ending.cancel()
