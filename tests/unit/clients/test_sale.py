"""A sale as `hourbook sale` shows it: when it goes on by itself, what happens then, and what happened so far."""

from clients.cli.sale import show_listing

SALE = {
    "listing_id": "lst-1",
    "state": "SHIPPED",
    "kind": "module",
    "grade": "H100SXM80",
    "hub": "CNE",
    "condition": "A",
    "price": "1000.00",
    "currency": "CNY",
    "seller": "shop",
    "buyer": "lab",
    "title": "H100",
    "note": "",
    "deadline_ms": 1_796_000_000_000,
    "default_outcome": "received",
    "history": [
        {"step": "offer", "by": "seller", "ts_ms": 1_795_000_000_000, "state": "LOCKING", "words": ""},
        {"step": "ship", "by": "seller", "ts_ms": 1_795_000_060_000, "state": "SHIPPED", "words": "SF SF1020"},
    ],
}


def shown(capsys, **changes) -> list[str]:
    show_listing(SALE | changes, json=False)
    return [line.strip() for line in capsys.readouterr().out.splitlines()]


def test_a_sale_is_shown_with_its_deadline_and_its_history(capsys):
    assert shown(capsys)[-7:] == [
        "title       H100",
        "deadline    2026-11-30 00:53:20",
        "then        the goods count as received",
        "",
        "time                 step   by      state    words",
        "2026-11-18 11:06:40  offer  seller  LOCKING",
        "2026-11-18 11:07:40  ship   seller  SHIPPED  SF SF1020",
    ]


def test_a_state_that_waits_for_nobody_has_no_deadline(capsys):
    lines = shown(capsys, default_outcome=None, note="insufficient_funds", history=[])
    assert lines[-2:] == ["title       H100", "note        insufficient_funds"]
