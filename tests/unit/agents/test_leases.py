"""Lease hooks: what they are told, what they answer, what is remembered, and how their failures read."""

import json
import sys

import pytest

from agents.node.hooks.answers import UNREADABLE, HookOutcome
from agents.node.leases import LeaseBook, run_start_hook, run_stop_hook
from agents.node.policy import HookRule
from agents.node.processes import Evidence
from agents.node.state import StateFolder
from schemas.nodes import GpuProcess, LeaseStart, LeaseStop
from tests.fixtures.delivery import reading

LEASE = LeaseStart(
    lease_id="lease-1",
    position_ids=(7, 8),
    contract="H100SXM80.CNE.F-26112213",
    gpu_uuids=("GPU-00000001", "GPU-00000002"),
    starts_ms=1000,
    ends_ms=2000,
    access_reference="ssh-ed25519 AAAA",
)
NOT_TOLD = {"HOURBOOK_FAKE_NVML", "HOURBOOK_HOOK_RUN"}
STOP = LeaseStop(lease_id="lease-1", reason="ended")


def hook(code: str, timeout_s: int = 20) -> HookRule:
    return HookRule(start=(sys.executable, "-c", code), stop=(sys.executable, "-c", code), timeout_s=timeout_s)


async def test_the_start_hook_gets_the_lease_twice_and_answers_on_its_last_line():
    outcome = await run_start_hook(
        hook(
            "import json, os, sys\n"
            "lease = json.load(sys.stdin)\n"
            "print('starting a container')\n"
            "told = {name: value for name, value in os.environ.items() if name.startswith('HOURBOOK_')}\n"
            "print(json.dumps({'endpoint': 'ssh://a', 'credential': json.dumps([told, lease])}))\n"
        ),
        LEASE,
    )
    assert (outcome.ok, outcome.detail) == (True, "")
    variables, lease = json.loads(outcome.credential)
    told = {name: value for name, value in variables.items() if name not in NOT_TOLD}
    assert lease == LEASE.model_dump(mode="json")
    assert told == {
        "HOURBOOK_ACTION": "start",
        "HOURBOOK_NODE": "",
        "HOURBOOK_LEASE_ID": "lease-1",
        "HOURBOOK_CONTRACT": "H100SXM80.CNE.F-26112213",
        "HOURBOOK_GPU_UUIDS": "GPU-00000001,GPU-00000002",
        "HOURBOOK_STARTS_MS": "1000",
        "HOURBOOK_ENDS_MS": "2000",
        "HOURBOOK_ACCESS_REFERENCE": "ssh-ed25519 AAAA",
    }


async def test_the_stop_hook_needs_only_its_exit_status():
    assert await run_stop_hook(hook("pass"), STOP, LEASE) == HookOutcome(True)
    assert (await run_stop_hook(hook("raise SystemExit(3)"), STOP, None)).detail == "exit status 3: "


def test_the_book_remembers_leases_over_a_restart_and_forgets_the_credential_when_one_is_closed(tmp_path):
    book = LeaseBook(StateFolder(tmp_path))
    book.begin(LEASE)
    assert (book.live(), book.leased_gpus()) == ((), frozenset(LEASE.gpu_uuids))
    book.opened("lease-1", HookOutcome(True, "ssh://a", "secret"))
    again = LeaseBook(StateFolder(tmp_path))
    assert (again.live(), again.start_of("lease-1")) == (("lease-1",), LEASE)
    assert again.outcome("lease-1", "start") == HookOutcome(True, "ssh://a", "secret")
    again.closed("lease-1", HookOutcome(True))
    assert (again.live(), again.leased_gpus()) == ((), frozenset())
    assert "secret" not in (tmp_path / "leases.json").read_text()


def test_a_lease_does_not_open_while_another_has_one_of_its_gpus(tmp_path):
    book = LeaseBook(StateFolder(tmp_path))
    sharing = LEASE.model_copy(update={"lease_id": "lease-2", "gpu_uuids": ("GPU-00000002",)})
    apart = LEASE.model_copy(update={"lease_id": "lease-3", "gpu_uuids": ("GPU-00000003",)})
    book.begin(LEASE)
    assert (book.may_open(LEASE), book.may_open(sharing), book.may_open(apart)) == (True, False, True)
    book.opened("lease-1", HookOutcome(False, detail="no image"))
    assert not book.may_open(sharing), "what a failed start left behind goes first"
    book.closed("lease-1", HookOutcome(True))
    book.sweep(tuple(reading(uuid) for uuid in LEASE.gpu_uuids), 1024)
    assert book.may_open(sharing)
    assert book.outcome("lease-1", "start") == HookOutcome(False, detail="no image"), "the venue may ask again"


def test_no_buyer_gets_a_gpu_before_it_was_seen_empty_and_its_last_ones_end_has_worked(tmp_path):
    book = LeaseBook(StateFolder(tmp_path))
    later = LEASE.model_copy(update={"lease_id": "lease-2", "gpu_uuids": ("GPU-00000002",)})
    book.begin(LEASE)
    book.opened("lease-1", HookOutcome(True, "ssh://a"))
    book.closed("lease-1", HookOutcome(False, detail="exit status 1: "))
    empty = tuple(reading(uuid) for uuid in LEASE.gpu_uuids)
    book.sweep(empty, 1024)
    assert (book.may_open(later), book.unclean_gpus()) == (False, frozenset(LEASE.gpu_uuids))
    again = LeaseBook(StateFolder(tmp_path))
    assert (again.may_open(later), again.stop_failures()) == (False, {"lease-1": 1})
    again.closed("lease-1", HookOutcome(True))
    left = GpuProcess(pid=9, memory_mib=5, owner="foreign")
    for shown in (
        reading("GPU-00000002", processes=(left,)),
        reading("GPU-00000002", memory_used_mib=1_025),
        reading("GPU-00000002", present=False, healthy=False),
    ):
        again.sweep((empty[0], shown), 1024)
        assert not again.may_open(later)
    again.sweep(empty, 1024)
    assert (again.may_open(later), again.unclean_gpus()) == (True, frozenset())


def test_a_gpu_that_was_lost_keeps_none_of_its_sisters_from_the_next_buyer(tmp_path):
    book = LeaseBook(StateFolder(tmp_path))
    book.begin(LEASE)
    book.opened("lease-1", HookOutcome(True, "ssh://a"))
    book.closed("lease-1", HookOutcome(True))
    first, second = LEASE.gpu_uuids
    book.sweep((reading(first), reading(second, present=False, healthy=False)), 1024)
    again = LeaseBook(StateFolder(tmp_path))
    assert (book.unclean_gpus(), again.unclean_gpus()) == (frozenset({second}), frozenset({second}))
    later = LEASE.model_copy(update={"lease_id": "lease-2", "gpu_uuids": (first,)})
    assert again.may_open(later) and not again.may_open(later.model_copy(update={"gpu_uuids": (second,)}))


def test_old_leases_are_forgotten_and_live_ones_never(tmp_path):
    book = LeaseBook(StateFolder(tmp_path))
    for name in ("closed", "live"):
        book.begin(LEASE.model_copy(update={"lease_id": name}))
        book.opened(name, HookOutcome(True))
    book.closed("closed", HookOutcome(True))
    book.forget_closed_before(ends_ms=2001)
    assert book.start_of("closed") is not None, "its GPUs were not seen empty since"
    book.sweep((), 1024)
    book.forget_closed_before(ends_ms=2001)
    assert (book.start_of("closed"), book.live()) == (None, ("live",))


def test_evidence_and_host_key_are_kept_over_a_restart(tmp_path):
    book = LeaseBook(StateFolder(tmp_path))
    book.begin(LEASE)
    evidence = Evidence(container_id="0123456789ab", cgroup="/a", uid=1001, ancestors=((7, 8),))
    outcome = HookOutcome(True, "ssh://a", host_key="ssh-ed25519 AAAA", evidence=evidence)
    book.opened("lease-1", outcome)
    again = LeaseBook(StateFolder(tmp_path))
    assert again.outcome("lease-1", "start") == outcome
    assert [lease.evidence for lease in again.live_leases()] == [evidence]


@pytest.mark.parametrize(
    "stored",
    [
        {"ok": True, "endpoint": "a" * 1_100, "credential": "", "detail": ""},  # H06
        {"ok": True, "endpoint": "a", "credential": "c" * 9_000, "detail": ""},  # H07
        {"ok": True, "endpoint": "a\u0000b", "credential": "", "detail": ""},
        {"ok": True, "endpoint": 7},
        {"endpoint": "a"},
    ],
)
def test_an_answer_that_an_older_agent_kept_and_nobody_may_send_is_a_failed_lease(tmp_path, stored):
    live = {"state": "live", "start": LEASE.model_dump(mode="json"), "start_outcome": stored}
    StateFolder(tmp_path).write("leases", {"lease-1": live})
    book = LeaseBook(StateFolder(tmp_path))
    assert book.outcome("lease-1", "start") == HookOutcome(False, detail=UNREADABLE)
    assert (book.live(), book.leased_gpus()) == ((), frozenset())


def test_entries_that_are_no_leases_are_forgotten_and_the_others_stay(tmp_path):
    good = {"state": "live", "start": LEASE.model_dump(mode="json"), "start_outcome": {"ok": True, "endpoint": "a"}}
    odd = {"a": 7, "b": None, "c": {"state": "sold"}, "d": {"state": "live", "start": {"gpu_uuids": ["GPU-00000009"]}}}
    StateFolder(tmp_path).write("leases", odd | {"lease-1": good})
    book = LeaseBook(StateFolder(tmp_path))
    assert set(book.live()) == {"d", "lease-1"}
    assert book.leased_gpus() == {*LEASE.gpu_uuids, "GPU-00000009"}
    assert book.start_of("d") is None
