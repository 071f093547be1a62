"""The node's leases at work: what failing hooks entail for the lease, its GPUs and the next offers (cases H)."""

import asyncio
import json
import os

import pytest

from agents.node.clock import VenueClock, mono_ms
from agents.node.hooks.record import StartRecord
from agents.node.identity import Identity
from agents.node.leases import LeaseBook
from agents.node.lessor import LEFT_OPEN_MS, Lessor
from agents.node.policy import HookRule
from agents.node.state import StateFolder
from schemas.nodes import GpuProcess, LeaseStop
from tests.fixtures.delivery import reading
from tests.unit.agents.test_leases import LEASE

ANSWER = '{"endpoint": "ssh://a"}'
OTHER = LEASE.model_copy(update={"lease_id": "lease-2", "gpu_uuids": ("GPU-00000003",)})


class Policy:
    """A policy that the test edits."""

    def __init__(self, start: str = f"echo '{ANSWER}'", stop: str = "true", **terms: int) -> None:
        self.current = self
        self.edit(start, stop, **terms)

    def edit(self, start: str = f"echo '{ANSWER}'", stop: str = "true", **terms: int) -> None:
        self.hooks = HookRule(start=("sh", "-c", start), stop=("sh", "-c", stop), timeout_s=5, **terms)


class Venue:
    """Remembers the answers; `error` is raised instead where there is one."""

    def __init__(self) -> None:
        self.answers, self.error = [], None
        self.clock = VenueClock()

    async def answer_lease(self, result) -> None:
        if self.error:
            raise self.error
        self.answers.append((result.lease_id, result.action, result.ok))


def lessor_of(folder, policy: Policy, venue: Venue) -> Lessor:
    state = StateFolder(folder)
    lessor = Lessor(Identity.load_or_make(state), LeaseBook(state), policy, venue, state)
    lessor.node_id = "node-1"
    return lessor


async def go(work: list) -> None:
    async with asyncio.TaskGroup() as group:
        for each in work:
            group.create_task(each)


def stop(lease_id: str = "lease-1") -> LeaseStop:
    return LeaseStop(lease_id=lease_id, reason="ended")


async def clean_up(lessor: Lessor) -> None:
    """Let the agent's next report come: it runs what is due, and sees the GPUs empty."""
    await go(lessor.due())
    lessor.observe(tuple(reading(uuid) for uuid in LEASE.gpu_uuids))


async def test_whatever_goes_wrong_with_one_lease_leaves_the_others_be(tmp_path, caplog):
    venue = Venue()
    lessor = lessor_of(tmp_path, Policy(), venue)
    opened = lessor.book.opened
    lessor.book.opened = lambda lease_id, outcome: 1 / 0 if lease_id == "lease-1" else opened(lease_id, outcome)
    await go(lessor.follow((LEASE, OTHER), ()))
    assert venue.answers == [("lease-2", "start", True)]
    assert "lease lease-1: ZeroDivisionError: division by zero" in caplog.text
    lessor.book.opened = opened
    await go(lessor.follow((LEASE,), ()))
    assert venue.answers[-1] == ("lease-1", "start", True)


async def test_after_two_failed_starts_in_a_row_nothing_is_offered_until_the_hook_changes(tmp_path, caplog):  # H12
    policy, venue = Policy(start="echo no image >&2; exit 1"), Venue()
    lessor = lessor_of(tmp_path, policy, venue)
    offers = []
    for name in ("lease-1", "lease-2"):
        await go(lessor.follow((LEASE.model_copy(update={"lease_id": name}),), ()))
        offers.append(lessor.may_offer())
        await clean_up(lessor)
    assert offers == [True, False]
    assert "nothing is offered: the start hook failed 2 times in a row (exit status 1: no image)" in caplog.text
    assert not lessor_of(tmp_path, policy, venue).may_offer(), "a restart mends nothing"
    policy.edit()
    assert lessor.may_offer()
    await go(lessor.follow((LEASE.model_copy(update={"lease_id": "lease-3"}),), ()))
    assert (venue.answers[-1], lessor.may_offer()) == (("lease-3", "start", True), True)


def test_the_pause_grows_with_every_failure_and_ends_with_the_first_success(tmp_path):
    now_s, rule = 1_000.0, Policy(retry_s=300).hooks
    record = StartRecord(StateFolder(tmp_path), lambda: now_s)
    record.note(False, rule, "")
    record.note(True, rule, "")
    waits = []
    for _ in range(5):
        record.note(False, rule, "")
        began_s = now_s
        while not record.may_offer(rule):
            now_s += 100
        waits.append(now_s - began_s)
    assert waits == [0, 300, 600, 1200, 2400]
    record.note(True, rule, "")
    assert record.may_offer(rule)


def test_a_hooks_file_that_was_edited_is_given_another_try(tmp_path):
    hook = tmp_path / "hook"
    hook.write_text("#!/bin/sh\nexit 1\n")
    rule = HookRule(start=(str(hook),), stop=(str(hook),))
    record = StartRecord(StateFolder(tmp_path))
    record.note(False, rule, "")
    record.note(False, rule, "")
    assert not record.may_offer(rule)
    hook.write_text("#!/bin/sh\necho mended\n")
    assert record.may_offer(rule)


@pytest.mark.parametrize("kept", ["[]", '{"failures": "many", "until_s": [], "hook": 7}', '{"until_s": 1e18}'])
def test_an_odd_record_of_the_hooks_stops_nobody(tmp_path, kept):
    (tmp_path / "hooks.json").write_text(kept)
    assert StartRecord(StateFolder(tmp_path)).may_offer(Policy().hooks)


async def test_a_gpu_whose_stop_hook_failed_is_not_healthy_until_a_stop_succeeds(tmp_path, caplog):
    policy, venue = Policy(stop="exit 4", stop_retry_s=1), Venue()
    lessor = lessor_of(tmp_path, policy, venue)
    shown = tuple(reading(uuid) for uuid in LEASE.gpu_uuids)
    await go(lessor.follow((LEASE,), ()))
    assert lessor.observe(shown) == shown
    await go(lessor.follow((), (stop(),)))
    assert venue.answers[-1] == ("lease-1", "stop", False)
    assert [each.healthy for each in lessor.observe(shown)] == [False, False]
    assert not lessor.follow((LEASE.model_copy(update={"lease_id": "lease-9"}),), ())
    assert lessor.due() == []
    policy.edit(stop_retry_s=1)
    await asyncio.sleep(1.1)
    await go(lessor.due())
    assert lessor.observe(shown) == shown
    assert "GPU GPU-00000001 is not offered" in caplog.text
    (again,) = lessor.follow((LEASE.model_copy(update={"lease_id": "lease-9"}),), ())
    await go([again])
    assert venue.answers[-1] == ("lease-9", "start", True)


async def test_the_window_in_which_a_lease_ends_is_still_its_own(tmp_path):
    lessor = lessor_of(tmp_path, Policy(start=f"sleep 30 & echo '{ANSWER}'"), Venue())
    await go(lessor.follow((LEASE,), ()))
    ((pid, _),) = lessor.book.live_leases()[0].evidence.ancestors
    shown = reading("GPU-00000001", processes=(GpuProcess(pid=pid, memory_mib=7),))
    closing = asyncio.create_task(go(lessor.follow((), (stop(),))))
    await asyncio.sleep(0.1)
    (labelled,) = lessor.observe((shown,))
    assert (labelled.healthy, labelled.processes[0].owner) == (True, "lease")
    await closing
    (labelled,) = lessor.observe((shown,))
    assert (labelled.healthy, labelled.processes[0].owner) == (False, "foreign"), "the next one's time has begun"
    os.kill(pid, 9)


async def test_a_lease_whose_time_passed_while_it_opened_is_closed_without_being_asked(tmp_path):
    lessor = lessor_of(tmp_path, Policy(), Venue())
    lessor.book.begin(LEASE)
    assert lessor.book.leased_gpus() == frozenset(LEASE.gpu_uuids)
    await go(lessor.due())
    assert lessor.book.leased_gpus() == frozenset()


async def test_a_lease_that_a_restored_venue_knows_nothing_of_is_closed_after_its_end(tmp_path):
    venue = Venue()
    lessor = lessor_of(tmp_path, Policy(), venue)
    await go(lessor.follow((LEASE, OTHER), ()))
    lessor.note_live([OTHER.lease_id])
    found = []
    for past_ms in (0, LEFT_OPEN_MS + 1_000):
        venue.clock.observe(LEASE.ends_ms + past_ms, sent_ms=mono_ms(), received_ms=mono_ms())
        await go(lessor.due())
        found.append(lessor.book.live())
    assert found == [("lease-1", "lease-2"), ("lease-2",)]


async def test_a_lease_with_the_id_of_one_that_ended_is_opened_as_another(tmp_path):
    """A venue that was restored from a backup gives its positions' numbers, and so its leases' names, once more."""
    venue, hours = Venue(), tmp_path / "hours"
    lessor = lessor_of(tmp_path, Policy(start=f"echo $HOURBOOK_CONTRACT >> {hours}; echo '{ANSWER}'"), venue)
    later = LEASE.model_copy(update={"starts_ms": LEASE.ends_ms, "ends_ms": LEASE.ends_ms + 3_600_000})
    found = []
    for lease in (LEASE, LEASE, later, later, later):
        await go(lessor.follow((lease,), ()))
        await clean_up(lessor)
        found.append((hours.read_text().count("\n"), lessor.book.start_of("lease-1"), lessor.book.live()))
    assert found == [
        (1, LEASE, ("lease-1",)),
        (1, LEASE, ("lease-1",)),
        (1, LEASE, ()),  # the old one's buyer goes first
        (2, later, ("lease-1",)),
        (2, later, ("lease-1",)),
    ]
    assert venue.answers == [("lease-1", "start", True)] * 4


async def test_a_wall_clock_that_jumps_ahead_ends_no_lease_that_is_opening(tmp_path):
    venue = Venue()
    venue.clock.observe(LEASE.ends_ms - 10_000, sent_ms=mono_ms(), received_ms=mono_ms())
    lessor = lessor_of(tmp_path, Policy(), venue)
    lessor.book.begin(LEASE)
    assert lessor.due() == []


async def test_readings_say_whose_every_process_is(tmp_path):
    lessor = lessor_of(tmp_path, Policy(start=f"sleep 30 & echo '{ANSWER}'"), Venue())
    await go(lessor.follow((LEASE,), ()))
    kept = json.loads((tmp_path / "leases.json").read_text())["lease-1"]["start_outcome"]["evidence"]
    ((pid, _),) = kept["ancestors"]
    shown = reading("GPU-00000001", processes=(GpuProcess(pid=pid, memory_mib=7), GpuProcess(pid=1, memory_mib=9)))
    (labelled,) = lessor.observe((shown,))
    assert [(each.owner, each.lease_id) for each in labelled.processes] == [("lease", "lease-1"), ("foreign", None)]
    os.kill(pid, 9)


async def test_what_a_failed_start_left_behind_is_stopped_before_anybody_else_gets_its_gpus(tmp_path):
    left, venue = tmp_path / "stopped", Venue()
    policy = Policy(start="exit 1", stop=f"touch {left}")
    lessor = lessor_of(tmp_path / "state", policy, venue)
    later = LEASE.model_copy(update={"lease_id": "lease-2"})
    await go(lessor.follow((LEASE,), ()))
    policy.edit(stop=f"touch {left}")
    assert (venue.answers, lessor.follow((later,), ())) == ([("lease-1", "start", False)], [])
    await clean_up(lessor)
    assert left.exists()
    await go(lessor.follow((LEASE,), ()))
    assert venue.answers[-1] == ("lease-1", "start", False), "asked again, it says the same and opens nothing"
    await go(lessor.follow((later,), (stop("lease-1"),)))
    assert venue.answers[-2:] == [("lease-1", "stop", True), ("lease-2", "start", True)]


async def test_close_all_runs_the_stop_hook_of_every_lease_that_is_open_or_unclean_and_tells_the_venue(tmp_path):
    venue, policy = Venue(), Policy()
    lessor = lessor_of(tmp_path, policy, venue)
    await go(lessor.follow((LEASE, OTHER), ()))
    policy.edit(stop='echo "$HOURBOOK_LEASE_ID" >> {}; test "$HOURBOOK_LEASE_ID" = lease-2'.format(tmp_path / "ran"))
    venue.answers.clear()
    assert await lessor.close_all() == {"lease-1": "exit status 1: ", "lease-2": "closed"}
    policy.edit(stop="true")
    later = lessor_of(tmp_path, policy, venue)
    assert await later.close_all() == {"lease-1": "closed"}
    assert await later.close_all() == {}
    assert (tmp_path / "ran").read_text() == "lease-1\nlease-2\n"
    assert venue.answers == [("lease-1", "stop", False), ("lease-2", "stop", True), ("lease-1", "stop", True)]
