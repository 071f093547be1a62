"""The audit of a running exchange: the log replayed, and ledger, engine and views compared with it."""

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from pydantic import TypeAdapter, ValidationError

from clients.actors import Actor
from clients.http import ApiError, load_credentials, pages, result_of
from console.demo.checks import Check, replay, run_checks
from console.demo.story import DemoFailed
from schemas.delivery import DELIVERY_EVENT, NodeStateChanged
from schemas.events import EVENT, Trade
from schemas.listings import ListingChanged
from schemas.topics import DELIVERY_EVENTS, EVENTS, LISTINGS_EVENTS, Topic
from services.kit.kafka import operator_options
from services.kit.ranges import read_range

LISTING = TypeAdapter(ListingChanged)
CAUGHT_UP_WITHIN_S = 60
PAGE = 500
PAGE_OF_LISTINGS = 50


class AuditFailed(RuntimeError):
    """The exchange could not be asked; nothing is known."""


def run_audit(addresses: dict[str, str], data: Path) -> list[Check]:
    """Returns every check with its figures. Raises AuditFailed."""
    admin = Actor("venue-admin", load_credentials(data / "keys", "admin"), data / "keys", addresses)
    try:
        replayed = replay({**os.environ, "HOURBOOK_DATA": str(data)})
        trial = trial_balance_at(admin, replayed["seq"])
        checks = run_checks(admin, replayed, trial)
        checks.append(_ledger_adds_up(admin, replayed["seq"]))
        checks += asyncio.run(_compare_views(addresses, data / "keys", admin))
    except (DemoFailed, KafkaError, OSError, ApiError, httpx.TransportError) as error:
        raise AuditFailed(f"the exchange cannot be asked: {error}") from error
    return checks


def trial_balance_at(admin: Actor, seq: int) -> dict[str, Any]:
    """Returns the ledger's trial balance once it has reached a sequence, or as it is after a while of waiting."""
    deadline = time.monotonic() + CAUGHT_UP_WITHIN_S
    while True:
        trial = result_of(admin.ledger.get("/v1/ledger/trial-balance"))
        if trial["seq"] >= seq or time.monotonic() > deadline:
            return trial
        time.sleep(0.2)


def _ledger_adds_up(admin: Actor, seq: int) -> Check:
    found = result_of(admin.ledger.get("/v1/ledger/audit"))
    held = not found["differing_accounts"] and not found["mismatch"] and found["seq"] >= seq
    return Check("transfers add up to balances", held, f"{found}")


async def _compare_views(addresses: dict[str, str], keys_dir: Path, admin: Actor) -> list[Check]:
    """Compares what the views show with what stood in their topics before; newer rows are the exchange's own work."""
    kafka = operator_options(addresses["kafka"], keys_dir)
    events = [EVENT.validate_json(value) for value in await _values(kafka, EVENTS, b'{"type":"trade"')]
    trades = {event.trade_id for event in events if isinstance(event, Trade)}
    states, foreign = _read(DELIVERY_EVENT, await _values(kafka, DELIVERY_EVENTS))
    nodes = {event.node for event in states if isinstance(event, NodeStateChanged)}
    offered, more_foreign = _read(LISTING, await _values(kafka, LISTINGS_EVENTS))
    listings = {event.listing_id for event in offered}
    shown_trades = [int(row["trade_id"]) for row in pages(admin.market_data, "/v1/trades", limit=PAGE)]
    shown_nodes = {row["node"] for row in pages(admin.delivery, "/v1/nodes")}
    board = set(_listings(admin))
    twice = len(shown_trades) - len(set(shown_trades))
    return [
        _same("trades of market data", trades, set(shown_trades), twice),
        _same("nodes of delivery", nodes, shown_nodes, foreign=foreign),
        _same("listings", listings, board, foreign=more_foreign),
    ]


def _read(model: TypeAdapter, values: list[bytes]) -> tuple[list[Any], int]:
    """Returns the records of a topic, and how many others are among them."""
    found = []
    for value in values:
        with suppress(ValidationError):
            found.append(model.validate_json(value))
    return found, len(values) - len(found)


def _listings(admin: Actor) -> Iterator[str]:
    cursor = None
    while True:
        params = {"limit": PAGE_OF_LISTINGS} | ({"cursor": cursor} if cursor else {})
        page = result_of(admin.listings.get("/v1/listings", params=params))
        yield from (row["listing_id"] for row in page["listings"])
        if (cursor := page["cursor"]) is None:
            return


def _same(name: str, logged: set, shown: set, twice: int = 0, foreign: int = 0) -> Check:
    missing = sorted(logged - shown)
    figures = f"{len(logged)} in the topic, {len(shown)} shown"
    figures += f", missing {missing[:3]}" if missing else ""
    figures += f", {twice} shown twice" if twice else ""
    figures += f", {foreign} foreign records skipped" if foreign else ""
    return Check(f"{name} = topic", not missing and not twice, figures)


async def _values(kafka: dict[str, Any], topic: Topic, start: bytes = b"") -> list[bytes]:
    """Returns the records of a topic that start so, up to the end that it has now."""
    consumer = AIOKafkaConsumer(**kafka, enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
        consumer.assign(partitions)
        begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        values: list[bytes] = []
        for each in partitions:
            # By offsets: `seek_to_beginning` would lose to the reset to the end that `assign` has begun.
            async for records, _ in read_range(consumer, each, begins[each], ends[each]):
                values += [record.value for record in records if record.value.startswith(start)]
        return values
    finally:
        await consumer.stop()
