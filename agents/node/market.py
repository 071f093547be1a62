"""The operator's account at the gateway: what stands and what is sold, read once for all nodes of the account."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from agents.node.client import GatewayClient
from agents.node.errors import BadAnswer, VenueRefused, VenueUnreachable
from agents.node.offering import Sold
from agents.node.posting import Ask, Offer, Reprice, Terms, curve_of, price_text
from schemas.ids import contract_start_s, product_of
from schemas.money import parse_micros

PAGE = "500"
PLAUSIBLE_MAX = 2**40
UNDELIVERED = ("OPEN", "LOCKED", "DELIVERING")


class OperatorAccount:
    """Reads are shared: nodes that ask within `fresh_for_s` get the same answer, with what they did since worked in.

    With `only_node` it reads that node's alone, whatever else the account has, and nothing where nothing has changed.
    """

    def __init__(self, gateway: GatewayClient, fresh_for_s: float) -> None:
        self.gateway, self._fresh_for_s = gateway, fresh_for_s
        self.only_node: str | None = None
        self._seen_seq: int | None = None
        self._lock = asyncio.Lock()
        self._read_at = float("-inf")
        self._asks: dict[str, list[Ask]] = {}
        self._sold: dict[str, Sold] = {}
        self._parts: dict[int, tuple[str, list[Ask]]] = {}
        self._terms: dict[str, Terms] = {}

    async def terms(self, product: str) -> Terms | None:
        """Returns a product's terms, None where the venue lists no such product."""
        if product not in self._terms:
            listed = await self.gateway.read_market("/v1/products")
            with readable("/v1/products"):
                rows = {row["product"]: row for row in listed["items"]}
                # Rows of other products may be what they will; what cannot be read is asked for again.
                if product in rows:
                    self._terms[product] = _terms(rows[product])
        return self._terms.get(product)

    async def book_of(self, node_id: str) -> tuple[tuple[Ask, ...], Sold]:
        """Returns a node's standing asks, and how many of its GPUs are sold by period start, before the gate."""
        async with self._lock:
            if time.monotonic() - self._read_at >= self._fresh_for_s:
                await self._read()
                self._read_at = time.monotonic()
        return tuple(self._asks.get(node_id, ())), self._sold.get(node_id, Sold())

    def known_book_of(self, node_id: str) -> tuple[tuple[Ask, ...], Sold]:
        """Returns what `book_of` last found, without asking anybody."""
        return tuple(self._asks.get(node_id, ())), self._sold.get(node_id, Sold())

    async def undelivered(self, node_id: str) -> list[str]:
        """Returns the contracts of a node's positions whose period has not ended, as far as the gateway knows."""
        contracts = []
        for state in UNDELIVERED:
            query = {"role": "operator", "node": node_id, "state": state, "limit": PAGE}
            positions, _ = await self.gateway.pages("/v1/positions", **query)
            with readable("/v1/positions"):
                contracts += [str(position["contract"]) for position in positions]
        return contracts

    async def post(
        self, node_id: str, terms: Terms, offer: Offer, name: str, ttl_s: int | None = None, split: bool = False
    ) -> None:
        """Posts a capacity order under a client id; its asks end after `ttl_s`, where that is given."""
        document = {
            "kind": "capacity",
            "product": terms.product,
            "node": node_id,
            "gpus": offer.gpus,
            "from": _rfc3339(offer.from_s),
            "to": _rfc3339(offer.to_s),
            "client_order_id": name,
        } | _floor(offer.prices)
        document |= {} if ttl_s is None else {"ttl_s": ttl_s}
        document |= {"split": True} if split else {}
        try:
            reply = await self.gateway.call("POST", "/v1/orders", document)
        except (VenueUnreachable, asyncio.CancelledError):
            self._read_at = float("-inf")  # it may stand all the same
            raise
        order = reply.get("order")
        with readable("/v1/orders"):
            if order is None or order["filled_qty"] or split:
                self._read_at = float("-inf")  # unknown, sold in part at once, or in two books: only the venue knows
                return
            self._asks.setdefault(node_id, []).extend(
                Ask(order["order_id"], start_s, offer.gpus, micros, terms.product)
                for start_s, micros in sorted(offer.prices.items())
            )

    async def reprice(self, reprice: Reprice) -> None:
        """Gives a capacity order's asks other prices; the books are read again, since some may trade at once."""
        document = {"order_id": reprice.order_id} | _floor(reprice.prices)
        self._read_at = float("-inf")
        await self.gateway.call("POST", "/v1/capacity/reprice", document)

    async def withdraw(self, node_id: str, order_id: int) -> None:
        """Cancels a capacity order; one that is gone already is as good."""
        try:
            await self.gateway.call("DELETE", f"/v1/orders/{order_id}")
        except VenueRefused as refusal:
            if refusal.code not in {"unknown_order", "order_closed"}:
                raise
        self._asks[node_id] = [ask for ask in self._asks.get(node_id, ()) if ask.order_id != order_id]

    async def _read(self) -> None:
        # Positions first: a fill between the two reads then looks like a gap, which the venue refuses to fill twice.
        narrow = {"node": self.only_node} if self.only_node else {}
        since = {"changed_after": str(self._seen_seq)} if narrow and self._seen_seq is not None else {}
        query = {"role": "operator", "state": "OPEN", "limit": PAGE} | narrow
        positions, seq = await self.gateway.pages("/v1/positions", **query, **since)
        if since and seq == self._seen_seq:
            return
        self._seen_seq = None
        orders, _ = await self.gateway.pages("/v1/orders", status="open", side="sell", limit=PAGE, **narrow)
        asks: dict[str, list[Ask]] = {}
        sold: dict[str, dict[str, dict[int, int]]] = {}
        with readable("/v1/orders and /v1/positions"):
            capacity = [order for order in orders if order["kind"] == "capacity"]
            for order in capacity:
                asks.setdefault(order["node"], []).extend(await self._asks_of(order))
            for position in positions:
                contract = position["contract"]
                tier, start_s = product_of(contract).rpartition(".")[2], contract_start_s(contract)
                of_tier = sold.setdefault(position["node"], {}).setdefault(tier, {})
                of_tier[start_s] = of_tier.get(start_s, 0) + position["qty"]
        self._asks, self._seen_seq = asks, seq
        self._sold = {node: Sold.of_tiers(tiers) for node, tiers in sold.items()}
        self._parts = {order["order_id"]: self._parts[order["order_id"]] for order in capacity}

    async def _asks_of(self, order: dict) -> list[Ask]:
        """Reads the asks of a capacity order, unless it has not changed since the last time."""
        order_id, version = order["order_id"], order["updated_ns"]
        if self._parts.get(order_id, (None,))[0] != version:
            query = {"status": "open", "parent_id": str(order_id), "limit": PAGE}
            asks, _ = await self.gateway.pages("/v1/orders", **query)
            product = str(order.get("product") or "")
            self._parts[order_id] = (version, [_ask(order_id, ask, product) for ask in asks])
        return self._parts[order_id][1]


@contextmanager
def readable(path: str) -> Iterator[None]:
    """Turns what goes wrong while an answer is read into a BadAnswer that names the path."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise BadAnswer(f"GET {path}: gave an unreadable answer: {error!r}") from error


def _terms(row: dict) -> Terms:
    terms = Terms(
        product=row["product"],
        period_s=row["period_s"],
        horizon_periods=row["horizon_periods"],
        gate_lead_s=row["gate_lead_s"],
        tick_micros=parse_micros(row["tick"]),
    )
    least = {"period_s": 1, "horizon_periods": 1, "gate_lead_s": 0, "tick_micros": 1}
    wrong = {
        name: value for name, value in vars(terms).items() if name in least and not _is_at_least(value, least[name])
    }
    if wrong:
        raise ValueError(", ".join(f"{name} = {value!r}" for name, value in wrong.items()))
    return terms


def _is_at_least(value: object, least: int) -> bool:
    return isinstance(value, int) and least <= value <= PLAUSIBLE_MAX


def _ask(order_id: int, ask: dict, product: str) -> Ask:
    start_s, price_micros = contract_start_s(ask["contract"]), parse_micros(ask["price"])
    is_twin = bool(product) and product_of(ask["contract"]) != product
    return Ask(order_id, start_s, ask["remaining_qty"], price_micros, product, is_twin)


def _floor(prices: Mapping[int, int]) -> dict:
    """Writes prices as the venue takes them: one, or 24 by UTC hour; hours without a period get the highest."""
    curve = curve_of(prices)
    highest = max(curve.values())
    if set(curve.values()) == {highest}:
        return {"floor_price": price_text(highest)}
    return {"floor_curve": [price_text(curve.get(hour, highest)) for hour in range(24)]}


def _rfc3339(moment_s: int) -> str:
    return datetime.fromtimestamp(moment_s, UTC).isoformat().replace("+00:00", "Z")
