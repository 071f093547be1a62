"""The registry of Kafka topics: name, key, model, who writes and reads, partitions, retention. Nothing else names a
topic, and the broker lets nobody else write or read.
"""

from dataclasses import dataclass

SHARD = 0


@dataclass(frozen=True)
class Topic:
    """One topic. `retention_ms` −1 keeps records for ever; `dead` is the topic for records that could not be taken,
    with the reason. `writers` and `readers` are services, and `admin`; anybody may read a topic whose records name no
    account (`public`).
    """

    name: str
    key: str
    model: str
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    partitions: int
    retention_ms: int = -1
    config: tuple[tuple[str, str], ...] = ()
    dead: str | None = None
    public: bool = False


DAY_MS = 86_400_000

COMMANDS = Topic(
    f"commands.{SHARD}",
    key="none",
    model="schemas.commands:Command",
    writers=("gateway", "matching", "ledger", "delivery", "listings", "market_data", "admin"),
    readers=("gateway", "matching", "ledger", "delivery", "listings", "market_data", "admin"),
    partitions=1,
    config=(("flush.messages", "1"), ("message.timestamp.type", "LogAppendTime")),
)
EVENTS = Topic(
    f"events.{SHARD}",
    key="none",
    model="schemas.events:AnyEvent",
    writers=("matching",),
    readers=("matching", "gateway", "ledger", "market_data", "delivery", "listings", "admin"),
    partitions=1,
)
METER_REPORTS = Topic(
    "meter.reports",
    key="node",
    model="schemas.nodes:MeterRecord",
    writers=("delivery",),
    readers=("delivery",),
    partitions=4,
    dead="meter.reports.dead",
)
LISTINGS_EVENTS = Topic(
    "listings.events",
    key="listing_id",
    model="schemas.listings:ListingChanged",
    writers=("listings",),
    readers=("listings", "market_data", "admin"),
    partitions=4,
    dead="listings.events.dead",
    public=True,
)
LISTINGS_RECORDS = Topic(
    "listings.records",
    key="listing_id",
    model="schemas.listings:ListingsRecord",
    writers=("listings",),
    readers=("listings",),
    partitions=1,
)  # private: it names sellers and buyers
DELIVERY_EVENTS = Topic(
    "delivery.events",
    key="node",
    model="schemas.delivery:DeliveryEvent",
    writers=("delivery",),
    readers=("delivery", "gateway", "market_data", "listings", "admin"),
    partitions=1,
)
KEYS_EVENTS = Topic(
    "keys.events",
    key="key_id",
    model="schemas.accounts:KeyEvent",
    writers=("gateway",),
    readers=("gateway", "matching", "ledger", "delivery", "listings"),
    partitions=1,
)
GATEWAY_ANSWERS = Topic(
    "gateway.answers",
    key="account",
    model="schemas.answers:FirstAnswer",
    writers=("gateway",),
    readers=("gateway",),
    partitions=1,
    retention_ms=30 * DAY_MS,
)
METER_REPORTS_DEAD = Topic(
    "meter.reports.dead",
    key="node",
    model="bytes",
    writers=("delivery",),
    readers=("delivery",),
    partitions=1,
    retention_ms=30 * DAY_MS,
)
LISTINGS_EVENTS_DEAD = Topic(
    "listings.events.dead",
    key="listing_id",
    model="bytes",
    writers=("market_data",),
    readers=("market_data",),
    partitions=1,
    retention_ms=30 * DAY_MS,
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
    GATEWAY_ANSWERS,
)
