"""Many reports at once, and those that a crash caught between PostgreSQL and the broker.

Tier: default. Half a minute.
"""

import asyncio
import time
from dataclasses import replace

import asyncpg

from schemas.nodes import METER_RECORD, NodeReported, Report, message_hash
from schemas.topics import METER_REPORTS, METER_REPORTS_DEAD
from services.delivery.domain import RECORD_BYTES_MAX
from services.delivery.report_records import VerifiedReport
from services.delivery.store import Placed, open_pool, transaction
from tests.faults.audit.log import read_topic
from tests.fixtures.command_log import consume
from tests.fixtures.delivery import TestNode, gpu_uuid, process, reading, reported
from tests.fixtures.node_agent import PlayedAgent
from tests.integration.delivery.conftest import Venue

PARTIES = 24


async def enrolled(venue: Venue, seed: int) -> PlayedAgent:
    agent = PlayedAgent(TestNode(seed=seed, gpus=(gpu_uuid(2 * seed), gpu_uuid(2 * seed + 1))), venue.http)
    await agent.enrol(await venue.token("ops", f"token-{seed}"))
    return agent


async def outcome(agent: PlayedAgent, report: Report) -> str:
    """Posts a report; returns the reply's status, or the refusal's code."""
    answer = (await agent.post(f"/v1/nodes/{agent.node.node_id}/reports", report)).json()
    return answer.get("code") or answer["status"]


async def metered(venue: Venue) -> dict[str, int]:
    """How far the meter has each node's chain."""
    connection = await asyncpg.connect(venue.settings.database_url, server_settings={"search_path": "delivery"})
    try:
        return dict(await connection.fetch("select node_id, metered_seq from node"))
    finally:
        await connection.close()


async def on_topic(venue: Venue) -> list[Report]:
    """The reports on the topic, each once: what the broker had before a crash may have been sent again."""
    records = dict.fromkeys(await read_topic({"bootstrap_servers": venue.log.bootstrap}, METER_REPORTS))
    found = [METER_RECORD.validate_json(raw) for raw in records]
    return [record.report for record in found if isinstance(record, NodeReported)]


def forged(agent: PlayedAgent) -> Report:
    report = agent.make_report()
    return report.model_copy(update={"wall_ms": report.wall_ms + 1})


def too_large(agent: PlayedAgent) -> Report:
    uuid = agent.node.gpus[0]
    many = tuple(process("lease-1") for _ in range(RECORD_BYTES_MAX // 50))
    return agent.node.report(agent.nonce, 0, 1, gpus=(reading(uuid, processes=many),))


def ahead(agent: PlayedAgent) -> Report:
    agent.node.seq += 1_000
    return agent.make_report()


def overlapping(agent: PlayedAgent) -> Report:
    return agent.node.report(agent.nonce, 10, 5)


BAD = {
    "bad_node_signature": forged,
    "body_too_large": too_large,
    "report_gap": ahead,
    "report_windows_overlap": overlapping,
}


async def test_one_partys_bad_report_harms_no_other_that_comes_at_the_same_time(quiet_venue: Venue):
    venue = quiet_venue
    async with venue.delivery():
        agents = [await enrolled(venue, seed) for seed in range(1, PARTIES + 1)]
        kinds = [*BAD.items(), *[("accepted", PlayedAgent.make_report)] * (PARTIES - len(BAD))]
        reports = [make(agent) for agent, (_, make) in zip(agents, kinds, strict=True)]
        expected = [said for said, _ in kinds]
        assert await asyncio.gather(*map(outcome, agents, reports)) == expected
        good = [report for report, said in zip(reports, expected, strict=True) if said == "accepted"]

        async def all_metered() -> bool:
            known = await metered(venue)
            return all(known[report.agent] == report.seq for report in good)

        await venue.wait_for(all_metered)
        assert sorted(each.agent for each in await on_topic(venue)) == sorted(each.agent for each in good)
        assert await consume(venue.log.bootstrap, METER_REPORTS_DEAD.name) == []


async def test_reports_behind_a_refused_one_that_are_signed_anew_are_no_second_history(quiet_venue: Venue):
    venue = quiet_venue
    async with venue.delivery():
        agent = await enrolled(venue, 1)
        node, fresh = agent.node, agent.nonce
        assert await outcome(agent, node.report(fresh, 0, 1)) == "accepted"
        queued = {"queued": True}
        behind = [
            node.report("f" * 64, 1, 2, **queued),
            *(node.report(fresh, end - 1, end, **queued) for end in (3, 4, 5)),
        ]
        told = [await outcome(agent, report) for report in behind]
        assert told == ["report_nonce_stale", "buffered", "buffered", "buffered"]
        behind[0] = behind[0].model_copy(update={"server_nonce": fresh})
        second, third, fourth, fifth = node.sign_anew(behind)
        # In any order: the fourth finds one of its number that waits, the second one behind it that follows another.
        told = [await outcome(agent, report) for report in (fourth, second, third, fourth, fifth)]
        assert told == ["buffered", "accepted", "accepted", "duplicate", "accepted"]
        assert await outcome(agent, node.report(fresh, 5, 6, **queued)) == "accepted"

        async def all_metered() -> bool:
            return await metered(venue) == {node.node_id: 6}

        await venue.wait_for(all_metered)


async def test_a_report_that_was_committed_and_not_sent_is_sent_at_the_next_start_and_counts_once(quiet_venue: Venue):
    venue = quiet_venue
    async with venue.delivery():
        agent = await enrolled(venue, 1)
        first = agent.make_report()
        answer = await agent.post(f"/v1/nodes/{agent.node.node_id}/reports", first)
        agent.nonce, agent.nonce_used = answer.json()["next_nonce"], False
    second = agent.make_report()
    await commit_unsent(venue, second)
    async with venue.delivery():

        async def is_metered() -> bool:
            return (await metered(venue))[agent.node.node_id] == second.seq

        await venue.wait_for(is_metered)
        assert await outcome(agent, second) == "duplicate"
        assert await on_topic(venue) == [first, second]
        assert await outcome(agent, agent.node.sign_anew([second])[0]) == "report_forked"


async def commit_unsent(venue: Venue, report: Report) -> None:
    """Does what the edge does up to its commit, as if the process had ended then."""
    pool, now_ms = await open_pool(venue.settings), time.time_ns() // 1_000_000
    async with transaction(pool) as store:
        chain = await store.chain(report.agent)
        record, digest = reported(report, now_ms, chain.nonce_issued_ms), message_hash(report)
        await store.save_reports([Placed(VerifiedReport(record, digest), record.canonical())])
        moved = replace(chain, seq=report.seq, hash=digest, mono_end_ms=report.mono_end_ms, received_ms=now_ms)
        await store.save_chains({report.agent: moved})
    await pool.close()
