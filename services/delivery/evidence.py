"""Layer L1: a node's software whenever it changes, and the load of its GPUs as its histories are written."""

from collections.abc import Mapping

from schemas.delivery import VENUE, DriverDigestAdded, DriverDigestForm, DriverDigestView
from schemas.nodes import NodeEnrolled
from services.delivery.digests import (
    SOFTWARE_REASONS,
    SUSPICIONS,
    Software,
    doubts,
    read_digest_book,
    software_of,
    text_prefix,
)
from services.delivery.holds import lift_hold, open_holds, raise_hold
from services.delivery.load import IMPLAUSIBLE_LOAD, LoadTally, read_board_powers
from services.delivery.nodes import proven_level, set_level
from services.delivery.settings import Settings
from services.delivery.store import Node, Store
from services.delivery.sweeps import suspect


async def take_enrolled_software(store: Store, settings: Settings, record: NodeEnrolled) -> None:
    """Looks at what a new node runs."""
    node = await store.node(record.node_id)
    await take_software(store, settings, node, software_of(record.request), record.received_ms)


async def take_software(store: Store, settings: Settings, node: Node, software: Software, now_ms: int) -> None:
    """Notes what a node runs from now on, raises what it leaves to ask and lifts what is answered."""
    await store.run("set_software", node.node_id, software.text)
    known, asked = await known_digests(store, settings, software.driver), {}
    if settings.judges("software"):
        asked = doubts(software, known, node.simulated, settings.agent_version_min)
    for reason, detail in asked.items():
        if await raise_hold(store, node.node_id, reason, detail, now_ms) and reason in SUSPICIONS:
            await suspect(store, node, reason)
    lifted = [
        reason
        for reason in SOFTWARE_REASONS
        if reason not in asked and await lift_hold(store, node.node_id, reason, now_ms)
    ]
    if lifted:
        await free_level(store, settings, await store.node(node.node_id), now_ms)


async def judge_loads(
    store: Store, settings: Settings, node_id: str, loads: Mapping[str, LoadTally], now_ms: int
) -> None:
    """Raises what power, clocks and energy of a node's GPUs leave to ask; readings that fit again lift it."""
    node = await store.node(node_id)
    tdp_w = read_board_powers(settings.board_powers).get(node.grade.removesuffix("X8"))
    found = {uuid: doubt for uuid, load in loads.items() if (doubt := load.doubt(tdp_w, settings.load_ms_min))}
    if found and settings.judges("load"):
        uuid, doubt = min(found.items())
        if await raise_hold(store, node_id, IMPLAUSIBLE_LOAD, f"{uuid}: {doubt}", now_ms):
            await suspect(store, node, IMPLAUSIBLE_LOAD)
    elif (
        loads
        and all(load.power.ms >= settings.load_ms_min for load in loads.values())
        and await lift_hold(store, node_id, IMPLAUSIBLE_LOAD, now_ms)
    ):
        await free_level(store, settings, node, now_ms)


async def free_level(store: Store, settings: Settings, node: Node, now_ms: int) -> None:
    """Lets a proven node have the level that was kept from it, where nothing holds it any more."""
    if node.state == "active" and not await open_holds(store, node.node_id):
        level = min(proven_level(node), settings.level_max(node.grade, node.simulated))
        await set_level(store, node, level, "hold_lifted", now_ms)


async def known_digests(store: Store, settings: Settings, driver: str) -> frozenset[str]:
    """Returns the digests of a driver's library: the book's, and those that people of the venue passed on."""
    rows = await store.rows("digests_of_driver", driver)
    return read_digest_book(settings.digest_book).get(driver, frozenset()) | {row["library_sha256"] for row in rows}


async def pass_on_digest(
    store: Store, settings: Settings, form: DriverDigestForm, account: str, now_ms: int
) -> DriverDigestView:
    """Takes a digest that a person of the venue passes on, and answers the nodes that wait for it. A repeat changes
    nothing.
    """
    facts = dict(form) | {"added_by": account}
    if await store.value("insert_driver_digest", *facts.values(), now_ms) is not None:
        await store.publish(DriverDigestAdded, VENUE, now_ms, **facts)
        for row in await store.rows("nodes_with_driver", text_prefix(form.driver_version, form.library_sha256)):
            node = await store.node(row["node_id"], lock=True)
            await take_software(store, settings, node, Software.from_text(row["software"]), now_ms)
    rows = await store.rows("driver_digests", form.driver_version, form.library_sha256)
    return DriverDigestView(**rows[0])


async def restore_digest(store: Store, event: DriverDigestAdded) -> None:
    """Writes again what an event told of a digest that was passed on, where the table has it not."""
    row = (event.driver_version, event.library_sha256, event.source, event.added_by, event.ts_ms)
    await store.value("insert_driver_digest", *row)
