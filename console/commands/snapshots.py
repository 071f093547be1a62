"""Commands on the engine's snapshots: what one holds, as text tables, and how two differ."""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from clients.cli.output import CommandError, show

ABSENT = "—"


def inspect(snapshot: Path, *, contract: str | None = None, depth: int = 10, json: bool = False) -> None:
    """Print what the engine's SNAPSHOT file holds: where it stands, how much of everything, its books.

    With --contract only that contract's book; --depth bounds the price levels of a side that are shown.
    """
    engine = load(snapshot)
    books = books_of(engine.orders(), contract)
    if contract is not None and not books:
        raise CommandError(f"{snapshot} has no resting order in {contract}")
    summary = summary_of(engine)
    if json:
        show(summary | {"books": books}, json=True)
        return
    show(summary, json=False)
    for name, book in books.items():
        print(f"\n{name}")
        show(ladder(book, depth), json=False)


def diff(first: Path, second: Path, *, rows: int = 100, json: bool = False) -> int:
    """Print every value in which the states of two snapshot files differ, at most ROWS; exit status 1 if any does."""
    differences = list(differences_of(state_of(first), state_of(second)))
    table = [
        {"what": path, str(first): text_of(ours), str(second): text_of(theirs)} for path, ours, theirs in differences
    ]
    if json:
        show([{"what": path, "first": ours, "second": theirs} for path, ours, theirs in differences], json=True)
    elif not differences:
        print("the same state")
    else:
        show(table[:rows], json=False)
        if len(table) > rows:
            print(f"and {len(table) - rows} more")
    return 1 if differences else 0


# -- reading a file


def load(file: Path, engine_class: Any = None):
    """An engine that goes on from the file."""
    from matching_engine import BadSnapshot, Engine

    try:
        return (engine_class or Engine).restore(file.read_bytes())
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}") from error
    except BadSnapshot as error:
        raise CommandError(f"{file}: {error}") from error


def state_of(file: Path) -> dict[str, Any]:
    """The whole state in the file as plain data."""
    from pydantic import TypeAdapter

    from matching_engine.rules import Engine
    from matching_engine.rules.state import State

    return TypeAdapter(State).dump_python(load(file, Engine).state, mode="json")


# -- what is in it


def summary_of(engine) -> dict[str, Any]:
    state = engine.state
    counted = ("products", "contracts", "orders", "blocks", "positions", "nodes", "listings", "escrows", "claims")
    return {
        "shard": engine.shard,
        "seq": engine.seq,
        "next_offset": engine.next_offset,
        "log_time_ms": engine.log_time_ms,
        "epoch": engine.epoch,
        "link": engine.link.hex(),
        "balance_digest": engine.balance_digest(),
        "balances": len(engine.balances()),
    } | {name: len(getattr(state, name)) for name in counted}


def books_of(orders: list[dict[str, Any]], contract: str | None) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Price levels of every contract with a resting order: {contract: {side: [{price, qty, orders}]}}, best first."""
    levels: dict[tuple[str, str], dict[int, list[int]]] = {}
    for order in orders:
        if order["contract"] and contract in (None, order["contract"]):
            level = levels.setdefault((order["contract"], order["side"]), {})
            level.setdefault(order["price_micros"], []).append(order["left"])
    books: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for (name, side), level in sorted(levels.items()):
        ladder_of_side = sorted(level.items(), reverse=side == "buy")
        rows = [{"price": decimal(price), "qty": sum(left), "orders": len(left)} for price, left in ladder_of_side]
        books.setdefault(name, {"buy": [], "sell": []})[side] = rows
    return books


def ladder(book: dict[str, list[dict[str, Any]]], depth: int) -> list[dict[str, Any]]:
    """A book as rows, best level first: orders, quantity and price of the bids, then of the asks."""
    none = {"orders": "", "qty": "", "price": ""}
    return [
        {
            "bid orders": bid["orders"],
            "bid qty": bid["qty"],
            "bid": bid["price"],
            "ask": ask["price"],
            "ask qty": ask["qty"],
            "ask orders": ask["orders"],
        }
        for bid, ask in zip_longest(book["buy"][:depth], book["sell"][:depth], fillvalue=none)
    ]


def decimal(price_micros: int) -> str:
    from schemas.money import format_micros

    return format_micros(price_micros)


# -- how two differ


def differences_of(ours: Any, theirs: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yields (path, value, other value) for every leaf that differs; a value that one side lacks is None there."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in sorted(ours.keys() | theirs.keys()):
            yield from differences_of(ours.get(name), theirs.get(name), f"{path}.{name}" if path else name)
    elif isinstance(ours, list) and isinstance(theirs, list):
        for place, (one, other) in enumerate(zip_longest(ours, theirs)):
            yield from differences_of(one, other, f"{path}[{place}]")
    elif ours != theirs:
        yield path, ours, theirs


def text_of(value: Any) -> str:
    return ABSENT if value is None else str(value)
