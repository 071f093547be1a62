"""A reader of events that believes nothing: it keeps its own balances, orders and chain, and compares."""

import json
from collections import Counter, defaultdict
from hashlib import sha256
from typing import Any

from schemas.events import EVENT

OUTSIDE = ("credited", "debited", "allocated", "deallocated", "programme_funded")
HARDWARE = ("escrow_opened", "escrow_released", "escrow_refunded")


def amounts(parts: list[dict]) -> Counter[str]:
    """Voucher parts by programme."""
    return Counter({part["programme"]: part["amount_micros"] for part in parts})


class Auditor:
    """Folds the events of one record after the other and checks what must hold after each."""

    def __init__(self) -> None:
        self.balances: dict[tuple[str, str], list[int]] = {}
        self.outside: Counter[str] = Counter()
        self.currencies: dict[str, str] = {}
        self.programmes: dict[str, dict] = {}
        self.vouchers: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self.used: Counter[str] = Counter()
        self.left: dict[int, int] = {}
        self.escrows: dict[str, tuple[str, int]] = {}
        self.gpus: defaultdict[str, set[str]] = defaultdict(set)
        self.most_gpus: Counter[str] = Counter()
        self.for_sale: dict[str, str] = {}
        self.sold: set[str] = set()
        self.link = b"\0" * 32
        self.seq = 0
        self.states: dict[str, str] = {}

    def read(self, offset: int, events: list[bytes]) -> None:
        """Takes the events of one record."""
        for index, raw in enumerate(events):
            event = EVENT.validate_json(raw)
            assert event.canonical() == raw
            self.seq += 1
            header = (event.seq, event.in_offset, event.index, event.count, event.prev_link)
            assert header == (self.seq, offset, index, len(events), self.link.hex())
            self.fold(json.loads(raw))
        if events:
            self.link = sha256(self.link + b"".join(events)).digest()

    def fold(self, event: dict) -> None:
        self.fold_postings(event)
        self.fold_gpus(event)
        self.fold_vouchers(event)
        kind = event["type"]
        if kind == "product_defined":
            self.currencies[event["terms"]["product"]] = event["terms"]["currency"]
        elif kind == "product_state_changed":
            self.states[event["product"]] = event["state"]
        elif kind in ("order_accepted", "block_accepted"):
            self.left[event["order_id"]] = event["qty"]
        elif kind == "trade":
            self.left[event["maker_order_id"]] = event["maker_left"]
            self.left[event["taker_order_id"]] = event["taker_left"]
        elif kind in ("order_canceled", "order_expired"):
            assert self.left[event["order_id"]] == event["qty_left"] > 0
            self.left[event["order_id"]] = 0
        elif kind == "order_replaced":
            assert self.left[event["order_id"]] == event["old_qty_left"]
            self.left[event["order_id"]] = event["qty_left"]
        elif kind == "order_displayed":
            assert self.left[event["order_id"]] == event["qty_left"] >= event["qty_shown"] > 0
        elif kind == "order_reduced":
            assert self.left[event["order_id"]] == event["qty_off"] + event["qty_left"]
            self.left[event["order_id"]] = event["qty_left"]
        elif kind == "escrow_opened":
            self.escrows[event["escrow_id"]] = (event["buyer"], event["asset"], event["amount_micros"])
        elif kind in HARDWARE:
            del self.escrows[event["escrow_id"]]

    def fold_postings(self, event: dict) -> None:
        """Debits equal credits in every event, and every posting says what the account has afterwards."""
        postings = event.get("postings", [])
        total: Counter[str] = Counter()
        for account, asset, available, held, available_after, held_after in postings:
            balance = self.balances.setdefault((account, asset), [0, 0])
            balance[0] += available
            balance[1] += held
            assert balance == [available_after, held_after] and min(balance) >= 0
            assert available or held
            total[asset] += available + held
        keys = [(account, asset) for account, asset, *_ in postings]
        assert keys == sorted(set(keys))
        if event["type"] == "programme_funded":
            assert +total == Counter({event["asset"]: event["amount_micros"]})
        if event["type"] in OUTSIDE:
            self.outside.update(total)
        else:
            assert not any(total.values()), event

    def check(self, engine: Any) -> None:
        """Compares with the engine: balances, what is held for what, live orders, books, the chain."""
        rows = sorted((*key, *balance) for key, balance in self.balances.items())
        assert engine.balances() == rows
        lines = "".join(f"{account}|{asset}|{available}|{held}\n" for account, asset, available, held in rows)
        assert engine.balance_digest() == sha256(lines.encode()).hexdigest()
        assert self.totals(rows) == +self.outside
        assert (engine.seq, engine.link) == (self.seq, self.link)
        orders, positions = engine.orders(), engine.positions()
        assert {order["id"]: order["left"] for order in orders} == {id: left for id, left in self.left.items() if left}
        self.check_holds(orders, positions, rows)
        self.check_books(orders)
        self.check_capacity(orders, positions)
        check_resale(orders, positions)

    @staticmethod
    def totals(rows: list[tuple]) -> Counter[str]:
        """What all accounts have together, per asset: currencies never mix."""
        totals: Counter[str] = Counter()
        for _, asset, available, held in rows:
            totals[asset] += available + held
        return +totals

    def check_capacity(self, orders: list[dict], positions: list[dict]) -> None:
        """No node promises a GPU twice. Only what was sold before it lost GPUs may exceed what it has."""
        sold, offered = Counter(), Counter()
        left = {order["id"]: order["left"] for order in orders}
        for position in positions:
            sold[position["node"], position["contract"][-8:]] += position["qty"]
        for order in orders:
            twin = left.get(order["twin_id"])
            if order["node"] is not None and (twin is None or (order["left"], order["id"]) > (twin, order["twin_id"])):
                offered[order["node"], order["contract"][-8:]] += order["left"]
        for key, gpus in offered.items():
            assert gpus + sold[key] <= len(self.gpus[key[0]] - self.for_sale.keys()), key
        for (node, _), gpus in sold.items():
            assert gpus <= self.most_gpus[node]

    def fold_gpus(self, event: dict) -> None:
        """Which GPUs every node has, and which of them are for sale."""
        kind = event["type"]
        if kind == "node_registered":
            uuids = {gpu["uuid"] for gpu in event["gpus"]}
            self.gpus[event["node"]] = uuids
            self.most_gpus[event["node"]] = max(self.most_gpus[event["node"]], len(uuids))
            for uuid in uuids & self.sold:
                self.sold.discard(uuid)
                del self.for_sale[uuid]
        elif kind == "hardware_locked":
            assert not self.for_sale.keys() & set(event["gpus"])
            self.for_sale |= dict.fromkeys(event["gpus"], event["listing_id"])
        elif kind in ("hardware_unlocked", "escrow_released"):
            uuids = {uuid for uuid, listing_id in self.for_sale.items() if listing_id == event["listing_id"]}
            for uuid in uuids if kind == "hardware_unlocked" else ():
                del self.for_sale[uuid]
            if kind == "escrow_released":
                self.sold |= uuids
                self.gpus = defaultdict(set, {node: gpus - uuids for node, gpus in self.gpus.items()})

    def fold_vouchers(self, event: dict) -> None:
        """What of every position is vouchers, and how many of each programme's are used up."""
        kind = event["type"]
        if kind == "programme_defined":
            self.programmes[event["terms"]["programme"]] = event["terms"]
        elif kind == "programme_defunded":
            self.used[event["programme"]] += event["amount_micros"]
        elif kind == "vouchers_assigned":
            for position in event["positions"]:
                self.vouchers[position["position_id"]].update(amounts(position["parts"]))
        elif kind == "vouchers_settled":
            used, returned = amounts(event["used"]), amounts(event["returned"])
            self.used.update(used)
            if event["revision"] > 1:
                self.used.subtract(returned)
            else:
                self.vouchers[event["position_id"]].subtract(used + returned)
            assert all(amount >= 0 for amount in [*self.used.values(), *self.vouchers[event["position_id"]].values()])

    def check_vouchers(self, positions: list[dict], rows: list[tuple], held: Counter[tuple[str, str]]) -> None:
        """Every voucher that is available anywhere is backed by money that its issuer holds; the others are in escrows
        or used up.
        """
        for position in positions:
            for programme, amount in self.vouchers[position["id"]].items():
                assert self.programmes[programme]["currency"] == self.currency_of(position)
                held[position["buyer"], f"V.{programme}"] += amount
        for programme, terms in self.programmes.items():
            asset = f"V.{programme}"
            held[terms["issuer"], asset] += self.used[programme]
            backing = sum(available for _, its_asset, available, _ in rows if its_asset == asset)
            held[terms["issuer"], terms["currency"]] += backing

    def check_holds(self, orders: list[dict], positions: list[dict], rows: list[tuple]) -> None:
        """Every held micro-unit is held for something, in the currency of that thing."""
        held: Counter[tuple[str, str]] = Counter()
        for order in orders:
            held[order["account"], self.currency_of(order)] += order["hold_micros"]
        for position in positions:
            for account, amount in position["held_micros"].items():
                held[account, self.currency_of(position)] += amount
        for account, asset, amount in self.escrows.values():
            held[account, asset] += amount
        self.check_vouchers(positions, rows, held)
        assert {(account, asset): amount for account, asset, _, amount in rows if amount} == dict(+held)

    def currency_of(self, order_or_position: dict) -> str:
        contract = order_or_position["contract"]
        return self.currencies[contract.rpartition("-")[0] if contract else order_or_position["product"]]

    def check_books(self, orders: list[dict]) -> None:
        """No book of an open product rests crossed, and no account anywhere crosses itself."""
        best: dict[tuple[str, str], int] = {}
        own: dict[tuple[str, str], int] = {}
        for order in orders:
            if order["contract"] is not None:
                price = order["price_micros"]
                pick = max if order["side"] == "buy" else min
                is_open = self.states[order["contract"].rpartition("-")[0]] == "OPEN"
                for prices, whose in ((best, "") if is_open else (own, order["account"]), (own, order["account"])):
                    key = (order["contract"] + whose, order["side"])
                    prices[key] = pick(prices.get(key, price), price)
        for prices in (best, own):
            for (book, side), price in prices.items():
                if side == "buy":
                    assert price < prices.get((book, "sell"), price + 1)


def check_resale(orders: list[dict], positions: list[dict]) -> None:
    """Nobody offers more GPUs again than his positions have."""
    owned, offered = Counter(), Counter()
    for position in positions:
        owned[position["buyer"], position["contract"]] += position["qty"]
    for order in orders:
        if order["side"] == "sell" and order["node"] is None:
            offered[order["account"], order["contract"]] += order["left"]
    for key, gpus in offered.items():
        assert gpus <= owned[key], key
