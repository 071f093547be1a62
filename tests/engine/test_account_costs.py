"""What concerns one account costs by what it has resting, not by what the exchange has.

The bound is wide, for shared machines: what it catches is a walk over all orders, a hundredfold.
"""

import time
from typing import Any

import pytest

from benchmarks.venue import START_S, contract_names, open_venue
from matching_engine.bridge.waiting_blocks import CHANGING, WaitingBlocks
from matching_engine.engine import Engine
from matching_engine.rules.state import Block
from schemas.base import Model
from schemas.orders import CancelAllAfter, MassCancel, PlaceOrder

OWN_ORDERS = 20
FEW, MANY = 200, 20_000
FACTOR_MAX = 8
ROUNDS = 7
CONTRACTS = contract_names(1)


class Exchange:
    """An engine in which `other` has many bids."""

    def __init__(self, others: int):
        self.engine = Engine()
        opening = open_venue(["own", "other"], 10**15, {}, len(CONTRACTS))
        self.engine.apply(opening)
        self.offset, self.orders, self.ts_ms = len(opening), 0, START_S * 1000
        for _ in range(others):
            self.bid("other")

    def apply(self, command: Model) -> list[bytes]:
        events = self.engine.apply([(self.offset, self.ts_ms, command.canonical())])
        self.offset += 1
        return events

    def bid(self, account: str) -> None:
        self.orders += 1
        order = {"command_id": "c", "client_order_id": f"o-{self.orders}", "account": account}
        terms = {"contract": CONTRACTS[0], "side": "buy", "kind": "limit", "qty": 1, "price_micros": 1_000_000}
        self.apply(
            PlaceOrder(
                **order, **terms, max_cost_micros=None, tif="GTG", post_only=False, node=None, stp="cancel_newest"
            )
        )

    def mass_cancel_ns(self) -> int:
        for _ in range(OWN_ORDERS):
            self.bid("own")
        everything = dict.fromkeys(("product", "contract", "side", "from_s", "to_s"))
        begin_ns = time.thread_time_ns()
        events = self.apply(MassCancel(command_id="c", account="own", **everything))
        spent_ns = time.thread_time_ns() - begin_ns
        assert len(events) == OWN_ORDERS + 1
        return spent_ns

    def silence_ns(self) -> int:
        for _ in range(OWN_ORDERS):
            self.bid("own")
        self.apply(CancelAllAfter(command_id="c", account="own", session="s", timeout_ms=5_000))
        self.ts_ms += 5_000
        begin_ns = time.thread_time_ns()
        events = self.apply(CancelAllAfter(command_id="c", account="other", session="s", timeout_ms=0))
        spent_ns = time.thread_time_ns() - begin_ns
        assert len(events) == OWN_ORDERS + 2
        return spent_ns


def least_of(exchange: Exchange, measured: str) -> int:
    return min(getattr(exchange, measured)() for _ in range(ROUNDS))


@pytest.mark.parametrize("measured", ["mass_cancel_ns", "silence_ns"])
def test_cancelling_all_of_an_account_costs_the_same_whatever_others_have_resting(measured: str):
    few, many = (least_of(Exchange(others), measured) for others in (FEW, MANY))
    assert many < FACTOR_MAX * few


class Records:
    """Records of blocks as plain objects."""

    def __init__(self) -> None:
        self.blocks: dict[int, Block] = {}

    def keep(self, block: Block) -> None:
        self.blocks[block.id] = block

    def slot_of(self, block_id: int) -> int | None:
        return block_id if block_id in self.blocks else None

    def fields(self, slot: int) -> dict[str, Any]:
        names = (name for name in Block.__dataclass_fields__ if name not in CHANGING)
        return {name: getattr(self.blocks[slot], name) for name in names}

    def get(self, slot: int, field: str) -> int:
        return getattr(self.blocks[slot], field)

    def set(self, slot: int, field: str, value: int) -> None:
        setattr(self.blocks[slot], field, value)

    def drop(self, slot: int) -> None:
        del self.blocks[slot]


def block(block_id: int, account: str) -> Block:
    return Block(block_id, account, "i", "P", 0, 0, 1, 1, 1, 1, 1, None, "GTG", 1, 1)


def waiting(records: Records, *blocks: Block) -> WaitingBlocks:
    found = WaitingBlocks(records, records.keep)
    for each in blocks:
        found[each.id] = each
    return found


def test_waiting_blocks_are_found_by_account_oldest_first_and_forgotten_once_gone():
    records = Records()
    blocks = waiting(records, block(1, "b"), block(3, "a"), block(2, "a"))
    assert [each.id for each in blocks.of_account("a")] == [2, 3]
    assert blocks.pop(3).id == 3
    assert blocks.pop(3) is None
    assert [each.id for each in blocks.of_account("a")] == [2]
    assert blocks.plain() == records.blocks == {1: block(1, "b"), 2: block(2, "a")}


def test_a_block_that_is_over_keeps_what_it_had_and_changes_no_record():
    records = Records()
    blocks = waiting(records, block(1, "a"))
    blocks[1].left = 7
    assert records.blocks[1].left == 7
    over = blocks.pop(1)
    over.left = 5
    assert (over.left, over.hold_micros, records.blocks) == (5, 1, {})


def test_a_block_that_the_compiled_rules_ended_before_anybody_heard_of_it_is_not_there():
    blocks = waiting(Records())
    blocks.hear(4)
    assert blocks == {}
