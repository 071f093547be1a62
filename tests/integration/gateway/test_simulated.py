"""Every answer that names a node says whether it is simulated: as delivery tells it, over restarts and losses."""

import asyncio

import asyncpg

from clients.http import open_async_client
from schemas.delivery import NodeStateChanged, VenueOutage
from schemas.topics import DELIVERY_EVENTS
from tests.fixtures.command_log import produce
from tests.integration.gateway.conftest import contract_in
from tests.integration.gateway.test_fleets import ask, capacity, issue, new_node
from tests.integration.gateway.test_order_entry import bid

READS = ("/v1/orders", "/v1/fills", "/v1/positions", "/v1/keys")


def told(seq: int, node: str, simulated: bool) -> bytes:
    """Delivery's word that a node is up."""
    up = {"state": "active", "level": "T1", "reason": "", "gpus": ()}
    return NodeStateChanged(seq=seq, ts_ms=seq, node=node, simulated=simulated, **up).canonical()


async def marks(client) -> dict[str, set]:
    """What each list says of each node that it names."""
    answers = {path: (await client.get(path)).json()["items"] for path in READS}
    return {path: {(item["node"], item["simulated"]) for item in items} for path, items in answers.items()}


async def test_every_answer_that_names_a_node_says_whether_it_is_simulated(quiet_venue):
    venue, outage = quiet_venue, {"from_ms": 1, "to_ms": 2, "cause": "slow"}
    outage = VenueOutage(seq=3, ts_ms=3, node="venue", **outage).canonical()
    async with venue.matching():
        async with venue.gateway():
            ops = await venue.join("ops", "read", "operate", "trade", money=1_000_000_000)
            alice = await venue.join("alice", "read", "trade", money=1_000_000_000)
            token, nodes = await issue(ops, nodes=3), [new_node() for _ in range(3)]
            fake, real, unheard = (node.key_id for node in nodes)
            for node in nodes:
                assert await ask(ops, node, token) == (201, None)
                await venue.add_node(node.key_id, "ops")
            records = (told(1, fake, True), told(2, real, False), outage, told(4, fake, False))
            await produce(venue.log.bootstrap, DELIVERY_EVENTS.name, *records)
            async with asyncio.timeout(20):
                while (await marks(ops))["/v1/keys"] != {(None, None), (fake, True), (real, False), (unheard, None)}:
                    await asyncio.sleep(0.1)
            async with venue.feed("alice", "fills", "positions") as feed:
                for node in nodes:
                    posted = await ops.post("/v1/orders", json=capacity(node.key_id))
                    expected = {fake: True, real: False, unheard: None}[node.key_id]
                    assert posted.json()["order"]["simulated"] is expected
                bought = await alice.post("/v1/orders", json=bid(9, price="2.00", contract=contract_in(3)))
                shown = {(fill["node"], fill["simulated"]) for fill in bought.json()["fills"]}
                assert shown == {(fake, True), (real, False), (unheard, None)}
                messages = [await feed.next() for _ in range(8)]
                updates = [message["data"] for message in messages if message.get("type") == "update"]
                assert {(each["node"], each["simulated"]) for each in updates} == shown
            expected = dict.fromkeys(READS, shown) | {"/v1/keys": shown | {(None, None)}}
            assert await marks(ops) == expected
            async with open_async_client(venue.url, nodes[0]) as agent:
                own = (await agent.get("/v1/orders", params={"node": fake})).json()["items"]
                assert [order["simulated"] for order in own] == [True]
        async with venue.gateway():
            assert await marks(ops) == expected, "a restart forgets nothing"
        database = await asyncpg.connect(venue.settings.database_url)
        await database.execute("drop schema gateway cascade")
        await database.close()
        async with venue.gateway():
            lost = {path: (await ops.get(path)).json()["items"] for path in READS}
            assert {(each["node"], each["simulated"]) for each in lost["/v1/positions"]} == shown, "nor a lost database"
