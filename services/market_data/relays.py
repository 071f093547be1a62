"""What listings and delivery publish, cut down to what everyone may see, in their own sequences."""

from collections import OrderedDict
from typing import Any

from schemas.delivery import DeliveryEvent
from schemas.listings import ListingChanged

RECENT_ITEMS = 200

# Who stands behind a delivery or a lease is the parties' own matter: only these members are for everyone.
DELIVERY_MEMBERS = frozenset(
    {
        "type",
        "seq",
        "ts_ms",
        "node",
        "contract",
        "cause",
        "reason",
        "state",
        "level",
        "grade",
        "hub",
        "ok",
        "contracted_gpu_s",
        "delivered_gpu_s",
        "excused_gpu_s",
    }
)
DELIVERY_TYPES = frozenset(
    {
        "node_enrolled",
        "challenge_passed",
        "challenge_failed",
        "node_state_changed",
        "lease_started",
        "lease_ended",
        "position_metered",
    }
)


class Relay:
    """The last items of a channel by key, newest last; an item older than the one under its key is not taken."""

    items_max = RECENT_ITEMS

    def __init__(self) -> None:
        self.seq = 0
        self._items: OrderedDict[str, tuple[int, dict[str, Any]]] = OrderedDict()

    def take(self, key: str, seq: int, item: dict[str, Any]) -> bool:
        """Note an item; return False for one that is already known or overtaken."""
        if key in self._items and self._items[key][0] >= seq:
            return False
        self._items[key] = (seq, item)
        self._items.move_to_end(key)
        if len(self._items) > self.items_max:
            self._items.popitem(last=False)
        self.seq = max(self.seq, seq)
        return True

    def items(self) -> list[dict[str, Any]]:
        """Return what everyone may see now."""
        return [item for _, item in self._items.values()]


class Relays(dict[str, Relay]):
    """The two channels."""

    def __init__(self) -> None:
        super().__init__(listings=Relay(), delivery=Relay())


def listing_item(event: ListingChanged) -> dict[str, Any]:
    """Return a listing as everyone may see it: the event names no account, so it goes out whole."""
    return event.model_dump(mode="json") | {"simulated": event.simulated}


def delivery_item(event: DeliveryEvent) -> dict[str, Any] | None:
    """Return what everyone may see of a delivery event, or None; where its node is simulated the item says so."""
    if event.type not in DELIVERY_TYPES:
        return None
    shown = {name: value for name, value in event.model_dump(mode="json").items() if name in DELIVERY_MEMBERS}
    return shown | {"simulated": event.simulated}
