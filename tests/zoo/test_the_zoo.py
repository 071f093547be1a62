"""Every cheat is caught by the layer that its class names, and by no other: with that layer off it is not.

CI tier (`slow`), two minutes. Each cheat is a process that speaks to a real delivery service; those that get past
their enrolment are in `test_sold_hours.py`.
"""

from collections import defaultdict
from contextlib import nullcontext
from unittest.mock import patch

import pytest

from services.delivery.settings import PROOF_LAYERS
from tests.integration.delivery.conftest import Venue
from tests.zoo.cheats import CHEATS, ZOO
from tests.zoo.keeper import Stay, keep
from tests.zoo.market import Market
from tests.zoo.program import Program
from tests.zoo.table import show

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
STAY_S, OFF_STAY_S = 100, 8  # the first one at most: a stay ends with its sign
# Two nodes are each asked alone, twice; what an enrolment or its proof would have said comes sooner.
OTHER_STAY_S = {"simultaneity": 25, "plausibility": 4, "work": 5, "software": 6}
UNSOLD = {name: kind for name, kind in CHEATS.items() if not kind.sells}
# What the engine says to who offers a node that never proved anything.
NOT_TAKEN = {"unknown_node", "node_down", "node_not_alive"}


def test_the_zoo_has_thirty_cheats_and_each_names_its_layer():
    assert len(CHEATS) >= 30
    assert [name for name, kind in CHEATS.items() if not kind.caught_by] == []


async def test_who_is_caught_by_its_enrolment_sells_nothing_and_earns_nothing(zoo: Venue):
    async with zoo.delivery(), Market(zoo).open() as market:
        stays = [Stay(zoo, kind, number, market) for number, kind in enumerate(UNSOLD.values(), start=1)]
        await market.pay_in(account for stay in stays for account in stay.accounts)
        seen = await keep(stays, STAY_S)
    show(stays, market)
    caught = {name: (each.signs, each.complaint) for name, each in seen.items() if not each.first(ZOO[name].sign)}
    assert caught == {}
    assert [stay.account for stay in stays if not NOT_TAKEN.issuperset(market.refused[stay.account])] == []
    offers = {stay.kind.__name__: len(market.refused[stay.account]) for stay in stays}
    assert offers == dict.fromkeys(UNSOLD, 1)
    assert [market.earned[stay.account] for stay in stays] == [0] * len(UNSOLD)


async def test_no_cheat_is_caught_when_its_layer_is_off(zoo: Venue):
    by_layer: dict[str, list[type[Program]]] = defaultdict(list)
    for kind in CHEATS.values():
        if not kind.held_by and kind.caught_by in (*PROOF_LAYERS, "plausibility"):
            by_layer[kind.caught_by].append(kind)
    caught, number = {}, 500
    for layer, kinds in by_layer.items():
        settings = zoo.settings
        has_no_setting = layer not in PROOF_LAYERS
        zoo.settings = settings.model_copy(update={"proof_layers_off": "" if has_no_setting else layer})
        off = patch("services.delivery.edge.check_plausible") if has_no_setting else nullcontext()
        with off:
            async with zoo.delivery():
                stays = [Stay(zoo, kind, number + place) for place, kind in enumerate(kinds)]
                seen = await keep(stays, OTHER_STAY_S.get(layer, OFF_STAY_S), at_once=12)
        zoo.settings, number = settings, number + len(kinds)
        caught |= {name: each.words for name, each in seen.items() if each.first(ZOO[name].sign) is not None}
    assert caught == {}
