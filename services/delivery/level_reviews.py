"""Levels are looked at when something was settled, and as days go by: what a node's record says, it is from then on."""

from collections.abc import Sequence
from dataclasses import replace

from schemas.delivery import MeterInputs, MeterOutcome, NodeAudited, NodeStateChanged, PositionMetered
from services.delivery.effects import Effects, repeat
from services.delivery.levels import PROVEN, Record, Standing, next_level
from services.delivery.nodes import set_level
from services.delivery.rows import Position
from services.delivery.settings import Settings
from services.delivery.store import Node, Store

NODES_PER_TURN = 64


async def run_reviews(settings: Settings, effects: Effects) -> None:
    """Looks at the nodes that are due, for ever; sits out a database that is away."""

    async def review(time_ms: int) -> None:
        async with effects.transaction() as store:
            await review_due(store, settings, time_ms)

    await repeat(review, settings.level_interval_s, "levels wait for PostgreSQL")


async def review_due(store: Store, settings: Settings, time_ms: int) -> None:
    """Looks at active nodes whose level is due, those that wait longest first."""
    rows = await store.rows("nodes_to_review", time_ms, NODES_PER_TURN)
    for row in rows:
        node = await store.node(row["node_id"])
        since_ms, day_ms = row["standing_ms"], settings.level_day_ms(node.period_ms)
        if since_ms is None and node.level >= PROVEN:
            since_ms = time_ms
        standing = Standing(
            level=node.level,
            is_held=row["is_held"],
            level_max=settings.level_max(node.grade, node.simulated),
            days=0 if since_ms is None else (time_ms - since_ms) // day_ms,
            records=await _records(store, settings, node, time_ms, day_ms),
            is_audited=(row["audited_until_ms"] or 0) > time_ms,
        )
        level = next_level(standing, settings.level_bars)
        if level < node.level or (since_ms is None and level >= PROVEN):
            since_ms = time_ms
        await store.run("note_review", node.node_id, since_ms, time_ms + day_ms // settings.level_day_periods)
        reason = "level_reached" if level > node.level else "level_lost"
        await set_level(store, node, level, reason, time_ms)


async def _records(store: Store, settings: Settings, node: Node, time_ms: int, day_ms: int) -> dict[str, Record]:
    bars = settings.level_bars.items()
    return {level: await record_since(store, [node.node_id], time_ms - bar.days * day_ms) for level, bar in bars}


async def record_since(store: Store, node_ids: Sequence[str], since_ms: int) -> Record:
    """Returns what nodes' positions came to that were settled since a time."""
    return Record(*await store.row("record_since", node_ids, since_ms))


async def fall_to_proven(store: Store, node: Node, now_ms: int) -> Node:
    """Takes a node that did not answer a proof in time down to T1; its days count from zero again."""
    if node.level <= PROVEN:
        return node
    await store.run("note_review", node.node_id, now_ms, now_ms)
    await set_level(store, node, PROVEN, "proof_missed", now_ms)
    return replace(node, level=PROVEN)


# -- what was settled, what a person found


def metered(position: Position, revision: int, inputs: MeterInputs, outcome: MeterOutcome) -> dict[str, object]:
    """Returns what `position_metered` says of a position."""
    return {
        "position_id": position.position_id,
        "contract": position.contract,
        "revision": revision,
        "contracted_gpu_s": position.qty * (position.end_ms - position.start_ms) // 1000,
        "delivered_gpu_s": outcome.delivered_gpu_s,
        "excused_gpu_s": outcome.excused_gpu_s,
        "disputed_gpu_s": outcome.disputed_gpu_s,
        "two_sided": bool(inputs.renter_reports),
    }


async def note_metered(store: Store, event: PositionMetered) -> None:
    """Takes a position into its node's record, or what a later revision says of it; its level is due at once."""
    row = (event.contracted_gpu_s, event.excused_gpu_s, event.delivered_gpu_s, event.disputed_gpu_s, event.two_sided)
    await store.run("put_delivery_fact", event.position_id, event.node, event.ts_ms, *row)
    await store.run("review_soon", event.node)


async def note_audit(store: Store, event: NodeAudited) -> None:
    """Takes down until when an audit is valid."""
    await store.run("set_audited", event.node, event.valid_until_ms)
    await store.run("review_soon", event.node)


async def restore_standing(store: Store, event: NodeStateChanged) -> None:
    """Takes from an event since when its node stands as it does, before the event's level is written."""
    row = await store.row("find_node", event.node)
    if row is None or event.level < PROVEN:
        return  # a level below T1 ends the standing with the state itself
    since_ms = event.ts_ms if event.level < row["level"] or row["standing_ms"] is None else row["standing_ms"]
    await store.run("note_review", event.node, since_ms, 0)
