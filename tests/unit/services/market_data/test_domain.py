"""The market folded from whole commands."""

import pytest

from services.market_data.domain import BookChange, Market
from services.market_data.rows import auction_rows, product_row, ticker_row, time_text
from tests.fixtures.event_log import (
    BEFORE_MS,
    CONTRACT,
    PERIOD_S,
    PRODUCT,
    START_S,
    EventLog,
    accepted,
    gone,
    traded,
)

P = 12_840_000
GATE_MS = (START_S - 600) * 1000


@pytest.fixture
def log():
    log = EventLog()
    log.open_market()
    return log


def fold(log):
    market = Market()
    return market, [market.apply(command) for command in log.commands]


def depth(market, contract=CONTRACT):
    book = market.contracts[contract].book
    return book.bids.levels(), book.asks.levels()


def test_listing_makes_every_contract_of_the_horizon(log):
    market, _ = fold(log)
    listed = market.products[PRODUCT].listed()
    assert [c.start_s for c in listed] == [START_S + i * PERIOD_S for i in range(48)]
    assert {c.state for c in listed} == {"OPEN"}
    assert market.products[PRODUCT].state == "OPEN"


def test_an_order_that_trades_and_rests_makes_one_change_per_book_at_the_last_sequence(log):
    """Holds [F-7]"""
    log.command(accepted(1, "sell", 4, P))
    log.command(accepted(2, "buy", 6, P + 10_000), traded(1, 2, 4, P, left=(0, 2)))
    market, changes = fold(log)
    view = market.contracts[CONTRACT]
    assert changes[-2].books == [BookChange(view, 0, [], [(P, 4)])]
    assert changes[-1].books == [BookChange(view, 4, [(P + 10_000, 2)], [(P, 0)])]
    assert (changes[-1].seq, view.book.seq) == (6, 6)
    assert depth(market) == ([(P + 10_000, 2)], [])


def test_a_taker_that_leaves_no_trace_makes_no_change(log):
    log.command(accepted(1, "buy", 6, P), gone("OrderCanceled", 1, "buy", 6, P))
    market, changes = fold(log)
    assert (changes[-1].books, depth(market)) == ([], ([], []))


def test_cancel_and_expiry_take_off_what_was_left(log):
    log.command(accepted(1, "buy", 6, P))
    log.command(accepted(2, "buy", 3, P))
    log.command(gone("OrderCanceled", 1, "buy", 6, P))
    assert depth(fold(log)[0]) == ([(P, 3)], [])
    log.command(gone("OrderExpired", 2, "buy", 3, P))
    assert depth(fold(log)[0]) == ([], [])


def test_a_market_order_stands_in_no_book_but_takes_the_maker_off(log):
    log.command(accepted(1, "sell", 4, P))
    log.command(accepted(2, "buy", 3, None), traded(1, 2, 3, P, left=(1, 0)))
    assert depth(fold(log)[0]) == ([], [(P, 1)])


def test_a_block_takes_asks_off_and_stands_in_no_hour_book(log):
    log.command(accepted(1, "sell", 4, P))
    log.command(traded(1, 9, 4, P, left=(0, 0), block_id=9))
    log.command(accepted(2, "sell", 2, P), traded(9, 2, 2, P, left=(0, 0), block_id=9, taker_side="sell"))
    assert depth(fold(log)[0]) == ([], [])


def doubts(changes):
    return [(doubt.seq, doubt.kind, doubt.contract) for change in changes for doubt in change.doubts]


def test_after_a_fill_that_leaves_another_quantity_than_the_view_has_the_events_quantity_counts(log):
    """Holds [F-10]"""
    log.command(accepted(1, "sell", 4, P))
    log.command(accepted(2, "buy", 3, P), traded(1, 2, 3, P, left=(2, 0)))
    market, changes = fold(log)
    assert depth(market) == ([], [(P, 2)])
    assert doubts(changes) == [(6, "trade", CONTRACT)]
    assert market.doubted == {CONTRACT: 6}


def test_a_cancel_of_an_order_that_does_not_rest_changes_nothing_and_is_doubted(log):
    log.command(accepted(1, "sell", 4, P))
    log.command(gone("OrderCanceled", 7, "buy", 6, P))
    market, changes = fold(log)
    assert depth(market) == ([], [(P, 4)])
    assert doubts(changes) == [(5, "order_canceled", CONTRACT)]


def test_an_unknown_order_that_is_replaced_rests_from_then_on(log):
    log.command(replaced(7, "buy", 3, P))
    market, changes = fold(log)
    assert depth(market) == ([(P, 3)], [])
    assert doubts(changes) == [(4, "order_replaced", CONTRACT)]


def test_a_trade_of_a_maker_that_does_not_rest_is_told_and_doubted(log):
    log.command(accepted(2, "buy", 3, P), traded(1, 2, 3, P, left=(0, 0)))
    market, changes = fold(log)
    assert (depth(market), market.contracts[CONTRACT].qty) == (([], []), 3)
    assert doubts(changes) == [(5, "trade", CONTRACT)]


def test_an_event_of_a_contract_that_never_was_changes_nothing(log):
    log.command(accepted(1, "sell", 4, P, contract=f"{PRODUCT}-30010100"))
    market, changes = fold(log)
    assert doubts(changes) == [(4, "order_accepted", f"{PRODUCT}-30010100")]
    assert market.doubted == {}


def test_the_parts_of_an_old_auctions_resale_that_repeat_the_total_leave_the_right_book(log):
    """Until ruleset 3 every part carried what was left after the last one."""
    log.command(accepted(1, "sell", 2, P, node=None), accepted(2, "buy", 3, P))
    resale = {"from_position_id": 7, "operator": "op", "settlement_price_micros": P, "paid_micros": P}
    part = {"taker_side": None, "resale": resale}
    log.command(traded(1, 2, 1, P, left=(1, 1), **part), traded(1, 2, 1, P, left=(0, 1), **part))
    market, changes = fold(log)
    assert depth(market) == ([(P, 1)], [])
    assert [seq for seq, *_ in doubts(changes)] == [6, 7]


def test_a_doubted_book_is_trusted_again_once_its_contract_is_over(log):
    log.command(gone("OrderCanceled", 7, "buy", 6, P))
    log.command(("ContractStateChanged", {"contract": CONTRACT, "state": "EXPIRED", "positions": 0}), ts_ms=GATE_MS)
    assert fold(log)[0].doubted == {}


def replaced(order_id: int, side: str, qty: int, price_micros: int) -> tuple[str, dict]:
    fields = {"order_id": order_id, "command_id": "c", "account": "a", "client_order_id": "o", "replace_id": None}
    terms = {"contract": CONTRACT, "side": side, "qty": qty, "qty_left": qty, "price_micros": price_micros}
    old = {"old_qty_left": qty, "old_price_micros": price_micros, "priority_kept": False, "postings": ()}
    return "OrderReplaced", fields | terms | old | {"tif": "GTG", "expires_ms": None}


def test_an_auction_is_indicated_in_the_ticker_until_it_ends_and_its_result_stays(log):
    auction = {"contract": CONTRACT, "surplus_qty": 1, "surplus_side": "buy", "reference_micros": None}
    log.command(("ProductStateChanged", state("AUCTION", BEFORE_MS + 60_000)))
    log.command(("AuctionIndicated", auction | {"price_micros": P, "qty": 3}))
    market, _ = fold(log)
    row = ticker_row(market.contracts[CONTRACT], market.doubted)
    assert (row.auction.event, row.auction.price, row.auction.qty, row.auction.surplus_side) == (
        "indicated",
        "12.84",
        "3",
        "buy",
    )
    assert product_row(market.products[PRODUCT]).opens == time_text(BEFORE_MS + 60_000)
    log.command(("AuctionUncrossed", auction | {"price_micros": P, "qty": 4}), ("ProductStateChanged", state("OPEN")))
    market, changes = fold(log)
    indicated, results = auction_rows(market.products[PRODUCT])
    assert (indicated, [(each.event, each.qty) for each in results]) == ((), [("uncrossed", "4")])
    assert [each.seq for each in changes[-1].auctions] == [len(log.events) - 1]
    assert ticker_row(market.contracts[CONTRACT], market.doubted).auction is None


def test_an_auction_that_is_broken_off_takes_what_was_indicated_with_it(log):
    log.command(("ProductStateChanged", state("AUCTION")))
    fields = {"contract": CONTRACT, "price_micros": P, "qty": 3, "reference_micros": P}
    log.command(("AuctionIndicated", fields | {"surplus_qty": 0, "surplus_side": None}))
    log.command(("ProductStateChanged", state("HALTED")))
    assert auction_rows(fold(log)[0].products[PRODUCT]) == ((), ())


def state(name: str, opens_ms: int | None = None) -> dict:
    return {"product": PRODUCT, "state": name, "reason": "test", "opens_ms": opens_ms}


def test_the_index_is_fixed_at_the_gate_from_the_depth_before_its_expiries(log):
    log.command(accepted(1, "sell", 9, P))
    log.command(accepted(2, "buy", 9, P - 10_000))
    log.command(accepted(3, "buy", 1, P), traded(1, 3, 1, P, left=(8, 0)))
    log.command(
        gone("OrderExpired", 1, "sell", 8, P),
        gone("OrderExpired", 2, "buy", 9, P - 10_000),
        ("ContractStateChanged", {"contract": CONTRACT, "state": "LOCKED", "positions": 1}),
        ts_ms=GATE_MS,
    )
    market, changes = fold(log)
    ((contract, value),) = changes[-1].fixings
    assert (contract.contract, value.index_micros, value.level) == (CONTRACT, P - 5_000, 3)
    assert depth(market) == ([], [])


def test_a_contract_that_never_traded_gets_no_index(log):
    log.command(("ContractStateChanged", {"contract": CONTRACT, "state": "EXPIRED", "positions": 0}), ts_ms=GATE_MS)
    market, changes = fold(log)
    assert changes[-1].fixings == []
    assert market.contracts[CONTRACT].state == "EXPIRED"


def test_the_last_index_is_that_of_the_latest_delivery_not_the_latest_event(log):
    names = [c.contract for c in fold(log)[0].products[PRODUCT].listed()[:3]]
    for name, micros in ((names[1], 200), (names[0], 100)):
        log.command(
            (
                "IndexSet",
                {
                    "contract": name,
                    "index_micros": micros,
                    "level": 1,
                    "method": "HBX-1",
                    "inputs_digest": "0" * 64,
                },
            )
        )
    market, changes = fold(log)
    assert market.products[PRODUCT].last_index == (names[1], 200)
    assert [event.index_micros for change in changes[-2:] for event in change.indexes] == [200, 100]


def test_a_trade_moves_candles_of_the_contract_and_of_its_product(log):
    log.command(accepted(1, "sell", 4, P))
    log.command(accepted(2, "buy", 4, P), traded(1, 2, 4, P, left=(0, 0)))
    market, changes = fold(log)
    touched = sorted({(sym, interval) for sym, interval, _ in changes[-1].candles})
    assert touched == sorted(
        (sym, interval) for sym in (CONTRACT, PRODUCT) for interval in ("1m", "5m", "15m", "1h", "4h", "1d")
    )
    (running,) = market.candles.series(PRODUCT, "1h")
    assert (running.start_ms, running.open_micros, running.qty, running.final) == (BEFORE_MS, P, 4, False)


def test_contracts_that_ended_long_ago_are_forgotten_when_new_ones_are_listed(log):
    log.command(("ContractStateChanged", {"contract": CONTRACT, "state": "EXPIRED", "positions": 0}))
    later = START_S + 48 * PERIOD_S
    listed = {"product": PRODUCT, "period_s": PERIOD_S, "first_start_s": later, "last_start_s": later}
    log.command(("ContractsListed", listed), ts_ms=(START_S + 10 * PERIOD_S) * 1000)
    market, _ = fold(log)
    assert CONTRACT not in market.contracts
    assert len(market.contracts) == 48


def test_a_contract_that_was_forgotten_may_still_become_void(log):
    log.command(accepted(1, "sell", 4, P))
    log.command(accepted(2, "buy", 4, P), traded(1, 2, 4, P, left=(0, 0)))
    log.command(("ContractStateChanged", {"contract": CONTRACT, "state": "METERED", "positions": 1}))
    later = START_S + 48 * PERIOD_S
    listed = {"product": PRODUCT, "period_s": PERIOD_S, "first_start_s": later, "last_start_s": later}
    log.command(("ContractsListed", listed), ts_ms=(START_S + 10 * PERIOD_S) * 1000)
    log.command(("ContractStateChanged", {"contract": CONTRACT, "state": "VOID", "positions": 1}))
    market, changes = fold(log)
    assert CONTRACT not in market.contracts
    assert [event.state for event in changes[-1].statuses] == ["VOID"]
    assert (doubts(changes), changes[-1].quotes) == ([], {})


def test_fixing_twice_from_the_same_log_gives_the_same_digest(log):
    log.command(accepted(1, "sell", 9, P))
    log.command(accepted(3, "buy", 1, P), traded(1, 3, 1, P, left=(8, 0)))
    log.command(("ContractStateChanged", {"contract": CONTRACT, "state": "LOCKED", "positions": 1}), ts_ms=GATE_MS)
    first, again = (fold(log)[1][-1].fixings[0][1] for _ in range(2))
    assert first == again
    assert first.level == 5
