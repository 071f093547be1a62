"""Amounts of money, rounded as docs/rules/money.md says, and the entries that move it between accounts."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Protocol

from matching_engine.rules.refusals import require
from matching_engine.rules.state import Balance
from schemas.events import Posting
from schemas.measures import Level
from schemas.money import AMOUNT_MAX_MICROS
from schemas.venue import DefineProduct

VENUE = "venue"
GUARANTEE = "guarantee"
RESERVED = (VENUE, GUARANTEE)
LEVELS: tuple[Level, ...] = ("T0", "T1", "T2", "T3")


def ceil_div(dividend: int, divisor: int) -> int:
    """Divides, rounding up."""
    return -(-dividend // divisor)


def unit_micros(terms: DefineProduct, price_micros: int) -> int:
    """What one GPU costs for one period: ceil(P·T/3600). [C-3]"""
    return ceil_div(price_micros * terms.period_s, 3600)


def fee_unit_micros(unit: int, bps: int) -> int:
    """The fee on one GPU and period. [C-4]"""
    return ceil_div(unit * bps, 10_000)


def hold_unit_micros(terms: DefineProduct, price_micros: int) -> int:
    """What a bid holds per GPU and period: the cost and the dearer of the two fees. [C-5]"""
    unit = unit_micros(terms, price_micros)
    return unit + fee_unit_micros(unit, max(terms.maker_fee_bps, terms.taker_fee_bps))


def bond_unit_micros(terms: DefineProduct, level: Level, price_micros: int, last_index_micros: int | None) -> int:
    """What an ask holds per GPU and period, "on max(its own price, the last index), by verification level". [C-6]"""
    permille = terms.bond_permille[LEVELS.index(level)]
    return ceil_div(permille * max(price_micros, last_index_micros or 0) * terms.period_s, 3600 * 1000)


def in_range(amount_micros: int) -> int:
    """Passes an amount on; refuses one that no balance could hold."""
    require(amount_micros <= AMOUNT_MAX_MICROS, "amount_overflow")
    return amount_micros


class Balances(Protocol):
    """Where balances are kept."""

    def available(self, account: str, asset: str) -> int:
        """What the account may spend."""

    def post(self, account: str, asset: str, available: int, held: int) -> tuple[int, int]:
        """Moves money. Returns the balance after it, which is never negative."""

    def rows(self) -> Iterator[tuple[str, str, int, int]]:
        """Every balance that a posting ever named, sorted by account and asset."""

    def digest(self) -> str:
        """SHA-256 over one line per balance. [C-13]"""


class PlainBalances:
    """Balances as the state has them."""

    def __init__(self, balances: dict[str, dict[str, Balance]]):
        self.balances = balances

    def available(self, account: str, asset: str) -> int:
        balance = self.balances.get(account, {}).get(asset)
        return balance.available if balance else 0

    def post(self, account: str, asset: str, available: int, held: int) -> tuple[int, int]:
        balance = self.balances.setdefault(account, {}).setdefault(asset, Balance())
        balance.available += available
        balance.held += held
        if min(balance.available, balance.held) < 0:
            raise AssertionError(f"negative balance: {account} {asset}")
        return balance.available, balance.held

    def rows(self) -> Iterator[tuple[str, str, int, int]]:
        for account, assets in sorted(self.balances.items()):
            for asset, balance in sorted(assets.items()):
                yield account, asset, balance.available, balance.held

    def digest(self) -> str:
        return sha256("".join(f"{'|'.join(map(str, row))}\n" for row in self.rows()).encode()).hexdigest()


class Accounts:
    """All balances. Nothing but entries changes them, and none becomes negative."""

    def __init__(self, balances: Balances):
        self.balances = balances

    def available(self, account: str, asset: str) -> int:
        """What the account may spend."""
        return self.balances.available(account, asset)

    def require_available(self, account: str, asset: str, amount_micros: int) -> None:
        """Refuses unless the amount is there: "money is there before the order". [C-2]"""
        require(in_range(amount_micros) <= self.available(account, asset), "insufficient_funds")


class Entry:
    """One event's movement of money in one asset: collected first, posted once. [C-1]"""

    def __init__(self, accounts: Accounts, asset: str):
        self.accounts = accounts
        self.asset = asset
        self.deltas: dict[str, list[int]] = {}

    def add(self, account: str, available: int = 0, held: int = 0) -> "Entry":
        """Adds to what the account may spend and to what is held for it."""
        delta = self.deltas.setdefault(account, [0, 0])
        delta[0] += available
        delta[1] += held
        return self

    def hold(self, account: str, amount: int) -> "Entry":
        """Moves an amount from available to held; a negative one back."""
        return self.add(account, available=-amount, held=amount)

    def post(self) -> tuple[Posting, ...]:
        """Applies the movement and returns it as postings."""
        return tuple(self.post_one(account, *delta) for account, delta in sorted(self.deltas.items()) if any(delta))

    def post_one(self, account: str, available: int, held: int) -> Posting:
        after = self.accounts.balances.post(account, self.asset, available, held)
        return Posting(account, self.asset, available, held, *after)
