"""The registry of Kafka topics: name, key, model, partitions, retention. Nothing else names a topic."""

from dataclasses import dataclass

SHARD = 0


@dataclass(frozen=True)
class Topic:
    """One topic. `retention_ms` −1 keeps records for ever; `dead` is the topic for records that could not be taken,
    with the reason.
    """

    name: str
    key: str
    model: str
    partitions: int
    retention_ms: int = -1
    config: tuple[tuple[str, str], ...] = ()
    dead: str | None = None


DAY_MS = 86_400_000

COMMANDS = Topic(
    f"commands.{SHARD}",
    key="none",
    model="schemas.commands:Command",
    partitions=1,
    config=(("flush.messages", "1"), ("message.timestamp.type", "LogAppendTime")),
)
EVENTS = Topic(f"events.{SHARD}", key="none", model="schemas.events:AnyEvent", partitions=1)
METER_REPORTS = Topic(
    "meter.reports", key="node", model="schemas.nodes:MeterRecord", partitions=4, dead="meter.reports.dead"
)
LISTINGS_EVENTS = Topic(
    "listings.events",
    key="listing_id",
    model="schemas.listings:ListingChanged",
    partitions=4,
    dead="listings.events.dead",
)
LISTINGS_RECORDS = Topic(
    "listings.records", key="listing_id", model="schemas.listings:ListingRecorded", partitions=1
)  # private: it names sellers and buyers
DELIVERY_EVENTS = Topic("delivery.events", key="node", model="schemas.delivery:DeliveryEvent", partitions=1)
KEYS_EVENTS = Topic("keys.events", key="key_id", model="schemas.accounts:KeyEvent", partitions=1)
METER_REPORTS_DEAD = Topic("meter.reports.dead", key="node", model="bytes", partitions=1, retention_ms=30 * DAY_MS)
LISTINGS_EVENTS_DEAD = Topic(
    "listings.events.dead", key="listing_id", model="bytes", partitions=1, retention_ms=30 * DAY_MS
)

TOPICS: tuple[Topic, ...] = (
    COMMANDS,
    EVENTS,
    METER_REPORTS,
    METER_REPORTS_DEAD,
    LISTINGS_EVENTS,
    LISTINGS_EVENTS_DEAD,
    LISTINGS_RECORDS,
    DELIVERY_EVENTS,
    KEYS_EVENTS,
)
