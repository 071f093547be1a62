"""A venue whose events a history follows, as the gateway does, without Kafka or PostgreSQL."""

from typing import Any

from matching_engine.rules import Engine
from schemas.base import Model
from schemas.events import EVENT
from schemas.orders import (
    CancelOrder,
    MassCancel,
    PlaceBlock,
    PlaceOrder,
    PostCapacity,
    ReplaceOrder,
    RepriceCapacity,
    Resell,
    SetProtection,
    WithdrawCapacity,
)
from services.gateway.commands.pending import Decision, PendingCommands
from services.gateway.projections.apply import apply
from services.gateway.projections.history import History
from tests.scenarios.venue import PRODUCT, Venue, contract_of, hour_start_s


class FollowedVenue(Venue):
    """Every record that is sent is folded into `history`; `decision` is what its command came to."""

    def __init__(self):
        self.history, self.pending, self.touched = History(), PendingCommands(), []
        self._ids = 0
        super().__init__(Engine())

    def send(self, command: Model | bytes) -> list[dict]:
        made = super().send(command)
        self.touched = []
        for event in self.events[len(self.events) - len(made) :]:
            parsed = EVENT.validate_json(event)
            self.touched.append((parsed, apply(self.history, parsed)))
        return made

    def decide(self, command: Model) -> Decision:
        """Sends a command and returns its decision, as the request that waits for it gets it. Needs a running loop."""
        future = self.pending.expect(command.command_id)
        self.send(command)
        for event, records in self.touched:
            self.pending.add(event, records)
        return future.result()

    def next_id(self) -> str:
        self._ids += 1
        return f"c{self._ids}"

    def limit(self, account: str, side: str, qty: int, price_micros: int, hour: int = 3, **changes: Any) -> PlaceOrder:
        """A limit order; a sell is backed by the node named like its account."""
        command_id = self.next_id()
        terms = {
            "command_id": command_id,
            "account": account,
            "client_order_id": f"o-{command_id}",
            "contract": contract_of(hour),
            "side": side,
            "kind": "limit",
            "qty": qty,
            "price_micros": price_micros,
            "max_cost_micros": None,
            "tif": "GTG",
            "post_only": False,
            "node": f"node-{account}" if side == "sell" else None,
            "stp": "cancel_newest",
        }
        return PlaceOrder(**terms | changes)

    def block(self, account: str, qty: int, price_micros: int, hour: int = 3, periods: int = 2, **changes: Any):
        """A block bid."""
        command_id = self.next_id()
        terms = {
            "command_id": command_id,
            "account": account,
            "client_order_id": f"o-{command_id}",
            "product": PRODUCT,
            "start_s": hour_start_s(hour),
            "periods": periods,
            "qty": qty,
            "min_qty": 1,
            "limit_price_micros": price_micros,
            "max_cost_micros": None,
            "tif": "GTG",
            "stp": "cancel_newest",
        }
        return PlaceBlock(**terms | changes)

    def flex(self, account: str, qty: int, price_micros: int, hour: int = 3, periods: int = 2, wait: int = 1):
        """A flex bid that may start some hours later."""
        return self.block(account, qty, price_micros, hour, periods, latest_s=hour_start_s(hour + wait))

    def resale(self, account: str, qty: int, price_micros: int, hour: int = 3, periods: int = 2) -> Resell:
        """The account's own positions again."""
        command_id = self.next_id()
        return Resell(
            command_id=command_id,
            account=account,
            client_order_id=f"o-{command_id}",
            product=PRODUCT,
            position_id=None,
            block_id=None,
            from_s=hour_start_s(hour),
            to_s=hour_start_s(hour + periods),
            qty=qty,
            price_micros=price_micros,
        )

    def capacity(self, account: str, gpus: int, price_micros: int, hour: int = 3, periods: int = 2, **changes: Any):
        """A capacity order of the account's node."""
        command_id = self.next_id()
        terms = {
            "command_id": command_id,
            "account": account,
            "client_order_id": f"o-{command_id}",
            "product": PRODUCT,
            "node": f"node-{account}",
            "gpus": gpus,
            "from_s": hour_start_s(hour),
            "to_s": hour_start_s(hour + periods),
            "floor_price_micros": price_micros,
            "floor_curve_micros": None,
        }
        return PostCapacity(**terms | changes)

    def reprice(self, account: str, order_id: int, price_micros: int) -> RepriceCapacity:
        """Another price for a capacity order."""
        named = {"account": account, "order_id": order_id, "client_order_id": None}
        prices = {"floor_price_micros": price_micros, "floor_curve_micros": None}
        return RepriceCapacity(command_id=self.next_id(), **named, **prices)

    def withdraw(self, account: str, order_id: int, hour: int) -> WithdrawCapacity:
        """One hour of an order of many."""
        named = {"account": account, "order_id": order_id, "client_order_id": None}
        window = {"from_s": hour_start_s(hour), "to_s": hour_start_s(hour + 1)}
        return WithdrawCapacity(command_id=self.next_id(), **named, **window)

    def cancel(self, account: str, order_id: int) -> CancelOrder:
        """A cancel by our id."""
        return CancelOrder(command_id=self.next_id(), account=account, order_id=order_id, client_order_id=None)

    def replace(
        self, account: str, order_id: int, qty: int | None = None, price_micros: int | None = None, **changes: Any
    ) -> ReplaceOrder:
        """Other terms for an order, named by our id."""
        named = {"order_id": order_id, "client_order_id": None, "replace_id": None}
        terms = {"qty": qty, "price_micros": price_micros, "expires_ms": None}
        return ReplaceOrder(command_id=self.next_id(), account=account, **named | terms | changes)

    def protection(self, account: str, qty: int | None, window_ms: int | None) -> SetProtection:
        """A maker's protection in the product."""
        named = {"command_id": self.next_id(), "account": account, "product": PRODUCT}
        return SetProtection(**named, qty=qty, window_ms=window_ms)

    def cancel_all(self, account: str) -> MassCancel:
        """A mass cancel without filters."""
        return MassCancel(command_id=self.next_id(), account=account, product=None, contract=None, side=None)


def open_venue() -> FollowedVenue:
    """One product, one operator with eight GPUs, two buyers with money."""
    venue = FollowedVenue()
    venue.define()
    for account in ("op", "alice", "bob"):
        venue.credit(account, 1_000_000_000)
    venue.node("node-op", "op", 8)
    return venue
