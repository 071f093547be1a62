"""A command log as a busy hour of trading would leave it: bids that rest, bids that trade, cancels; all valid."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

from infra.genesis import genesis_command
from infra.keys import make_keys
from infra.reference.products import Timing, list_products
from schemas.ids import contract_name
from schemas.orders import CancelOrder, PlaceOrder, PostCapacity
from schemas.signing import batch_text
from schemas.venue import Credit, NodeGpu, NodesAlive, Privileged, RegisterNode, SetProductState, VenueCommand
from services.kit.keys import load_private_key, sign_hex

PRODUCT, HOUR_S = "H100SXM80.CNE.F", 3600
HOURS, TRADERS, NODES, GPUS = 24, 200, 100, 8
ASK_MICROS = 12_840_000
RESTING, TRADING = 0.55, 0.05


class OrderFlow:
    """Records in order: first what opens the market, then `flow` without end. One seed gives one flow."""

    def __init__(self, keys_dir: Path, seed: int = 1):
        make_keys(keys_dir)
        self._keys_dir, self._random = keys_dir, random.Random(seed)
        self._numbers: dict[str, int] = {}
        self._start_s = (int(time.time()) // HOUR_S + 3) * HOUR_S
        self._contracts = [contract_name(PRODUCT, self._start_s + hour * HOUR_S, HOUR_S) for hour in range(HOURS)]

    def opening(self) -> Iterator[bytes]:
        """Genesis, one product, money, nodes, and their capacity in every hour."""
        terms = next(each for each in list_products(Timing()) if each.product == PRODUCT)
        yield genesis_command(self._keys_dir).canonical()
        yield self._signed("admin", terms, SetProductState(product=None, state="OPEN", reason="start"))
        accounts = [*(f"trader-{i}" for i in range(TRADERS)), *(f"site-{i}" for i in range(NODES))]
        for account in accounts:
            yield self._signed("ledger", _credit(account))
        for number in range(NODES):
            yield self._signed("delivery", self._node(number, terms.grade, terms.hub))
        until_ms = (self._start_s + HOURS * HOUR_S) * 1000
        yield self._signed("delivery", NodesAlive(nodes=tuple(f"node-{i}" for i in range(NODES)), until_ms=until_ms))
        for number in range(NODES):
            yield self._capacity(number).canonical()

    def flow(self, count: int) -> Iterator[bytes]:
        """Yields `count` orders and cancels; every cancel names an order that rests."""
        resting: list[tuple[str, str]] = []
        for number in range(count):
            draw = self._random.random()
            if draw > RESTING + TRADING and resting:
                yield _cancel(number, *resting.pop(self._random.randrange(len(resting)))).canonical()
                continue
            order = self._bid(
                number, ASK_MICROS if draw < TRADING else ASK_MICROS - self._random.randrange(1, 200) * 10_000
            )
            if order.price_micros < ASK_MICROS:
                resting.append((order.account, order.client_order_id))
            yield order.canonical()

    def _bid(self, number: int, price_micros: int) -> PlaceOrder:
        return PlaceOrder(
            command_id=f"c{number}",
            account=f"trader-{self._random.randrange(TRADERS)}",
            client_order_id=f"o{number}",
            contract=self._random.choice(self._contracts),
            side="buy",
            kind="limit",
            qty=1,
            price_micros=price_micros,
            max_cost_micros=None,
            tif="GTG",
            post_only=False,
            node=None,
            stp="cancel_newest",
        )

    def _node(self, number: int, grade: str, hub: str) -> RegisterNode:
        gpus = tuple(NodeGpu(uuid=f"GPU-{number:08x}-{gpu:04x}", serial=f"S{number}-{gpu}") for gpu in range(GPUS))
        site, node = f"site-{number}", f"node-{number}"
        return RegisterNode(node=node, account=site, grade=grade, hub=hub, level="T3", gpus=gpus)

    def _capacity(self, number: int) -> PostCapacity:
        return PostCapacity(
            command_id=f"p{number}",
            account=f"site-{number}",
            client_order_id=f"p{number}",
            product=PRODUCT,
            node=f"node-{number}",
            gpus=GPUS,
            from_s=self._start_s,
            to_s=self._start_s + HOURS * HOUR_S,
            floor_price_micros=ASK_MICROS,
            floor_curve_micros=None,
        )

    def _signed(self, source: str, *commands: VenueCommand) -> bytes:
        self._numbers[source] = number = self._numbers.get(source, 0) + 1
        array = b"[" + b",".join(command.canonical() for command in commands) + b"]"
        signature = sign_hex(load_private_key(self._keys_dir, source), batch_text(source, number, array))
        return Privileged(source=source, number=number, commands=commands, signature=signature).canonical()


def _credit(account: str) -> Credit:
    return Credit(transfer_id=f"t-{account}", account=account, asset="CNY", amount_micros=10**15)


def _cancel(number: int, account: str, client_order_id: str) -> CancelOrder:
    return CancelOrder(command_id=f"c{number}", account=account, order_id=None, client_order_id=client_order_id)
