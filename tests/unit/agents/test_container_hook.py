"""The container hook, on a played engine; and on a real one where HOURBOOK_TEST_CONTAINER_IMAGE names an image.

Tier: default. About 10 seconds on two quiet cores; on a real engine another 10.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import asyncssh
import pytest

from agents.node.hooks.answers import HookOutcome
from agents.node.leases import run_start_hook, run_stop_hook
from agents.node.policy import HookRule
from clients.ssh import Door, openssh_command
from schemas.nodes import LeaseStop
from tests.unit.agents.test_leases import LEASE

FAKE = Path(__file__).parents[2] / "fakes" / "docker.py"
REAL_IMAGE = os.environ.get("HOURBOOK_TEST_CONTAINER_IMAGE")

if shutil.which("ssh") is None:
    pytest.skip("THE CONTAINER HOOK IS NOT TESTED HERE: there is no OpenSSH client", allow_module_level=True)


@pytest.fixture
def engine(tmp_path, monkeypatch) -> Path:
    """A played docker on PATH; returns its state's folder."""
    state, programs = tmp_path / "docker-state", tmp_path / "bin"
    state.mkdir()
    programs.mkdir()
    program = programs / "docker"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_DOCKER", str(state))
    return state


def rule_in(folder: Path, **options: str) -> HookRule:
    given = {"kind": "container", "engine": "docker", "image": "pytorch:2.8", "folder": str(folder)}
    return HookRule.model_validate(given | options)


async def open_lease(folder: Path, rule: HookRule, **wishes: str) -> tuple[HookOutcome, Door, Path]:
    private = asyncssh.generate_private_key("ssh-ed25519")
    key = folder / "id"
    key.write_bytes(private.export_private_key())
    key.chmod(0o600)
    line = private.export_public_key().decode().strip()
    lease = LEASE.model_copy(update={"ssh_keys": (line,)} | wishes)
    outcome = await run_start_hook(rule, lease, node_id="node-1")
    assert outcome.ok, outcome.detail
    host, _, port = outcome.endpoint.rpartition("@")[2].rpartition(":")
    return outcome, Door("lease-1", host, int(port), outcome.host_key), key


def run(door: Door, key: Path, command: str, given: bytes = b"") -> tuple[int, str]:
    known_hosts = key.with_name("known_hosts")
    known_hosts.write_text(door.known_host)
    line = openssh_command(door, (command,), known_hosts, key)
    done = subprocess.run(line, input=given, capture_output=True, timeout=60)
    return done.returncode, done.stdout.decode()


async def close_lease(rule: HookRule) -> HookOutcome:
    return await run_stop_hook(rule, LeaseStop(lease_id="lease-1", reason="ended"), None, "node-1")


async def test_a_buyer_gets_into_a_container_of_his_own_which_is_gone_at_the_end(engine, tmp_path):
    rule = rule_in(tmp_path / "leases", buyers_image="yes")
    outcome, door, key = await open_lease(tmp_path, rule, image="bobs:1", script="echo prepared > ready.txt")
    assert run(door, key, "cat > input; wc -c < input; exit 7", b"x" * 200_000) == (7, "200000\n")
    assert run(door, key, "cat ready.txt")[1] in ("prepared\n", "")
    assert len(outcome.evidence.container_id) == 64
    calls = [json.loads(line) for line in (engine / "calls").read_text().splitlines()]
    (started,) = [call for call in calls if call[0] == "run"]
    assert started[-2:] == ["bobs:1", "infinity"]
    for option in ("--pids-limit", "no-new-privileges", "hourbook-node-1-lease-1:/home/gpu", "--init"):
        assert option in started
    again = await run_start_hook(rule, LEASE, node_id="node-1")
    assert (again.ok, again.endpoint) == (True, outcome.endpoint), "a start may come twice"
    assert await close_lease(rule) == HookOutcome(True)
    assert await close_lease(rule) == HookOutcome(True), "and a stop too"
    assert [list((engine / kind).iterdir()) for kind in ("containers", "volumes")] == [[], []]
    assert run(door, key, "true")[0] == 255


async def test_a_buyers_image_counts_only_where_the_operator_allows_it(engine, tmp_path):
    rule = rule_in(tmp_path / "leases")
    await open_lease(tmp_path, rule, image="bobs:1")
    assert '"pytorch:2.8", "infinity"' in (engine / "calls").read_text()
    assert await close_lease(rule) == HookOutcome(True)


async def test_a_container_that_cannot_be_removed_is_a_failed_stop(engine, tmp_path):
    rule = rule_in(tmp_path / "leases")
    await open_lease(tmp_path, rule)
    (engine / "stuck").touch()
    assert "the container hourbook-node-1-lease-1 cannot be removed" in (await close_lease(rule)).detail
    (engine / "stuck").unlink()
    assert await close_lease(rule) == HookOutcome(True)


async def test_without_an_engine_the_hook_refuses_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    outcome = await run_start_hook(rule_in(tmp_path / "leases"), LEASE, node_id="node-1")
    assert outcome == HookOutcome(False, detail="exit status 1: the container hook needs docker: not on PATH")


@pytest.mark.skipif(not REAL_IMAGE, reason="NO REAL CONTAINER ENGINE TRIED: HOURBOOK_TEST_CONTAINER_IMAGE is not set")
async def test_on_a_real_engine_a_buyer_gets_in_and_his_processes_are_known_by_their_cgroup(tmp_path):
    rule = HookRule.model_validate({"kind": "container", "image": REAL_IMAGE, "folder": str(tmp_path / "leases")})
    _, door, key = await open_lease(tmp_path, rule)
    try:
        assert run(door, key, "echo $HOURBOOK_LEASE_ID; hostname; exit 3") == (3, "lease-1\nhourbook\n")
    finally:
        assert await close_lease(rule) == HookOutcome(True)
