"""Who plays: makers, takers, block buyers, a reseller, a voucher holder; their accounts, and what each trades."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Protocol

from clients.actors import Actor, Registry
from clients.http import result_of
from console.play.block_buyers import BlockBuyer
from console.play.desk import Desk, Market
from console.play.makers import Maker
from console.play.resellers import Reseller
from console.play.takers import Taker
from console.play.view import View
from console.play.wishes import Wish
from infra.admin import send_commands
from schemas.vouchers import DefineProgramme

FUNDS = {"CNY": "50000000.00", "USD": "10000000.00"}
PROGRAMME, PROGRAMME_DAYS = "CITYPLAY", 365
ISSUER, ISSUED_CNY = "city-compute-fund", "2000000.00"
HOLDER = "river-university"


class Trader(Protocol):
    """What decides: at every `step` seconds, from a view and from chance."""

    step: int
    products: tuple[str, ...]

    def decide(self, view: View, turn: int, chance: Random) -> list[Wish]:
        """Returns what to do now."""
        ...


@dataclass(frozen=True)
class Person:
    """A trader with a name, and whether it looks at its own orders and positions before it decides."""

    name: str
    trader: Trader
    looks_at_own: bool

    def products(self, turn: int) -> tuple[str, ...]:
        """Returns what it looks at in this turn."""
        return (self.trader.product_at(turn),) if isinstance(self.trader, Maker) else self.trader.products


def people(products: tuple[str, ...], taken: tuple[str, ...], voucher_products: tuple[str, ...]) -> tuple[Person, ...]:
    """Returns everyone who trades, the liveliest first: makers quote all products, the others buy those `taken`."""
    odd, even = products[::2], products[1::2] or products
    return (
        Person("lantern-makers", Maker(products, 9_000, 2), True),
        Person("harbor-quotes", Maker(odd, 13_000, 3), True),
        Person("summit-quotes", Maker(even, 12_000, 3), True),
        Person("quick-inference", Taker(taken, 2, 0.7, 30_000), False),
        Person("night-training", Taker(taken, 4, 0.5, 60_000, step=5), False),
        Person("urgent-lab", Taker(tuple(reversed(taken)), 1, 0.5, 250_000, step=8), False),
        Person("render-house", Taker(taken[1::2] or taken, 2, 0.5, 40_000, step=6), False),
        Person("mill-blocks", BlockBuyer(taken, 0.6), False),
        Person("delta-blocks", BlockBuyer(voucher_products, 0.5, step=15), False),
        Person("second-hand-hours", Reseller(taken[:3], 0.5), True),
        Person(HOLDER, Taker(voucher_products, 2, 0.8, 80_000, step=20, vouchers=True), False),
    )


def open_accounts(registry: Registry, everyone: tuple[Person, ...]) -> None:
    """Opens the traders' accounts with keys of their own; the administrator credits what they paid in, once."""
    for person in everyone:
        registry.open_account(person.name, "trade", **FUNDS)
    registry.open_account(ISSUER, "withdraw", CNY=ISSUED_CNY)


def issue_vouchers(registry: Registry, kafka: str, keys_dir: Path, hubs: tuple[str, ...]) -> None:
    """Lets a city's programme give the voucher holder money that buys GPU time in these hubs only; once."""
    issuer = registry.actors[ISSUER]
    if any(row.get("programme") == PROGRAMME for row in result_of(issuer.gateway.get("/v1/balances"))["items"]):
        return
    terms = DefineProgramme(
        programme=PROGRAMME,
        issuer=ISSUER,
        currency="CNY",
        starts_ms=0,
        expires_ms=int((time.time() + PROGRAMME_DAYS * 86_400) * 1000),
        grades=(),
        hubs=hubs,
        tiers=(),
        operators=(),
        copay_permille=200,
        holder_cap_micros=None,
        unaffiliated=False,
    )
    asyncio.run(send_commands(kafka, keys_dir, [terms]))
    _pay(issuer, "fund", {"amount": ISSUED_CNY})
    _pay(issuer, "vouchers", {"account": HOLDER, "amount": ISSUED_CNY})


def open_desks(
    registry: Registry, market: Market, everyone: tuple[Person, ...], tally: Counter[str]
) -> dict[str, Desk]:
    """Returns everyone's way to the exchange, by name."""
    return {person.name: Desk(registry.actors[person.name], market, tally) for person in everyone}


def _pay(issuer: Actor, step: str, form: dict[str, str]) -> None:
    headers = {"Idempotency-Key": f"play-{step}"}
    result_of(issuer.ledger.post(f"/v1/programmes/{PROGRAMME}/{step}", json=form, headers=headers))
