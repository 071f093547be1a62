"""The traders' way to the exchange: reads what they decide from, and carries out what they wish, over signed REST."""

import time
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import httpx

from clients.actors import Actor
from clients.http import ApiError, open_async_client, result_of
from console.demo.story import DemoFailed
from console.play.value import Value
from console.play.view import Holding, Order, Point, Terms, View
from console.play.wishes import Cancel, Resell, Wish
from schemas.ids import contract_start_s
from schemas.money import parse_micros

FRESH_S = 3.0
ROWS_MAX = 200
MEMBERS_MAX = 100


class Market:
    """The public side, read once for all traders: terms and curves of the products that are played."""

    def __init__(self, url: str, seed: int) -> None:
        self._http, self._seed = open_async_client(url), seed
        self.terms: dict[str, Terms] = {}
        self.values: dict[str, Value] = {}
        self._curves: dict[str, tuple[float, tuple[Point, ...]]] = {}

    async def learn(self, bases: dict[str, int]) -> None:
        """Reads the terms of the products, given what a GPU-hour of each is worth at the start in micro-units."""
        rows = result_of(await self._http.get("/v1/products"))["items"]
        known = {row["product"]: _terms(row) for row in rows}
        self.terms = {product: known[product] for product in bases}
        self.values = {
            product: Value(self._seed, product, bases[product], terms.period_s) for product, terms in self.terms.items()
        }

    async def curve(self, product: str) -> tuple[Point, ...]:
        """Returns a product's curve, a few seconds old at most."""
        read_at, points = self._curves.get(product, (float("-inf"), ()))
        if time.monotonic() - read_at >= FRESH_S:
            rows = result_of(await self._http.get(f"/v1/curve/{product}"))["points"]
            points = tuple(_point(product, row, self.terms[product]) for row in rows if row["state"] == "OPEN")
            self._curves[product] = (time.monotonic(), points)
        return points

    async def read(self, path: str, **params: Any) -> Any:
        """Reads anything else that is public."""
        return result_of(await self._http.get(path, params=params))

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()


class Desk:
    """One trader's side: its own orders and positions, and its wishes."""

    def __init__(self, actor: Actor, market: Market, tally: Counter[str]) -> None:
        self._market, self._tally = market, tally
        self._http = open_async_client(actor.addresses["gateway"], actor.credentials)

    async def view(self, products: Iterable[str], orders: bool, holdings: bool) -> View:
        """Reads what a decision about these products is made from; own orders and positions where it needs them."""
        wanted = tuple(products)
        curves = {product: await self._market.curve(product) for product in wanted}
        standing = [order for product in wanted for order in await self._orders(product)] if orders else ()
        return View(
            now_s=int(time.time()),
            terms=self._market.terms,
            values=self._market.values,
            curves=curves,
            orders=tuple(standing),
            holdings=await self._holdings() if holdings else (),
        )

    async def carry_out(self, wishes: list[Wish]) -> None:
        """Carries the wishes out in their order. A refusal is counted by its code: the market may have moved."""
        gathered = [_member(wish) for wish in wishes if not isinstance(wish, Resell)][:MEMBERS_MAX]
        if gathered:
            reply = result_of(await self._http.post("/v1/orders/batch", json={"members": gathered}))
            for result in reply.get("results", ()):
                self._count(result)
        for wish in wishes:
            if isinstance(wish, Resell):
                try:
                    self._count(result_of(await self._http.post("/v1/orders", json=wish.form())))
                except ApiError as refusal:
                    self._tally[f"refused {refusal.code}"] += 1

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    def _count(self, result: dict[str, Any]) -> None:
        if problem := result.get("problem"):
            self._tally[f"refused {problem['code']}"] += 1
        self._tally["orders"] += result.get("order") is not None and result.get("op") != "cancel"
        self._tally["fills"] += len(result.get("fills", ()))

    async def _orders(self, product: str) -> list[Order]:
        params = {"status": "open", "product": product, "limit": ROWS_MAX}
        rows = result_of(await self._http.get("/v1/orders", params=params))["items"]
        return [
            Order(row["order_id"], row["contract"], row["side"], parse_micros(row["price"]), row["remaining_qty"])
            for row in rows
            if row["contract"] and row["price"]
        ]

    async def _holdings(self) -> tuple[Holding, ...]:
        params = {"role": "buyer", "state": "OPEN", "limit": ROWS_MAX}
        rows = result_of(await self._http.get("/v1/positions", params=params))["items"]
        return tuple(
            Holding(row["position_id"], row["contract"], row["qty"], parse_micros(row["price"])) for row in rows
        )


def _member(wish: Wish) -> dict[str, Any]:
    if isinstance(wish, Cancel):
        return {"op": "cancel", "order_id": wish.order_id}
    return {"op": "place", "order": wish.form()}


def _terms(row: dict[str, Any]) -> Terms:
    return Terms(
        product=row["product"],
        currency=row["currency"],
        lot=row["lot"],
        tick_micros=parse_micros(row["tick"]),
        period_s=row["period_s"],
        gate_lead_s=row["gate_lead_s"],
    )


def _point(product: str, row: dict[str, Any], terms: Terms) -> Point:
    start_s = contract_start_s(row["contract"])
    return Point(
        contract=row["contract"],
        product=product,
        start_s=start_s,
        gate_s=start_s - terms.gate_lead_s,
        bid_micros=parse_micros(row["bid"]) if "bid" in row else None,
        bid_qty=int(row.get("bid_qty", 0)),
        ask_micros=parse_micros(row["ask"]) if "ask" in row else None,
        ask_qty=int(row.get("ask_qty", 0)),
    )


def seconds_since(moment: str) -> float:
    """Returns how long ago a moment was that the exchange wrote."""
    return time.time() - datetime.fromisoformat(moment).timestamp()


# What a request may meet on a venue that is busy or starts again; the next step comes soon.
PASSING = (ApiError, httpx.TransportError, DemoFailed)
