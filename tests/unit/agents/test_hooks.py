"""Hooks that misbehave: each is one failed lease with a clear reason, bounded in time and memory (cases H, P05)."""

import asyncio
import json
import os
import resource
import signal
import subprocess
import time

import pytest

from agents.node.hooks.answers import HookOutcome
from agents.node.hooks.run import OUTPUT_BYTES_MAX, run_hook
from agents.node.leases import run_start_hook, run_stop_hook
from agents.node.policy import HookRule
from agents.node.processes import LiveLease, Owners, ProcessTable
from schemas.nodes import GpuProcess
from tests.unit.agents.test_leases import LEASE, STOP, hook

ANSWER = 'print(\'{"endpoint": "ssh://a", "credential": "b"}\')'
NO_ANSWER = "the start hook's last line is not an answer: "


def shell(script: str, timeout_s: int = 5) -> HookRule:
    return HookRule(start=("sh", "-c", script), stop=("sh", "-c", script), timeout_s=timeout_s)


def answering(**members: object) -> HookRule:
    return hook(f"import json; print(json.dumps({members!r}))")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = ProcessTable().stat(pid)
    return stat is not None and b") Z " not in open(f"/proc/{pid}/stat", "rb").read()


async def becomes(program: str, pid: int) -> None:
    async with asyncio.timeout(10):
        while ProcessTable().program(pid) != program:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "case, rule, detail",
    [
        ("exits badly", hook("import sys; sys.exit('no image')"), "exit status 1: no image"),
        ("prints nothing", hook("pass"), "the start hook printed no answer"),
        ("no endpoint", answering(credential="c"), NO_ANSWER + "endpoint: Field required"),
        ("empty endpoint", answering(endpoint=""), NO_ANSWER + "endpoint: String should have at least 1 character"),
        ("a list", hook("print([])"), NO_ANSWER),
        ("no JSON", hook("print('ready')"), NO_ANSWER),
        ("H06", answering(endpoint="a" * 1_100), NO_ANSWER + "endpoint: String should have at most 1024 characters"),
        ("H07", answering(endpoint="a", credential="c" * 9_000), NO_ANSWER + "credential: String should have at most"),
        ("NUL", answering(endpoint="a\0b"), NO_ANSWER + "endpoint: String should match pattern"),
        ("a line feed", answering(endpoint="a\nb"), NO_ANSWER + "endpoint: String should match pattern"),
        ("NUL in the secret", answering(endpoint="a", credential="a\0"), NO_ANSWER + "credential: "),
        ("wrong type", answering(endpoint=7), NO_ANSWER + "endpoint: Input should be a valid string"),
        ("a lone surrogate", hook(r"print('{\"endpoint\": \"\\ud800\"}')"), NO_ANSWER),
        ("not UTF-8", hook(r"import sys; sys.stdout.buffer.write(b'{\"endpoint\": \"\\xff\"}')"), NO_ANSWER),
        ("a bad host key", answering(endpoint="a", host_key="none"), NO_ANSWER + "host_key: "),
        ("a negative user", answering(endpoint="a", uid=-1), NO_ANSWER + "uid: "),
        ("root is no evidence", answering(endpoint="a", uid=0), NO_ANSWER + "uid: "),
        ("a process that is not there", answering(endpoint="a", pid=4_193_999), "the start hook names process 4193999"),
        ("an answer too long to keep", answering(endpoint="a" * OUTPUT_BYTES_MAX), NO_ANSWER),
        ("killed by itself", hook("import os; os.kill(os.getpid(), 9)"), "ended by SIGKILL: "),
        ("killed by a signal", shell("kill -SEGV $$"), "ended by SIGSEGV: "),
        ("not there", HookRule(start=("/nowhere/hook",), stop=("x",)), "the hook could not be started: "),
        ("not executable", HookRule(start=("/etc/hostname",), stop=("x",)), "the hook could not be started: "),
    ],
)
async def test_a_hook_that_misbehaves_is_a_failed_lease_with_a_clear_reason(case, rule, detail):
    outcome = await run_start_hook(rule, LEASE)
    assert (outcome.ok, outcome.detail[: len(detail)], len(outcome.detail) <= 1000) == (False, detail, True), case


@pytest.mark.parametrize(
    "rule",
    [
        hook('print(\'{"endpoint": "old"}\');' + ANSWER),
        hook("print('starting');" + ANSWER + "; print()"),
        hook("import sys; sys.stderr.write('e' * 1_000_000);" + ANSWER),
        answering(endpoint="ssh://a", credential="b", colour="red"),
    ],
)
async def test_the_last_line_is_the_answer_whatever_else_was_printed(rule):
    outcome = await run_start_hook(rule, LEASE)
    assert (outcome.ok, outcome.endpoint, outcome.credential) == (True, "ssh://a", "b")


async def test_two_hundred_megabytes_before_the_answer_take_no_memory_of_the_agents():  # H05
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    flood = "import sys\nfor _ in range(200): sys.stdout.write('x' * 1_000_000)\nprint()\n"
    outcome = await run_start_hook(hook(flood + ANSWER, timeout_s=60), LEASE)
    assert (outcome.ok, outcome.endpoint) == (True, "ssh://a")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 20_000


async def test_a_complaint_without_end_is_cut_to_its_last_words():
    outcome = await run_start_hook(hook("import sys; sys.exit('y' * 1_000_000 + 'the end')"), LEASE)
    assert (len(outcome.detail), outcome.detail.endswith("the end")) == (1000, True)


async def test_a_hook_has_ended_when_its_own_process_has_whoever_holds_its_pipes():  # H09
    began = time.monotonic()
    outcome = await run_start_hook(shell('sleep 60 & echo \'{"endpoint": "ssh://a"}\''), LEASE)
    assert (outcome.ok, outcome.endpoint) == (True, "ssh://a")
    assert time.monotonic() - began < 4
    ((left, _),) = outcome.evidence.ancestors
    await becomes("sleep", left)  # a shell's child is a shell until it has become its program
    os.kill(left, signal.SIGKILL)


@pytest.mark.parametrize(
    "script",
    [
        "sleep 30",
        "trap '' TERM INT HUP; sleep 30; sleep 30",
        "setsid sleep 30",
        'sh -c \'setsid sh -c "trap \\"\\" TERM; sleep 30; sleep 30"\'',
    ],
)
async def test_at_the_time_limit_everything_that_a_hook_started_is_killed(script):
    began, table = time.monotonic(), ProcessTable()
    end = await run_hook(("sh", "-c", f"echo $$; {script}"), 1, b"", {"HOURBOOK_TEST_MARK": script[:8]}, table)
    assert end.problem == "the hook took longer than 1 s"
    assert time.monotonic() - began < 8
    marks = [pid for pid in table.pids() if table.variable(pid, "HOURBOOK_TEST_MARK") == script[:8]]
    assert [pid for pid in marks if alive(pid)] == []


async def test_a_process_that_left_its_hooks_group_and_cleared_the_lease_is_still_the_hooks():  # M14
    started = "import os, subprocess, sys\n" + (
        "env = {'PATH': os.environ['PATH'], 'HOURBOOK_HOOK_RUN': os.environ['HOURBOOK_HOOK_RUN']}\n"
        "child = subprocess.Popen(['sleep', '30'], env=env, start_new_session=True)\n"
    )
    outcome = await run_start_hook(hook(started + ANSWER), LEASE)
    ((pid, _),) = outcome.evidence.ancestors
    await becomes("sleep", pid)
    os.kill(pid, signal.SIGKILL)


async def test_what_a_hook_names_is_kept_as_evidence():
    named = {"container_id": "0123456789abcdef", "cgroup": "/kubepods/pod7", "uid": 1007, "pid": os.getpid()}
    outcome = await run_start_hook(answering(endpoint="ssh://a", **named), LEASE)
    own = ProcessTable().stat(os.getpid())
    assert (outcome.evidence.container_id, outcome.evidence.cgroup) == ("0123456789abcdef", "/kubepods/pod7")
    assert (outcome.evidence.uid, outcome.evidence.ancestors) == (1007, ((own.pid, own.started),))


async def test_an_agent_that_cannot_see_processes_takes_no_lease(tmp_path):
    outcome = await run_start_hook(answering(endpoint="ssh://a"), LEASE, ProcessTable(tmp_path))
    assert (outcome.ok, "cannot see the machine's processes" in outcome.detail) == (False, True)


async def test_a_lease_larger_than_a_pipe_reaches_a_hook_that_does_not_read_it():
    big = LEASE.model_copy(update={"position_ids": tuple(range(1, 40_000))})
    assert (await run_start_hook(hook(ANSWER), big)).ok
    assert (await run_start_hook(hook(f"import json, sys; json.load(sys.stdin); {ANSWER}"), big)).ok


async def test_the_stop_hook_needs_only_its_exit_status_and_is_bounded_alike():
    assert await run_stop_hook(hook("pass"), STOP, LEASE) == HookOutcome(True)
    assert (await run_stop_hook(hook("raise SystemExit(3)"), STOP, None)).detail == "exit status 3: "
    assert (await run_stop_hook(shell("sleep 30", timeout_s=1), STOP, None)).detail == "the hook took longer than 1 s"
    assert (await run_stop_hook(shell("sleep 60 &"), STOP, LEASE)).ok


FORKED_TWICE = """
forks='while [ ! -e "$0/open" ]; do sleep 0.02; done; (env -i "$1" sh -c "$2" "$0" &); sleep 30'
sh -c "$forks" "$FOLDER" "$(command -v setsid)" 'echo $$ >"$0/new"; mv "$0/new" "$0/job"; exec sleep 30' &
echo '{"endpoint": "ssh://a", "pid": '$!'}'
"""


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.02)


async def test_what_the_buyer_forks_twice_without_his_environment_is_still_his(tmp_path, monkeypatch):
    """Nobody gains by leaving the process that the hook named; the keeper ends with the last that was left."""
    monkeypatch.setenv("FOLDER", str(tmp_path))
    table, stranger = ProcessTable(), subprocess.Popen(["sleep", "30"])
    outcome = await run_start_hook(shell(FORKED_TWICE), LEASE)
    assert outcome.ok, outcome.detail
    (tmp_path / "open").touch()
    await until((tmp_path / "job").exists)
    ((named, _),), (keeper, _) = outcome.evidence.ancestors, outcome.evidence.keeper
    job = int((tmp_path / "job").read_text())
    await until(lambda: table.stat(job).parent == keeper)
    assert table.variable(job, "HOURBOOK_HOOK_RUN") == ""
    leases = [LiveLease("lease-1", HookOutcome.restored(json.loads(json.dumps(outcome.stored()))).evidence)]
    whose = [Owners().label(GpuProcess(pid=pid, memory_mib=1), leases).owner for pid in (named, job, stranger.pid)]
    assert whose == ["lease", "lease", "foreign"]
    for pid in (named, *table.children(named), job, stranger.pid):
        os.kill(pid, signal.SIGKILL)
    stranger.wait()
    await until(lambda: not table.lives(keeper))


async def test_a_hook_that_leaves_nothing_behind_leaves_no_keeper():
    outcome = await run_start_hook(hook(ANSWER), LEASE)
    assert (outcome.evidence.keeper, outcome.evidence.ancestors) == (None, ())


async def test_a_keeper_that_is_killed_is_a_hook_that_has_failed():
    outcome = await run_start_hook(shell("kill -9 $PPID; sleep 0.5"), LEASE)
    assert (outcome.ok, outcome.detail) == (False, "ended by SIGKILL: ")
