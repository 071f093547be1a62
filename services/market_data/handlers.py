"""Messages in → apply → publish → store: the event log in whole commands, and what listings and delivery publish."""

import time
from collections.abc import Sequence

from faststream.kafka import KafkaBroker
from pydantic import TypeAdapter

from schemas.delivery import DELIVERY_EVENT, DeliveryEvent
from schemas.events import AnyEvent
from schemas.listings import ListingChanged
from schemas.topics import DELIVERY_EVENTS, LISTINGS_EVENTS, Topic
from services.kit.doubts import note_doubt
from services.kit.events import EventBatch
from services.kit.store import Pool, Position
from services.kit.topics import subscribe_batches
from services.market_data import store
from services.market_data.domain import Changes, Market
from services.market_data.feed import Feed, Stream
from services.market_data.publishing import Publishing
from services.market_data.recorder import Recorder
from services.market_data.relays import Relays, delivery_item, listing_item
from services.market_data.settings import Settings
from services.market_data.view_snapshots import ViewSnapshots

LISTING: TypeAdapter[ListingChanged] = TypeAdapter(ListingChanged)


class EventHandler:
    """Applies the log, from a snapshot or its start, publishes, and hands what lies after the cursor to the recorder.

    The events of a command may come in two batches: it counts, whole, at the sequence of its last event.
    """

    def __init__(self, settings: Settings, market: Market, feed: Feed, position: Position, recorder: Recorder) -> None:
        self._market, self._feed, self._recorder = market, feed, recorder
        self._publishing = Publishing(market, feed)
        self._snapshots = ViewSnapshots(
            settings.view_snapshots_dir, settings.market_data_fold_every_events, settings.market_data_fold_every_s
        )
        self._cursor_seq = position.seq
        self._pending: list[AnyEvent] = []
        self._publishing_since_ms = time.time_ns() // 1_000_000 - settings.market_data_ring_span_ms

    def restore(self) -> Position:
        """Go on from a snapshot where one fits; return where the event log is to be read from."""
        snapshot = self._snapshots.newest(self._cursor_seq, self._publishing_since_ms)
        if snapshot is None:
            return Position(0, 0, None)
        self._market.restore(snapshot.state)
        self._feed.ring.start(snapshot.seq)
        return Position(snapshot.seq, snapshot.next_offset, None)

    async def handle(self, batch: EventBatch) -> None:
        """Handle a batch."""
        for event in batch.events:
            self._pending.append(event)
            if event.index + 1 == event.count:
                self._handle_command(self._pending)
                self._pending = []
        await self._recorder.note(batch.position)
        if not self._pending:
            self._snapshots.offer(self._market, batch.next_offset)

    def _handle_command(self, events: Sequence[AnyEvent]) -> None:
        changes = self._market.apply(events)
        for doubt in changes.doubts:
            note_doubt(doubt.seq, doubt.kind, doubt.detail, contract=doubt.contract)
        if changes.ts_ms >= self._publishing_since_ms:
            self._publish(changes)
        else:
            self._feed.ring.start(changes.seq)
        self._recorder.add(changes)

    def _publish(self, changes: Changes) -> None:
        """Send what changed. Who misses a message sees that by its sequences, and gets a snapshot."""
        try:
            self._publishing.publish(changes)
        except Exception as error:
            note_doubt(changes.seq, "publishing", f"{type(error).__name__}: {error}")


class RelayHandler:
    """Cuts what another service published down to what everyone may see, keeps it, and sends it on."""

    def __init__(self, pool: Pool, relays: Relays, market: Market, feed: Feed) -> None:
        self._pool, self._relays, self._feed = pool, relays, feed
        self._publishing = Publishing(market, feed)

    async def on_listings(self, events: list[ListingChanged], ends: dict[int, int]) -> None:
        """The hardware board: the last state of each listing."""
        await self._handle("listings", [(e.listing_id, e.seq, listing_item(e)) for e in events], LISTINGS_EVENTS, ends)

    async def on_deliveries(self, events: list[DeliveryEvent], ends: dict[int, int]) -> None:
        """Challenges, leases and meters: each fact once."""
        items = [(str(e.seq), e.seq, delivery_item(e)) for e in events]
        await self._handle("delivery", [item for item in items if item[2] is not None], DELIVERY_EVENTS, ends)

    async def restore(self) -> None:
        """Fill the channels with what the store has."""
        for channel, relay in self._relays.items():
            for key, seq, item in await store.recent_relayed(self._pool, channel, relay.items_max):
                relay.take(key, seq, item)
        self._feed.ring.start_stream(Stream("delivery", "*"), self._relays["delivery"].seq)

    async def _handle(
        self, channel: str, items: list[tuple[str, int, dict]], topic: Topic, ends: dict[int, int]
    ) -> None:
        await store.put_relayed(self._pool, channel, items, topic.name, ends)
        for key, seq, item in items:
            if self._relays[channel].take(key, seq, item):
                self._publishing.publish_item(channel, seq, item["ts_ms"], item)


def subscribe(broker: KafkaBroker, group: str, handler: RelayHandler) -> None:
    """Subscribe the handlers to their topics."""
    subscribe_batches(broker, LISTINGS_EVENTS, group, LISTING, handler.on_listings, with_ends=True)
    subscribe_batches(broker, DELIVERY_EVENTS, group, DELIVERY_EVENT, handler.on_deliveries, with_ends=True)
