"""Lease hooks: what they are told, what they answer, what is remembered, and how their failures read."""

import json
import sys
import time

import pytest

from agents.node.leases import HookOutcome, LeaseBook, run_start_hook, run_stop_hook
from agents.node.policy import HookRule
from agents.node.processes import lease_of_process
from agents.node.state import StateFolder
from schemas.nodes import LeaseStart, LeaseStop

LEASE = LeaseStart(
    lease_id="lease-1",
    position_ids=(7, 8),
    contract="H100SXM80.CNE.F-26112213",
    gpu_uuids=("GPU-00000001", "GPU-00000002"),
    starts_ms=1000,
    ends_ms=2000,
    access_reference="ssh-ed25519 AAAA",
)
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
            "print(json.dumps({'endpoint': json.dumps(told), 'credential': json.dumps(lease)}))\n"
        ),
        LEASE,
    )
    told = {name: value for name, value in json.loads(outcome.endpoint).items() if "FAKE" not in name}
    assert (outcome.ok, outcome.detail) == (True, "")
    assert json.loads(outcome.credential) == LEASE.model_dump(mode="json")
    assert told == {
        "HOURBOOK_ACTION": "start",
        "HOURBOOK_LEASE_ID": "lease-1",
        "HOURBOOK_CONTRACT": "H100SXM80.CNE.F-26112213",
        "HOURBOOK_GPU_UUIDS": "GPU-00000001,GPU-00000002",
        "HOURBOOK_STARTS_MS": "1000",
        "HOURBOOK_ENDS_MS": "2000",
        "HOURBOOK_ACCESS_REFERENCE": "ssh-ed25519 AAAA",
    }


@pytest.mark.parametrize(
    "code, detail",
    [
        ("import sys; sys.exit('no image')", "exit status 1: no image"),
        ("pass", "the start hook printed no endpoint and credential"),
        ("print('{\"endpoint\": \"a\"}')", "the start hook printed no endpoint and credential"),
        ("print('[]')", "the start hook printed no endpoint and credential"),
    ],
)
async def test_a_start_hook_that_fails_says_why(code, detail):
    assert await run_start_hook(hook(code), LEASE) == HookOutcome(False, detail=detail)


async def test_a_hook_that_hangs_is_ended_with_all_that_it_started():
    started = time.monotonic()
    outcome = await run_start_hook(hook("import os, time; os.system('sleep 30')", timeout_s=1), LEASE)
    assert outcome == HookOutcome(False, detail="the hook took longer than 1 s")
    assert time.monotonic() - started < 10


async def test_a_hook_that_cannot_be_started_says_so():
    rule = HookRule(start=("/nowhere/hook",), stop=("/nowhere/hook",))
    outcome = await run_start_hook(rule, LEASE)
    assert (outcome.ok, "could not be started" in outcome.detail) == (False, True)


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
    assert book.may_open(sharing)


def test_old_leases_are_forgotten_and_live_ones_never(tmp_path):
    book = LeaseBook(StateFolder(tmp_path))
    for name in ("closed", "live"):
        book.begin(LEASE.model_copy(update={"lease_id": name}))
        book.opened(name, HookOutcome(True))
    book.closed("closed", HookOutcome(True))
    book.forget_closed_before(ends_ms=2001)
    assert (book.start_of("closed"), book.live()) == (None, ("live",))


def test_a_process_belongs_to_the_lease_in_its_environment(tmp_path):
    for pid, environment in ((1, b"A=1\0HOURBOOK_LEASE_ID=lease-1\0"), (2, b"HOME=/\0"), (3, b"HOURBOOK_LEASE_ID=\0")):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "environ").write_bytes(environment)
    assert [lease_of_process(pid, tmp_path) for pid in (1, 2, 3, 4)] == ["lease-1", None, None, None]
