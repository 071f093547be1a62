"""HBX, the index of one contract at its gate: pure integer functions of fills, depth and earlier values.

Five levels (docs/rules/feeds.md), the first that has enough evidence counts:

1. arm's-length fills of the contract in the last three periods before its gate
2. its fills over its whole life
3. the executable mid: the mean of what eight GPUs could be bought and sold for just before the gate
4. fills of the contract and of the periods next to it
5. the last value fixed for the product, flagged stale; before there is any, the contract's own few fills

One GPU traded for one period counts as one GPU-hour whatever the period is: a sandbox scales every duration.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

METHOD = "HBX-1"
WINDOW_PERIODS = 3
PARTIES_MIN = 3
GPUS_MIN = 8
PARTY_SHARE = 4
WEIGHT_SCALE = 1_000_000
MAD_FACTOR = 44_478
BAND_FLOOR = 500
BASIS = 10_000
SPREAD_MAX = 1_000


class Fill(NamedTuple):
    """One trade as the index sees it; the parties never leave this service."""

    seq: int
    ts_ms: int
    price_micros: int
    qty: int
    buyer: str
    seller: str


class LastIndex(NamedTuple):
    """The product's value of the latest delivery period fixed so far."""

    contract: str
    index_micros: int


class IndexValue(NamedTuple):
    """The index of a contract, the level of evidence it stands on, and the digest of what it was computed from."""

    index_micros: int
    level: int
    inputs_digest: str


@dataclass(frozen=True)
class GateInputs:
    """Everything the index of a contract may depend on. Depth is that before the gate's expiries, best level first."""

    contract: str
    gate_ms: int
    period_s: int
    fills: Sequence[Fill]
    neighbour_fills: Sequence[Fill]
    bids: Sequence[tuple[int, int]]
    asks: Sequence[tuple[int, int]]
    last: LastIndex | None


def fix_index(inputs: GateInputs) -> IndexValue:
    """Compute the index of a contract that has fills; raises ValueError for one without. [F-4]"""
    if not inputs.fills:
        raise ValueError(f"{inputs.contract} has no fills")
    window_start_ms = inputs.gate_ms - WINDOW_PERIODS * inputs.period_s * 1000
    pools = {
        1: [fill for fill in inputs.fills if fill.ts_ms >= window_start_ms],
        2: list(inputs.fills),
        4: sorted([*inputs.fills, *inputs.neighbour_fills]),
    }
    for level in (1, 2, 3, 4):
        if level == 3:
            price = executable_mid(inputs.bids, inputs.asks)
            lines = _depth_lines(inputs)
        else:
            price = traded_price(pools[level])
            lines = _fill_lines(pools[level])
        if price is not None:
            return _value(inputs, level, price, lines)
    if inputs.last is not None:
        return _value(inputs, 5, inputs.last.index_micros, [f"last|{inputs.last.contract}|{inputs.last.index_micros}"])
    return _value(inputs, 5, weighted_price(without_outliers(inputs.fills)), _fill_lines(inputs.fills))


def traded_price(fills: Iterable[Fill]) -> int | None:
    """Return the price of arm's-length fills without outliers; None where they are too few to stand for a market.
    [F-6]
    """
    kept = without_outliers([fill for fill in fills if fill.buyer != fill.seller])
    enough = (
        len({fill.seller for fill in kept}) >= PARTIES_MIN
        and len({fill.buyer for fill in kept}) >= PARTIES_MIN
        and sum(fill.qty for fill in kept) >= GPUS_MIN
    )
    return weighted_price(kept) if enough else None


def without_outliers(fills: Sequence[Fill]) -> list[Fill]:
    """Drop fills with |p − median| > max(3·1.4826·MAD, 5 % of the median); the medians count every GPU once. [F-5]"""
    if not fills:
        return []
    median = median_micros([(fill.price_micros, fill.qty) for fill in fills])
    mad = median_micros([(abs(fill.price_micros - median), fill.qty) for fill in fills])
    band = max(MAD_FACTOR * mad, BAND_FLOOR * median)
    return [fill for fill in fills if abs(fill.price_micros - median) * BASIS <= band]


def median_micros(values: Iterable[tuple[int, int]]) -> int:
    """Return the lower median of (value, weight) pairs: the smallest value that half of the weight does not exceed."""
    ordered = sorted(values)
    total = sum(weight for _, weight in ordered)
    seen = 0
    for value, weight in ordered:
        seen += weight
        if 2 * seen >= total:
            return value
    raise ValueError("the median of nothing")


def weighted_price(fills: Sequence[Fill]) -> int:
    """Return the volume-weighted price, rounded down; a party with over a quarter of the volume weighs a quarter."""
    total = sum(fill.qty for fill in fills)
    volume: Counter[str] = Counter()
    for fill in fills:
        for party in {fill.buyer, fill.seller}:
            volume[party] += fill.qty
    weights = []
    for fill in fills:
        largest = max(volume[fill.buyer], volume[fill.seller])
        cut = PARTY_SHARE * largest > total
        weights.append(fill.qty * WEIGHT_SCALE * total // (PARTY_SHARE * largest) if cut else fill.qty * WEIGHT_SCALE)
    return sum(weight * fill.price_micros for weight, fill in zip(weights, fills, strict=True)) // sum(weights)


def executable_mid(bids: Sequence[tuple[int, int]], asks: Sequence[tuple[int, int]]) -> int | None:
    """Return the mid of the mean prices of eight GPUs on either side; None if one is thinner, or over 10 % apart."""
    bid, ask = _cost_of_gpus(bids), _cost_of_gpus(asks)
    if bid is None or ask is None or (ask - bid) * 2 * BASIS > SPREAD_MAX * (ask + bid):
        return None
    return (bid + ask) // (2 * GPUS_MIN)


def _cost_of_gpus(levels: Sequence[tuple[int, int]]) -> int | None:
    missing, cost = GPUS_MIN, 0
    for price_micros, gpus in levels:
        taken = min(missing, gpus)
        cost += taken * price_micros
        missing -= taken
    return cost if missing == 0 else None


def _value(inputs: GateInputs, level: int, price_micros: int, lines: list[str]) -> IndexValue:
    head = f"{METHOD}|{inputs.contract}|{inputs.gate_ms}|{level}"
    digest = sha256("\n".join([head, *lines]).encode()).hexdigest()
    return IndexValue(price_micros, level, digest)


def _fill_lines(fills: Iterable[Fill]) -> list[str]:
    return [f"fill|{fill.seq}|{fill.price_micros}|{fill.qty}" for fill in fills]


def _depth_lines(inputs: GateInputs) -> list[str]:
    sides = (("bid", inputs.bids), ("ask", inputs.asks))
    return [f"{side}|{price}|{gpus}" for side, levels in sides for price, gpus in levels]
