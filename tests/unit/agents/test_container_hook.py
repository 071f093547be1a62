"""The container hook on a played engine: what it asks of one, and what it does when that fails.

Tier: default. About 20 seconds on two quiet cores. `test_container_engine.py` has a real engine.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import asyncssh
import pytest

from agents.node.hooks.answers import HookOutcome
from agents.node.hooks.engine import Engine
from agents.node.hooks.lease_folder import HookFailed
from agents.node.leases import run_start_hook, run_stop_hook
from agents.node.policy import HookRule
from clients.ssh import Door, openssh_command
from schemas.nodes import LeaseStop
from tests.unit.agents.test_leases import LEASE

FAKE = Path(__file__).parents[2] / "fakes" / "docker.py"

if shutil.which("ssh") is None:
    pytest.skip("THE CONTAINER HOOK IS NOT TESTED HERE: there is no OpenSSH client", allow_module_level=True)


@pytest.fixture
def engine(tmp_path, monkeypatch) -> Path:
    """A played docker on PATH; returns its state's folder."""
    state, programs = tmp_path / "docker-state", tmp_path / "bin"
    state.mkdir()
    programs.mkdir()
    program = programs / "docker"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {FAKE} "$@"\n')
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
    assert [list((engine / kind).iterdir()) for kind in ("containers", "volumes", "networks")] == [[], [], []]
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


@pytest.mark.parametrize(
    "image, said",
    [
        ("bobs:1", ""),
        ("operators-own:1", "hourbook: your image operators-own:1 is not available, this is pytorch:2.8: "),
    ],
)
async def test_a_buyers_image_is_fetched_as_anybody_could_and_where_it_is_not_to_be_had_he_gets_the_operators(
    engine, tmp_path, image, said
):
    _, door, key = await open_lease(tmp_path, rule_in(tmp_path / "leases", buyers_image="yes"), image=image)
    calls = [json.loads(line) for line in (engine / "calls").read_text().splitlines()]
    assert [call[-2] for call in calls if call[0] == "run"] == [image if not said else "pytorch:2.8"]
    pulled = (engine / "pulled").read_text() if (engine / "pulled").exists() else ""
    assert pulled == ("" if said else "bobs:1 []"), "no account of the operator's"
    assert run(door, key, "cat start.log 2>/dev/null || true")[1].startswith(said)
    assert await close_lease(rule_in(tmp_path / "leases")) == HookOutcome(True)
    assert (["rmi", image] in [json.loads(line) for line in (engine / "calls").read_text().splitlines()]) == (not said)


async def test_a_container_that_was_stopped_is_started_again_and_keeps_its_key_and_port(engine, tmp_path):
    rule = rule_in(tmp_path / "leases")
    outcome, door, key = await open_lease(tmp_path, rule)
    assert run(door, key, "echo mine > here; echo ok") == (0, "ok\n")
    (engine / "stopped").touch()
    assert run(door, key, "cat here") == (0, "mine\n"), "a session starts it"
    (engine / "stopped").touch()
    os.kill(outcome.evidence.ancestors[0][0], signal.SIGKILL)
    again = await run_start_hook(rule, LEASE, node_id="node-1")
    assert (again.ok, again.endpoint, again.host_key) == (True, outcome.endpoint, outcome.host_key)
    assert not (engine / "stopped").exists()
    assert run(door, key, "cat here") == (0, "mine\n")
    assert await close_lease(rule) == HookOutcome(True)


CDI = "cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices: [{name: GPU-00000001}, {name: GPU-00000002}]\n"
UUIDS = ("GPU-00000001", "GPU-00000002")
NONE_BY_VARIABLE = ["--env", "NVIDIA_VISIBLE_DEVICES=void"]


@pytest.mark.parametrize(
    "program, runtimes, cdi, driver, options",
    [
        (
            *("docker", '{"nvidia": {}, "runc": {}}', CDI, True),
            ["--gpus", '"device=GPU-00000001,GPU-00000002"', "--env", f"NVIDIA_VISIBLE_DEVICES={','.join(UUIDS)}"],
        ),
        (
            *("docker", '{"runc": {}}', CDI, True),
            [*NONE_BY_VARIABLE, "--device", f"nvidia.com/gpu={UUIDS[0]}", "--device", f"nvidia.com/gpu={UUIDS[1]}"],
        ),
        (
            *("podman", "", CDI, True),
            [*NONE_BY_VARIABLE, "--device", f"nvidia.com/gpu={UUIDS[0]}", "--device", f"nvidia.com/gpu={UUIDS[1]}"],
        ),
        ("podman", "", CDI.replace(UUIDS[1], "1"), True, "the CDI specification has no device GPU-00000002: "),
        ("docker", '{"runc": {}}', "", True, "the NVIDIA container toolkit is missing: "),
        ("docker", '{"runc": {}}', "", False, NONE_BY_VARIABLE),
    ],
)
def test_a_container_gets_the_gpus_of_its_lease_and_no_others(
    engine, tmp_path, monkeypatch, program, runtimes, cdi, driver, options
):
    (engine / "runtimes").write_text(runtimes)
    (tmp_path / "cdi").mkdir()
    if cdi:
        (tmp_path / "cdi" / "nvidia.yaml").write_text(cdi)
    if driver:
        (tmp_path / "nvidiactl").touch()
    monkeypatch.setattr("agents.node.hooks.engine.DEVICE_INTERFACES", (tmp_path / "cdi",))
    monkeypatch.setattr("agents.node.hooks.engine.DRIVER", tmp_path / "nvidiactl")
    asked = Engine(str(tmp_path / "bin" / program))
    if isinstance(options, list):
        assert asked.gpu_options(UUIDS) == options
    else:
        with pytest.raises(HookFailed, match=options):
            asked.gpu_options(UUIDS)
