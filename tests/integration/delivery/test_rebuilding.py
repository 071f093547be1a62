"""PostgreSQL is put back from an older copy, then lost: nodes, chains, reports and a running lease are there again."""

from contextlib import AsyncExitStack

import asyncpg

from tests.fixtures.delivery import TestNode
from tests.integration.delivery.conftest import Venue, make_database


async def copy_database(url: str) -> str:
    """Makes a copy of a database that nobody uses, as a backup would have it; returns its address."""
    server, _, name = url.rpartition("/")
    connection = await asyncpg.connect(f"{server}/postgres")
    try:
        await connection.execute(f'alter database "{name}" allow_connections false')
        await connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name)
        await connection.execute(f'create database "{name}_copy" template "{name}"')
        await connection.execute(f'alter database "{name}" allow_connections true')
    finally:
        await connection.close()
    return f"{server}/{name}_copy"


async def test_nodes_and_a_running_lease_outlive_a_restored_and_a_lost_database(quiet_venue: Venue):  # A7, A17, A18
    venue, node, first_url = quiet_venue, TestNode(), quiet_venue.settings.database_url
    async with AsyncExitStack() as stack:
        async with venue.delivery():
            await venue.join("alice", "read", "trade")
            await venue.join("ops", "read", "operate")
            agent = await stack.enter_async_context(venue.site("ops", node))
        older_url = await copy_database(first_url)
        async with venue.delivery():
            contracts = venue.contracts(1, ahead_s=12)
            await venue.offer("ops", node, contracts, 2)
            await venue.buy("alice", contracts[0], 2)
            await venue.sleep_until(await venue.leased(agent) + 1)
            acknowledged = agent.node.seq
        venue.settings = venue.settings.model_copy(update={"database_url": older_url})
        async with venue.delivery():
            (settled,) = await venue.settled("alice", 1)
            assert (await venue.node(node.node_id))["state"] == "active"
        assert settled.delivered_gpu_s + settled.excused_gpu_s == settled.qty * settled.period_s
        assert (settled.delivered_gpu_s > 0, settled.damages_micros) == (True, 0)
        empty = await make_database(first_url)
        venue.settings = venue.settings.model_copy(update={"database_url": empty})
        async with venue.delivery():
            back = await venue.node(node.node_id)
            seq, heard_ms = agent.node.seq, back["last_report_ms"]

            async def goes_on() -> bool:
                return (await venue.node(node.node_id))["last_report_ms"] > heard_ms

            await venue.wait_for(goes_on)
        assert (back["state"], back["account"], back["gpus"]) == ("active", "ops", sorted(node.gpus))
        assert agent.node.seq >= seq > acknowledged
        assert set(agent.refusals) <= {"report_nonce_stale", "unavailable"}
