"""Sweeps: which group's time has come, who is chosen, and how often an hour that is."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import pytest

from services.delivery.settings import HOUR_MS, Settings
from services.delivery.store import Node
from services.delivery.sweeps import Idle, Sweeps, whole_sweeps

NODE = Node(
    "node-1", "ops", "CNE", "H100SXM80", "", True, "boot-1", "T1", "active", "", ("GPU-00000001",), 0, HOUR_MS
)  # fmt: skip


def idle(number: int, account: str = "ops", gpus: int = 1, **changes: object) -> Idle:
    node = replace(NODE, node_id=f"node-{number}", account=account, **changes)
    return Idle(node, tuple(f"GPU-{number:04x}{each:04x}" for each in range(gpus)))


def sweeps(**settings: object) -> Sweeps:
    return Sweeps(Settings(**settings), None, None, None, None, None)


def test_each_gpu_is_challenged_one_to_four_times_an_hour_at_times_that_differ():
    swept, members, times = sweeps(), [idle(number) for number in range(4)], []
    counts = dict.fromkeys([each.node.node_id for each in members], 0)
    for minute in range(100 * 60):
        due = swept._due(members, minute * 60_000)
        chosen = {each.node.node_id for group in due for each in swept._choose(group, members)}
        times += [minute] if due else []
        for node_id in chosen:
            counts[node_id] += 1
    assert all(100 <= count <= 400 for count in counts.values()), counts
    assert len({later - earlier for earlier, later in itertools.pairwise(times)}) > 10


def test_an_operator_is_swept_whole_and_a_grade_in_a_hub_by_a_random_half():
    """Holds [D-33]"""
    swept, members = sweeps(), [idle(number, f"ops-{number % 2}") for number in range(9)]
    of_one = swept._choose(("account", "ops-1"), members)
    assert {each.node.account for each in of_one} == {"ops-1"}
    assert len(of_one) == 4
    halves = [
        frozenset(e.node.node_id for e in swept._choose(("grade", "H100SXM80", "CNE"), members)) for _ in range(20)
    ]
    assert {len(half) for half in halves} == {5}
    assert len(set(halves)) > 1


def test_a_sweep_is_bounded_by_what_can_be_verified_and_takes_whole_nodes():
    swept = sweeps(sweep_gpus_max=20)
    taken = swept._within_bound([idle(number, gpus=8) for number in range(5)])
    assert [len(each.gpus) for each in taken] == [8, 8]
    assert len(swept._within_bound([idle(1, gpus=64)])) == 1


def test_pauses_scale_with_the_period_and_have_a_floor():
    settings = Settings(idle_challenge_ms_floor=60_000)
    assert settings.idle_pause_ms(HOUR_MS) == (1_800_000, 3_600_000)
    assert settings.idle_pause_ms(HOUR_MS // 10) == (180_000, 360_000)
    assert settings.idle_pause_ms(6_000) == (60_000, 120_000)


def test_a_group_that_is_gone_is_forgotten_with_its_time_and_a_new_one_is_not_swept_at_sight():
    swept = sweeps()
    assert swept._due([idle(1)], 0) == set()
    assert set(swept._next_ms) == {("account", "ops"), ("grade", "H100SXM80", "CNE")}
    swept._due([idle(2, "eve")], 1)
    assert ("account", "ops") in swept._next_ms
    swept._due([idle(2, "eve")], HOUR_MS)
    assert ("account", "ops") not in swept._next_ms


def test_a_group_that_is_busy_when_its_time_comes_is_swept_as_soon_as_it_is_not():
    swept, busy = sweeps(), replace(idle(1), is_busy=True)
    swept._due([idle(1)], 0)
    assert [swept._due([busy], HOUR_MS), swept._due([idle(1)], HOUR_MS + 1)] == [set(), set(idle(1).groups)]
    assert swept._choose(("account", "ops"), [busy, idle(2)]) == [idle(2)]


def test_who_comes_back_is_asked_with_all_idle_gpus_of_his_operator_and_never_with_half_of_a_grade():
    swept, back = sweeps(sweep_gpus_max=2), replace(idle(1), is_back=True)
    members = [back, *(idle(number) for number in range(2, 6)), idle(6, "eve")]
    assert swept._choose(("account", "ops"), members) == members[:5]
    assert back not in swept._choose(("grade", "H100SXM80", "CNE"), members)
    assert all(back in swept._within_bound(list(members)) for _ in range(20))
    assert swept._due([back], 0) == swept._due([back], HOUR_MS) == set()


def test_who_comes_back_is_asked_soon_and_then_after_pauses_that_double_up_to_an_idle_nodes_own():
    swept, back = sweeps(), replace(idle(1), is_back=True)
    times = [second for second in range(0, 3 * 3_600, 10) if swept._may_come_back(back, 1_000 * second)]
    assert times == [10, 30, 70, 150, 310, 630, 1_270, 2_550, 4_350, 6_150, 7_950, 9_750]
    others = (idle(1), replace(back, is_busy=True))
    assert not any(sweeps()._may_come_back(each, 1_000 * second) for each in others for second in range(60))


def test_a_sweep_is_whole_for_an_operator_all_of_whose_idle_nodes_are_in_it():
    nodes = [
        idle(1),
        idle(2),
        idle(3, "busy"),
        replace(idle(4, "busy"), is_busy=True),
        idle(5, "half"),
        idle(6, "half"),
    ]
    assert list(whole_sweeps(nodes, {"node-1", "node-2", "node-3", "node-5"})) == ["ops"]


@pytest.mark.parametrize(
    ("layers_off", "asked"), [("", ["node-1", "node-2"]), ("simultaneity", [])], ids=["as a rule", "without the layer"]
)
async def test_beside_a_shoppers_proof_all_idle_gpus_of_that_operator_are_asked(layers_off: str, asked: list[str]):
    class Watched(Sweeps):
        async def _to_ask(self, store, time_ms: int) -> list[Idle]:
            return [idle(1), idle(2), idle(3, "eve")]

        async def _sweep(self, chosen: list[Idle], time_ms: int) -> None:
            swept.extend(sorted(each.node.node_id for each in chosen))

    swept: list[str] = []
    effects = SimpleNamespace(pool=None)
    await Watched(Settings(proof_layers_off=layers_off), effects, None, None, None, None).sweep_beside("ops")
    assert swept == asked
