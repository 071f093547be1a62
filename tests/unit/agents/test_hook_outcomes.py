"""Every way in which a hook can end, and what each entails for the lease, its GPU and what is offered next (cases H).

The tables of `docs/journeys/operator.md` say the same in words. Tier: default. About 20 seconds on two quiet cores.
"""

import json
import sys
import time

import pytest

from agents.node.leases import run_start_hook
from agents.node.policy import HookRule
from schemas.nodes import LeaseStop
from tests.fixtures.delivery import reading
from tests.unit.agents.test_leases import LEASE
from tests.unit.agents.test_lessor import Policy, Venue, go, lessor_of

NEXT = LEASE.model_copy(update={"lease_id": "lease-2"})
ENDED = LeaseStop(lease_id="lease-1", reason="ended")
ANSWER = '{"endpoint": "ssh://a"}'
PYTHON = sys.executable
NO_ANSWER = "the start hook's last line is not an answer: "


def answer(**members: object) -> str:
    """A shell line that prints an answer."""
    return f"cat <<'END'\n{json.dumps({'endpoint': 'ssh://a'} | members)}\nEND"


# A start hook in shell, and how its lease's failure reads from the beginning; None where the buyer is in.
STARTS = {
    "it answers": (answer(), None),
    "it answers twice: the last line counts": (f"echo '{ANSWER}'; echo '{ANSWER}'", None),
    "it answers after 20 MB of words": (f"head -c 20000000 /dev/zero | tr '\\0' x; echo; echo '{ANSWER}'", None),
    "it answers after 20 MB of complaints": (f"head -c 20000000 /dev/zero >&2; echo '{ANSWER}'", None),
    "it answers after bytes that are no text": (f"printf '\\377\\376\\n'; echo '{ANSWER}'", None),
    "it answers and leaves a process that holds its pipes": (f"sleep 5 & echo '{ANSWER}'", None),
    "it answers and leaves one that goes on writing": (
        f"(yes & sleep 3; kill $!) & echo '{ANSWER}' >&2; echo '{ANSWER}'",
        0,
    ),
    "it answers in one line without an end": (f"printf '%s' '{ANSWER}'", None),
    "it answers in a line of Windows": (f"printf '%s\\r\\n' '{ANSWER}'", None),
    "it closes its output": ("exec >&- 2>&-; exit 0", "the start hook printed no answer"),
    "it answers, and a line follows": (f"echo '{ANSWER}'; echo ready", NO_ANSWER),
    "it answers and exits with 3": (f"echo '{ANSWER}'; echo no GPU >&2; exit 3", "exit status 3: no GPU"),
    "it answers and is killed": (f"echo '{ANSWER}'; kill -KILL $$", "ended by SIGKILL: "),
    "it is terminated": ("kill -TERM $$", "ended by SIGTERM: "),
    "it is aborted by an odd signal": ("kill -40 $$", "ended by signal 40"),
    "it stops itself": ("kill -STOP $$", "the hook took longer than 2 s"),
    "it hangs": ("trap '' TERM INT HUP; sleep 60", "the hook took longer than 2 s"),
    "it hangs beside a flood": ("yes", "the hook took longer than 2 s"),
    "it answers and then hangs": (f"echo '{ANSWER}'; sleep 60", "the hook took longer than 2 s"),
    "it is not there": (None, "the hook could not be started: "),
    "JSON that is cut off": ('echo \'{"endpoint": "ssh\'', NO_ANSWER),
    "JSON that is no object": ("echo '\"ssh://a\"'", NO_ANSWER),
    "JSON with a mark before it": (f"printf '\\357\\273\\277%s' '{ANSWER}'", NO_ANSWER),
    "JSON nested 50,000 deep": (f"{PYTHON} -c 'print(\"[\" * 50_000)'", NO_ANSWER),
    "JSON with NaN": ("echo '{\"endpoint\": NaN}'", NO_ANSWER),
    "a number that no machine has": ('echo \'{"endpoint": "ssh://a", "uid": 1e400}\'', NO_ANSWER),
    "an answer in UTF-16": (f"printf '%s' '{ANSWER}' | iconv -t UTF-16", NO_ANSWER),
    "an endpoint with a line feed": (answer(endpoint="ssh://a\nb"), NO_ANSWER + "endpoint: "),
    "an endpoint with a space": (answer(endpoint="ssh://a b"), NO_ANSWER + "endpoint: "),
    "an endpoint of another space": (answer(endpoint="ssh://a\u00a0b"), NO_ANSWER + "endpoint: "),
    "an endpoint that is an option": (answer(endpoint="ssh://-oProxyCommand=x"), NO_ANSWER + "endpoint: "),
    "an endpoint at no port": (answer(endpoint="ssh://a:99999"), NO_ANSWER + "endpoint: "),
    "an endpoint of another kind": (answer(endpoint="https://a.example.com/lab?token=x"), None),
    "an endpoint with an address of version 6": (answer(endpoint="ssh://lease-1@[2001:db8::7]:2200"), None),
    "a credential too large": (answer(credential="c" * 8_193), NO_ANSWER + "credential: "),
    "a credential of many lines": (answer(credential="apiVersion: v1\nusers: []\n"), None),
    "a host key with options": (answer(host_key="no-pty ssh-ed25519 AAAA"), NO_ANSWER + "host_key: "),
    "a cgroup that is no path": (answer(cgroup="kubepods"), NO_ANSWER + "cgroup: "),
    "a cgroup with a line feed": (answer(cgroup="/kube\npods"), NO_ANSWER + "cgroup: "),
    "a cgroup as long as may be": (answer(cgroup="/" + 1_023 * "é"), None),
    "a cgroup too long": (answer(cgroup="/" + 1_024 * "é"), NO_ANSWER + "cgroup: "),
}


@pytest.mark.parametrize("case", STARTS)
async def test_how_a_start_hook_ends_says_what_becomes_of_the_lease_the_gpu_and_the_offers(case, tmp_path):
    script, reason = STARTS[case]
    policy, venue = Policy(start=script or "true", stop="true", start_failures_max=1), Venue()
    policy.hooks = policy.hooks.model_copy(update={"timeout_s": 2 if "longer" in str(reason) else 20})
    if script is None:
        policy.hooks = policy.hooks.model_copy(update={"start": ("/nowhere/hook",)})
    lessor = lessor_of(tmp_path, policy, venue)
    await go(lessor.follow((LEASE,), ()))
    said = lessor.book.outcome("lease-1", "start")
    if reason == 0:  # what another process writes may be the last line: either is a whole outcome
        assert said.ok or said.detail.startswith("the start hook's last line is not an answer: ")
        return
    assert (said.ok, said.detail[: len(reason or "")]) == (reason is None, reason or "")
    assert venue.answers == [("lease-1", "start", reason is None)]
    assert (lessor.may_offer(), lessor.book.live()) == (reason is None, ("lease-1",) if reason is None else ())
    assert lessor.follow((NEXT,), ()) == [], "nobody else gets the GPU while it is let, or before it is cleaned up"
    await go(lessor.follow((), (ENDED,)))
    lessor.observe(tuple(reading(uuid) for uuid in LEASE.gpu_uuids))
    assert lessor.book.may_open(NEXT)


# A stop hook in shell, and how its failure reads from the beginning; None where the lease is closed and the GPU free.
STOPS = {
    "it ends": ("true", None),
    "it says 20 MB": ("yes | head -c 20000000; yes | head -c 20000000 >&2", None),
    "it prints bytes that are no text": ("printf '\\377\\0\\n'; printf '\\377' >&2", None),
    "it leaves a process that holds its pipes": ("sleep 5 &", None),
    "it exits with 1": (
        "printf 'the volume\\377 is busy' >&2; exit 1",
        "exit status 1: the volume\N{REPLACEMENT CHARACTER} is busy",
    ),
    "it exits with 255": ("exit 255", "exit status 255: "),
    "it is killed": ("kill -SEGV $$", "ended by SIGSEGV: "),
    "it hangs": ("trap '' TERM; sleep 60", "the hook took longer than 2 s"),
    "it stops itself": ("kill -STOP $$", "the hook took longer than 2 s"),
    "it has been removed": (None, "the hook could not be started: "),
}


@pytest.mark.parametrize("case", STOPS)
async def test_how_a_stop_hook_ends_says_when_the_next_buyer_gets_the_gpu(case, tmp_path):
    script, reason = STOPS[case]
    policy, venue = Policy(stop_retry_s=1), Venue()
    lessor = lessor_of(tmp_path, policy, venue)
    await go(lessor.follow((LEASE,), ()))
    policy.edit(stop=script or "true", stop_retry_s=1)
    policy.hooks = policy.hooks.model_copy(update={"timeout_s": 2 if "longer" in str(reason) else 20})
    if script is None:
        policy.hooks = policy.hooks.model_copy(update={"stop": ("/nowhere/hook",)})
    lessor.observe(tuple(reading(uuid) for uuid in LEASE.gpu_uuids))
    await go(lessor.follow((), (LeaseStop(lease_id="lease-1", reason="admin"),)))
    said = lessor.book.outcome("lease-1", "stop")
    assert (said.ok, said.detail[: len(reason or "")]) == (reason is None, reason or "")
    assert venue.answers[-1] == ("lease-1", "stop", reason is None), "closed at the venue, whatever the hook did"
    seen = lessor.observe(tuple(reading(uuid) for uuid in LEASE.gpu_uuids))
    assert [gpu.healthy for gpu in seen] == [reason is None] * 2, "an unclean GPU is not offered"
    assert (lessor.book.may_open(NEXT), lessor.may_offer()) == (reason is None, True)
    if reason is not None:
        policy.edit(stop_retry_s=1)
        deadline = time.monotonic() + 10
        while lessor.book.stop_failures():
            assert time.monotonic() < deadline
            await go(lessor.due())
        lessor.observe(tuple(reading(uuid) for uuid in LEASE.gpu_uuids))
        assert lessor.book.may_open(NEXT), "a stop that succeeds sets it free"


async def test_a_hook_removed_while_it_runs_ends_as_it_would_have_and_the_next_one_fails(tmp_path):
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\nrm {hook}\nsleep 0.3\necho '{ANSWER}'\n")
    hook.chmod(0o755)
    rule = HookRule(start=(str(hook),), stop=(str(hook),))
    assert (await run_start_hook(rule, LEASE)).ok
    assert (await run_start_hook(rule, LEASE)).detail.startswith("the hook could not be started: ")
