"""A page of nodes costs the same number of queries however many nodes are on it, and shows each as it is alone."""

from services.delivery.node_views import node_view, node_views
from services.delivery.settings import Settings
from services.delivery.store import Store, open_pool
from tests.fixtures.delivery import TestNode, gpu_uuid

NODES, FAR_MS = 7, 4_000_000_000_000
INSERT_NODE = """
    insert into node (node_id, account, label, hub, grade, public_key, simulated, boot_id, enrolled_ms, level, state,
                      reason, registered_gpus, beat_live_ms)
    values ($1, 'ops', 'label', 'CNE', 'H100SXM80', 'key', true, 'boot', 1, 'T1', 'active', '', '{}', 0)
"""
INSERT_GPU = (
    """insert into node_gpu (uuid, node_id, serial, inventory, fault, fault_boot) values ($1, $2, $1, $3, '', '')"""
)
INSERT_PROOF = "insert into gpu_proof values ($1, $2, 5, true, '', 7, 'simulated')"
INSERT_WINDOW = "insert into maintenance values ($1, $2, $3::bigint, $3::bigint + 10, 1)"
INSERT_HOLD = "insert into level_hold (node_id, reason, detail, since_ms) values ($1, $2, 'why', 3)"
INSERT_TRIP = "insert into hub_trip values ($1, 'CNE', 1500, 4)"


class CountingStore(Store):
    """Counts its queries."""

    count = 0

    async def rows(self, query: str, *arguments: object):
        self.count += 1
        return await super().rows(query, *arguments)


async def add_nodes(store: Store) -> None:
    """Adds nodes of unlike many GPUs, windows and holds."""
    for number in range(NODES):
        node = TestNode(seed=number + 1, gpus=tuple(gpu_uuid(16 * number + place) for place in range(number % 3)))
        await store.connection.execute(INSERT_NODE, node.node_id)
        for place, uuid in enumerate(node.gpus):
            inventory = node.inventory(uuid, place).model_dump_json()
            await store.connection.execute(INSERT_GPU, uuid, node.node_id, inventory)
            await store.connection.execute(INSERT_PROOF, uuid, node.node_id)
        for window in range(number):
            await store.connection.execute(INSERT_WINDOW, f"m-{number}-{window}", node.node_id, FAR_MS - 20 * window)
        if number % 2:
            await store.connection.execute(INSERT_HOLD, node.node_id, f"reason_{number}")
            await store.connection.execute(INSERT_TRIP, node.node_id)


async def test_a_page_of_nodes_takes_as_many_queries_as_one_node_and_shows_the_same(fresh_database: str, tmp_path):
    beacons = tmp_path / "beacons.csv"
    beacons.write_text(f"hub,url,public_key,bound_ms\nCNE,https://beacon.example,{'ab' * 32},5\n")
    settings = Settings(database_url=fresh_database, data=tmp_path, hub_beacons=beacons)
    pool = await open_pool(settings)
    try:
        async with pool.acquire() as connection:
            store = CountingStore(connection)
            await add_nodes(store)
            rows = await store.rows("nodes_page", "", 100, None)
            store.count = 0
            page = await node_views(store, settings, rows)
            of_page, store.count = store.count, 0
            alone = [await node_view(store, settings, row) for row in rows]
    finally:
        await pool.close()
    assert page == tuple(alone)
    assert store.count == NODES * of_page
    assert sorted(len(view.gpus) for view in page) == [0, 0, 0, 1, 1, 2, 2]
    assert sorted(len(view.maintenance) for view in page) == list(range(NODES))
    assert all(list(view.maintenance) == sorted(view.maintenance, key=lambda each: each.start_ms) for view in page)
    assert sum(len(view.level_held) for view in page) == 3
    assert {view.hub_known.evidence for view in page} == {"declared", "measured"}
    assert [len(view.proofs) for view in page] == [len(view.gpus) for view in page]


async def test_a_node_that_cannot_be_shown_costs_its_own_line_and_not_the_page(fresh_database: str):
    settings = Settings(database_url=fresh_database)
    pool = await open_pool(settings)
    try:
        async with pool.acquire() as connection:
            store = Store(connection)
            await add_nodes(store)
            await connection.execute(
                "update node set grade = 'no grade!' where node_id in (select min(node_id) from node)"
            )
            rows = await store.rows("nodes_page", "", NODES, None)
            assert [view.node for view in await node_views(store, settings, rows)] == [r["node_id"] for r in rows[1:]]
    finally:
        await pool.close()
