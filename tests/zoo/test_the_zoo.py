"""Every cheat is caught by the layer that its class names, and by no other: with that layer off it sells.

CI tier (`slow`), two minutes. Each cheat is a process that speaks to a real delivery service.
"""

from collections import defaultdict
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from unittest.mock import patch

import pytest

from services.delivery.reports import Chain, TimeInflated, WindowsOverlap, extend_chain
from services.delivery.settings import PROOF_LAYERS
from tests.integration.delivery.conftest import Venue
from tests.zoo.cheats import CHEATS, ZOO
from tests.zoo.keeper import keep
from tests.zoo.program import Program

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
STAY_S, OFF_STAY_S = 40, 8
LONGER_STAY_S = {"simultaneity": 25}  # in which each of two nodes is asked alone, twice


def test_the_zoo_has_thirty_cheats_and_each_names_its_layer():
    assert len(CHEATS) >= 30
    assert [name for name, kind in CHEATS.items() if not kind.caught_by] == []


async def test_every_cheat_is_caught_by_its_layer_and_an_honest_node_by_none(zoo: Venue, record_property):
    async with zoo.delivery():
        seen = await keep(zoo, [Program, *CHEATS.values()], 1, STAY_S)
    table = {name: (CHEATS[name].caught_by, seen[name].first(CHEATS[name].sign)) for name in CHEATS}
    for name, (layer, seconds) in table.items():
        print(f"{name:24} {layer:14} {'not caught' if seconds is None else f'{seconds:.1f} s'}")
        record_property(name, (layer, seconds))
    assert {
        name: (seen[name].signs, seen[name].complaint) for name, (_, seconds) in table.items() if seconds is None
    } == {}
    assert seen["Program"].signs[-1:] == ["active challenge_passed"], seen["Program"]


async def test_no_cheat_is_caught_when_its_layer_is_off(zoo: Venue):
    by_layer: dict[str, list[type[Program]]] = defaultdict(list)
    for kind in CHEATS.values():
        if not kind.held_by:
            by_layer[kind.caught_by].append(kind)
    caught, number = {}, 500
    for layer, kinds in by_layer.items():
        settings = zoo.settings
        with switched_off(layer):
            zoo.settings = settings.model_copy(update={"proof_layers_off": layer if layer in PROOF_LAYERS else ""})
            async with zoo.delivery():
                seen = await keep(zoo, kinds, number, LONGER_STAY_S.get(layer, OFF_STAY_S))
        zoo.settings, number = settings, number + len(kinds)
        caught |= {name: each.words for name, each in seen.items() if each.first(ZOO[name].sign) is not None}
    assert caught == {}


@contextmanager
def switched_off(layer: str):
    """Takes a layer out of the service where no setting does."""
    with ExitStack() as stack:
        for place, stand_in in STAND_INS.get(layer, {}).items():
            stack.enter_context(patch(f"services.delivery.{place}", stand_in))
        yield


def extend_anyhow(chain: Chain, report, digest, now_ms, limits) -> Chain:
    """Appends a report whatever its window says."""
    try:
        return extend_chain(chain, report, digest, now_ms, limits)
    except (WindowsOverlap, TimeInflated):
        return replace(chain, seq=report.seq, hash=digest, mono_end_ms=report.mono_end_ms, received_ms=now_ms)


STAND_INS = {
    "plausibility": {"edge.check_plausible": lambda *about: None},
    "nonce": {"intake.check_nonce": lambda *about: None},
    "chain": {"intake.place_report": lambda *about: "next"},
    "windows": {"intake.extend_chain": extend_anyhow},
    "readings": {"intake.check_named_once": lambda names: None},
}
