"""A round takes down what it does to a machine, and leaves the machine in order."""

from pathlib import Path

import pytest

from tests.long_run import round as rounds
from tests.long_run.machine import Step, now_ms
from tests.long_run.plans import Accident, Plan
from tests.long_run.round import Round, Sold
from tests.long_run.truth import Moment, Recall

OF_NO_GPU = ("clock", "late_maintenance")
UUIDS = ("g0", "g1", "g2")


class PlayedMachine:
    """Remembers what was done to it."""

    label = "site-00"

    def __init__(self, folder: Path, steps: list[Step]) -> None:
        self.folder, self.network, self.uuids = folder, self, UUIDS
        self.deeds: list[tuple] = []
        self._steps = steps

    def steps(self) -> list[Step]:
        return self._steps

    def start_stranger(self, lease_id: str | None) -> int:
        self.deeds.append(("start_stranger", lease_id))
        return 77

    def declare_maintenance(self, window: tuple[int, int]) -> bool:
        self.deeds.append(("declare_maintenance", window))
        return False

    def recall(self, position_id: int, gpus: tuple[str, ...], noticed: bool, period_ms: int) -> Recall | None:
        self.deeds.append(("recall", position_id, gpus, noticed, period_ms))
        return Recall(Moment(1, 2), noticed, frozenset(gpus))

    def __getattr__(self, name: str):
        def deed(*arguments: object) -> Moment:
            self.deeds.append((name, *arguments))
            return Moment(now_ms(), now_ms() + 1)

        return deed


@pytest.fixture
def brief(monkeypatch):
    monkeypatch.setattr(rounds, "HEAL_AFTER_MS", 200)
    monkeypatch.setattr(rounds, "POLL_S", 0.01)


class PlayedMeter:
    """Stands for a renter's meter, which is up at once."""

    is_well, is_stopped = True, False

    def __init__(self, machine: PlayedMachine, lease_id: str, buyer: None, denies: bool) -> None:
        self._machine = machine

    def start(self) -> bool:
        return True

    def deny(self, gpu: int) -> Moment:
        return self._machine.deny(gpu)

    def stop(self) -> None:
        self._machine.deeds.append(("stop_meter",))


def perform(
    tmp_path: Path, renter: str, *accidents: Accident, hook: str = "good", meter: str = "none"
) -> tuple[Round, PlayedMachine]:
    start_ms = now_ms()
    sold = Sold(7, 3, 10_000_000, None, renter, meter)
    steps = [Step(start_ms - 50, "start", stage, "lease-7", 42, UUIDS) for stage in ("began", "ended")]
    machine = PlayedMachine(tmp_path, steps if hook == "good" else steps[:1])
    plan = Plan(0, (3,), accidents, hook, 4.0, (renter,), False, (meter,))
    played = Round(machine, plan, "H100SXM80.CNE.F-261130063000", start_ms, start_ms + 600, (sold,))
    played.prepare()
    played.perform()
    assert played.failure is None
    return played, machine


@pytest.mark.parametrize(
    ("kind", "trouble", "deeds"),
    [
        ("kill", "silent", ["kill", "start_again"]),
        ("freeze", "silent", ["freeze", "thaw"]),
        ("reboot", "reboot", ["power_off", "start_again"]),
        ("dark", "dark", ["cut", "join"]),
        ("shut", "shut", ["shut_door", "open_door"]),
    ],
)
def test_an_accident_of_the_node_lasts_until_its_end(tmp_path, brief, kind, trouble, deeds):
    played, machine = perform(tmp_path, "idle", Accident(kind, 0.2, 0.2))
    (found,) = played.troubles
    assert (found.kind, found.gpus) == (trouble, frozenset())
    assert 150 <= found.ended.first_ms - found.began.last_ms <= 5_000
    assert [deed[0] for deed in machine.deeds if deed[0] in deeds] == deeds


def test_a_lost_gpu_stays_lost_until_the_machine_boots_after_the_end(tmp_path, brief):
    played, machine = perform(tmp_path, "idle", Accident("lost", 0.2, gpu=1, number=79))
    (found,) = played.troubles
    assert (found.kind, found.gpus) == ("unfit", {"g1"})
    assert found.ended.first_ms >= played.end_ms
    assert ("show", 1, "xid 79", "lost 1") in machine.deeds
    assert [deed[0] for deed in machine.deeds][-2:] == ["power_off", "start_again"]


def test_a_reboot_ends_a_fault_and_the_renters_work(tmp_path, brief):
    played, _ = perform(tmp_path, "works", Accident("owner", 0.1, gpu=0), Accident("reboot", 0.3, 0.1))
    fault = next(trouble for trouble in played.troubles if trouble.kind == "unfit")
    assert fault.ended.last_ms < played.end_ms + 200
    assert {presence.ended.first_ms < played.end_ms for presence in played.presences} == {True}


@pytest.mark.parametrize("kind", ["harmless_xid", "degrading_xid", "contained_xid", "owners_display", *OF_NO_GPU])
def test_what_is_harmless_is_no_trouble(tmp_path, brief, kind):
    gpu = None if kind in OF_NO_GPU else 0
    assert perform(tmp_path, "idle", Accident(kind, 0.2, gpu=gpu, number=13))[0].troubles == []


def test_the_owners_work_may_claim_to_be_the_leases(tmp_path, brief):
    _, machine = perform(tmp_path, "works", Accident("owner_with_the_lease", 0.2, gpu=2))
    assert ("start_stranger", "lease-7") in machine.deeds
    assert ("add_process", 2, 77) in machine.deeds


@pytest.mark.parametrize(
    ("renter", "there_at_the_end"),
    [("works", True), ("without_variable", True), ("outlives", True), ("daemon", True), ("leaves", False)],
)
def test_a_renter_is_there_until_he_leaves(tmp_path, brief, renter, there_at_the_end):
    played, _ = perform(tmp_path, renter)
    assert {presence.gpus for presence in played.presences} == {frozenset({uuid}) for uuid in UUIDS}
    assert {presence.ended.first_ms >= played.end_ms for presence in played.presences} == {there_at_the_end}
    assert (tmp_path / "renter.lease-7").read_text() == f"{renter}\n"


def test_a_hook_that_fails_lets_nobody_in(tmp_path, brief):
    played, machine = perform(tmp_path, "works", hook="exits")
    story = played.story_of(played.sold[0], UUIDS, [])
    assert story.opened is None and story.began_opening is not None
    assert machine.deeds[0] == ("set_hooks", "exits", "good")


def test_a_stop_hook_that_fails_follows_a_good_start(tmp_path, brief):
    _, machine = perform(tmp_path, "works", hook="stop_hangs")
    assert machine.deeds[0] == ("set_hooks", "good", "hangs")


@pytest.mark.parametrize(("gpu", "gpus"), [(None, ()), (2, ("g2",))])
def test_the_operator_takes_back_a_gpu_or_a_whole_position(tmp_path, brief, gpu, gpus):
    played, machine = perform(tmp_path, "works", Accident("recall", 0.5, gpu=gpu, number=1))
    assert ("recall", 7, gpus, True, 600) in machine.deeds
    assert played.story_of(played.sold[0], UUIDS, []).recalls == (Recall(Moment(1, 2), True, frozenset(gpus)),)


def test_a_renters_meter_denies_a_gpu_once_it_is_up_and_ends_with_the_round(tmp_path, brief, monkeypatch):
    monkeypatch.setattr(rounds, "RentersMeter", PlayedMeter)
    monkeypatch.setattr(rounds, "METER_UP_MS", 100)
    played, machine = perform(tmp_path, "works", meter="denies")
    story = played.story_of(played.sold[0], UUIDS, [])
    (complaint,) = story.complaints
    assert story.metered and complaint.gpus == {"g0"}
    assert played.start_ms + 300 <= complaint.began.first_ms < played.end_ms < complaint.ended.first_ms
    assert [deed for deed in machine.deeds if deed[0] in ("deny", "stop_meter")] == [("deny", 0), ("stop_meter",)]
