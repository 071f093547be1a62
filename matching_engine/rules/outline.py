"""The outline of a snapshot: what a state has few of, and the names that the packed sections use, as canonical JSON."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from pydantic import TypeAdapter

from matching_engine.rules.state import Conditions, Order, Position, State
from schemas.ids import Identifier


@dataclass(slots=True)
class OrderExtras:
    """What most orders lack."""

    max_cost_micros: int | None = None
    conditions: Conditions | None = None
    backing: list[tuple[int, int]] | None = None
    twin_id: int | None = None
    resold_position_id: int | None = None
    resold_block_id: int | None = None


@dataclass(slots=True)
class PositionExtras:
    """What most positions lack."""

    block_id: int | None = None
    gpus: list[str] = field(default_factory=list)
    revision: int = 0
    paid: tuple[int, int, int] = (0, 0, 0)
    held_micros: int = 0
    disputed: bool = False
    final_due: bool = False
    delays_payout: bool = False
    payout_held_micros: int = 0


@dataclass(slots=True)
class Names:
    """Names that the sections use, sorted; a record has a name's place here."""

    accounts: list[Identifier]
    assets: list[Identifier]
    contracts: list[Identifier]
    nodes: list[Identifier]


@dataclass(slots=True)
class Outline:
    """A state without its packed parts, and what is unusual about orders and positions, by id."""

    state: State
    names: Names
    orders: dict[int, OrderExtras]
    positions: dict[int, PositionExtras]


OUTLINE = TypeAdapter(Outline)
PACKED = {
    "state": {
        "balances": True,
        "bindings": True,
        "contracts": {"__all__": {"positions"}},
        "nodes": {"__all__": {"committed", "sold"}},
        "orders": True,
        "positions": True,
    }
}


def text_of(state: State, names: Names, orders: Iterable[Order], positions: Iterable[Position]) -> bytes:
    """Returns the outline of a state, whose orders and positions with something unusual are given, others may be."""
    state.timers.sort()
    outline = Outline(state, names, extras_of(orders, OrderExtras), extras_of(positions, PositionExtras))
    data = OUTLINE.dump_python(outline, mode="json", exclude=PACKED)
    return json.dumps(data, separators=(",", ":"), sort_keys=True, ensure_ascii=True).encode()


def parse(text: bytes) -> Outline:
    """Returns the outline. Raises ValueError."""
    return OUTLINE.validate_json(text)


def extras_of(records, extras: type) -> dict:
    """What is unusual about each of the records that have something unusual."""
    names, usual = extras.__dataclass_fields__, extras()
    found = ((each.id, extras(*(getattr(each, name) for name in names))) for each in records)
    return {each_id: each for each_id, each in found if each != usual}


def add_extras(records: dict[int, Order] | dict[int, Position], extras: dict) -> None:
    """Gives records what is unusual about them. Raises KeyError where there is no such record."""
    for each_id, unusual in extras.items():
        usual = type(unusual)()
        for name in usual.__dataclass_fields__:
            if getattr(unusual, name) != getattr(usual, name):
                setattr(records[each_id], name, getattr(unusual, name))
