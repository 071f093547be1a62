"""Cheats that get past their enrolment are sold an hour, and what they earn is what the settlements leave them.

It is nothing beside the hours that a cheat serves in truth: two nodes before one chip serve one of two.

CI tier (`slow`), a minute and three quarters. Beside each cheat its twin sells too, to whom its layer pays no
attention; the honest node between them is paid in full.
"""

import pytest

from tests.integration.delivery.conftest import Venue
from tests.zoo.cheats import CHEATS
from tests.zoo.keeper import Stay, keep
from tests.zoo.layers import SPARING, Blind
from tests.zoo.market import Market
from tests.zoo.program import Program
from tests.zoo.table import show

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
STAY_S = 200  # at most: a stay ends with what it is there to show
TERMS = {"period_s": 10, "gate_lead_s": 12}
# So many nodes are asked more rarely, and rarely just before a proof inside. A door counts as shut after a second, and
# stands on this machine.
CHANGES = {
    "correction_delay_ms": 500,
    "idle_challenge_ms_floor": 12_000,
    "door_grace_ms_min": 1_000,
    "door_private_addresses": True,
    "renter_proofs_max": 6,
}
LONGEST = ("NeverThere", "OneChipForTwoNodes", "GivesBuyersAnotherGpu")  # these begin first
SOLD = {name: kind for name, kind in CHEATS.items() if kind.sells}
# What makes a twin's buyer an ordinary one: no account of the venue's own, no meter of his.
BUYERS = ("shopper", "renter")
TWINS = [kind for kind in SOLD.values() if kind.caught_by in (*SPARING, *BUYERS) and not kind.held_by]


@pytest.fixture
def zoo_terms() -> dict[str, int]:
    return TERMS


async def test_who_sells_an_hour_is_caught_and_earns_nothing_beside_what_he_served(zoo: Venue, request):
    blind, market, only = Blind(), Market(zoo, TERMS["gate_lead_s"]), request.config.getoption("--only") or SOLD
    honest = Stay(zoo, Program, 1, market)
    cheats = [
        Stay(zoo, kind, number, market) for number, kind in enumerate(SOLD.values(), start=2) if kind.__name__ in only
    ]
    spared = [
        Stay(zoo, kind, number, market, blind) for number, kind in enumerate(TWINS, start=200) if kind.__name__ in only
    ]
    stays = sorted([honest, *cheats, *spared], key=lambda stay: stay.kind.__name__ not in LONGEST)
    shoppers = [stay.buyer_account for stay in cheats if stay.kind.caught_by == "shopper"]
    changes = CHANGES | {"shopper_accounts": ",".join(shoppers)}
    zoo.settings = zoo.settings.model_copy(update=changes)
    with blind.on():
        async with zoo.delivery(), market.open():
            await market.pay_in(account for stay in stays for account in stay.accounts)
            judge = await zoo.join("zoo-judge", "read", "arbiter")
            for stay in stays:
                stay.judge = judge
                if stay.kind.visit and not (stay.spared_by and stay.kind.caught_by == "renter"):
                    stay.buyer = await zoo.join(stay.buyer_account, "read", "trade")
            await keep(stays, STAY_S)
    show(stays, market)
    missed = {
        stay.kind.__name__: (stay.seen.signs, stay.seen.complaint)
        for stay in cheats
        if not is_told(stay) and not is_out(stay)
    }
    assert missed == {}, missed
    assert {stay.kind.caught_by for stay in cheats} == {stay.kind.caught_by for stay in cheats if is_told(stay)}
    caught = {stay.kind.__name__: stay.seen.signs for stay in spared if is_told(stay)}
    assert caught == {}, caught
    assert [stay.kind.__name__ for stay in stays if not market.positions[stay.account]] == []
    gains = [(stay, market.earned[stay.account] - stay.kind.serves * market.hour_micros) for stay in cheats]
    rich = {stay.kind.__name__: gain for stay, gain in gains if gain > 0}
    assert rich == {}, rich
    assert market.earned[honest.account] > market.hour_micros // 2  # all but the fee, unless the machine was busy


def is_told(stay: Stay) -> bool:
    """Whether the layer that is to see through it has spoken."""
    return stay.seen.first(stay.kind.sign) is not None


def is_out(stay: Stay) -> bool:
    """Whether a sweep at a random time was before that layer: its GPU was gone by then."""
    return bool(stay.kind.in_the_end) and stay.seen.first(stay.kind.in_the_end) is not None
