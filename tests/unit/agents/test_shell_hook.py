"""The shell hook for real: OpenSSH's client gets in, runs jobs, sees nothing else, and leaves nothing behind.

Tier: default. About 15 seconds on two quiet cores. Without bubblewrap or user namespaces it is skipped, and says so.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import pytest

from agents.node.hooks.answers import HookAnswer, HookOutcome
from agents.node.hooks.sandbox import NoSandbox, device_nodes, find_program
from agents.node.leases import run_start_hook, run_stop_hook
from agents.node.policy import HookRule
from agents.node.processes import LiveLease, Owners, ProcessTable
from clients.ssh import Door, enter, openssh_command
from schemas.nodes import GpuProcess, LeaseStop
from tests.unit.agents.test_leases import LEASE

try:
    find_program()
except NoSandbox as reason:
    pytest.skip(f"THE SHELL HOOK IS NOT TESTED HERE: {reason}", allow_module_level=True)
if shutil.which("ssh") is None:
    pytest.skip("THE SHELL HOOK IS NOT TESTED HERE: there is no OpenSSH client", allow_module_level=True)


@dataclass
class Tenant:
    """One open lease, its door, and the private key that opens it."""

    outcome: HookOutcome
    door: Door
    key: Path

    def run(self, command: str, given: bytes = b"") -> tuple[int, str]:
        """Run a command by OpenSSH's client; returns its status and what it printed."""
        known_hosts = self.key.with_name("known_hosts")
        known_hosts.write_text(self.door.known_host)
        line = openssh_command(self.door, (command,), known_hosts, self.key)
        done = subprocess.run(line, input=given, capture_output=True, timeout=60)
        return done.returncode, done.stdout.decode()


def hook_in(folder: Path) -> HookRule:
    return HookRule(kind="shell", folder=str(folder / "volumes"), timeout_s=60)


async def open_lease(folder: Path, name: str, script: str | None = None) -> Tenant:
    place = folder / name
    place.mkdir()
    private = asyncssh.generate_private_key("ssh-ed25519")
    key = place / "id"
    key.write_bytes(private.export_private_key())
    key.chmod(0o600)
    line = private.export_public_key().decode().strip()
    lease = LEASE.model_copy(update={"lease_id": name, "ssh_keys": (line,), "script": script})
    outcome = await run_start_hook(hook_in(folder), lease, node_id="node-1")
    assert outcome.ok, outcome.detail
    user, _, place_text = outcome.endpoint.removeprefix("ssh://").partition("@")
    host, _, port = place_text.rpartition(":")
    return Tenant(outcome, Door(user, host, int(port), outcome.host_key), key)


async def close_lease(folder: Path, name: str) -> HookOutcome:
    return await run_stop_hook(hook_in(folder), LeaseStop(lease_id=name, reason="ended"), None, "node-1")


@pytest.fixture
def folder(tmp_path_factory) -> Iterator[Path]:
    """A folder that tenants of their own users can reach into."""
    place = Path(f"/var/tmp/hourbook-test-{os.getpid()}-{time.monotonic_ns()}")
    place.mkdir(mode=0o711)
    yield place
    shutil.rmtree(place)


async def test_a_buyer_gets_in_by_ssh_runs_jobs_and_his_processes_are_known_as_his(folder):
    tenant = await open_lease(folder, "lease-1", script="echo prepared > ready.txt")
    try:
        assert tenant.run("echo $HOURBOOK_LEASE_ID; exit 7") == (7, "lease-1\n")
        assert tenant.run("cat > input; wc -c < input", b"x" * 300_000) == (0, "300000\n")
        assert tenant.run("head -c 3000000 /dev/zero | tr '\\0' x; exit 4") == (4, "x" * 3_000_000)
        assert tenant.run("sleep 77 >/dev/null 2>&1 & echo started") == (0, "started\n")
        assert "sleep 77" in tenant.run("ps ax -o args")[1], "a job outlives its session"
        assert tenant.run("cat ready.txt") == (0, "prepared\n")
        table = ProcessTable()
        job = next(pid for pid in table.pids() if _arguments(pid) == [b"sleep", b"77"])
        lease = LiveLease("lease-1", tenant.outcome.evidence)
        seen = Owners().label(GpuProcess(pid=job, memory_mib=9), (lease,))
        evidence = "user" if os.getuid() == 0 else "ancestor"
        assert (seen.owner, seen.lease_id, seen.evidence) == ("lease", "lease-1", evidence)
        again = await run_start_hook(
            hook_in(folder), LEASE.model_copy(update={"lease_id": "lease-1"}), node_id="node-1"
        )
        assert (again.endpoint, again.host_key) == (tenant.outcome.endpoint, tenant.outcome.host_key)
    finally:
        assert await close_lease(folder, "lease-1") == HookOutcome(True)
    assert not table.lives(job)
    assert list((folder / "volumes" / "node-1").iterdir()) == []
    assert tenant.run("true")[0] == 255


def _arguments(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    except OSError:
        return []


async def test_a_tenant_sees_nothing_of_the_agents_and_nothing_of_another_tenants(folder):
    state = folder / "state"
    state.mkdir(mode=0o777)
    (state / "node.key").write_text("the agent's key")
    (state / "node.key").chmod(0o666)
    one, other = await open_lease(folder, "lease-1"), await open_lease(folder, "lease-2")
    try:
        assert one.run("echo secret > mine; sleep 88 >/dev/null 2>&1 & echo ok") == (0, "ok\n")
        places = (state / "node.key", folder, folder / "volumes", "/root", "/home/other", "/etc/shadow", "/var/lib")
        for place in places:
            assert other.run(f"cat {place} || ls {place}")[0] != 0, place
        status, processes = other.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        assert (status, "sleep 88" in processes, "pytest" in processes) == (0, False, False)
        assert other.run("cat /proc/*/environ | tr '\\0' '\\n' | grep -c lease-1")[1] == "0\n"
        assert other.run("find / -name mine 2>/dev/null")[1] == ""
        assert other.run("echo > /usr/x || echo > /etc/x || mount -t tmpfs x /mnt")[0] != 0
        assert other.run("kill -9 1; kill -9 -1; echo $?")[1] in ("0\n", "")
        assert one.run("cat mine") == (0, "secret\n")
        wrong = Tenant(one.outcome, one.door, other.key)
        assert wrong.run("true")[0] == 255, "another's key does not open this door"
        swapped = Door("root", one.door.host, one.door.port, one.door.host_key)
        assert Tenant(one.outcome, swapped, one.key).run("true")[0] == 255
        stranger = Door(one.door.user, one.door.host, one.door.port, other.outcome.host_key)
        assert Tenant(one.outcome, stranger, one.key).run("true")[0] == 255, "another host key is not trusted"
    finally:
        assert await close_lease(folder, "lease-2") == HookOutcome(True)
        assert await close_lease(folder, "lease-1") == HookOutcome(True)


async def test_a_terminal_is_a_terminal_and_a_volume_goes_whatever_its_owner_did_to_it(folder):
    tenant = await open_lease(folder, "lease-1")
    command = openssh_command(tenant.door, (), tenant.key.with_name("known_hosts"), tenant.key)
    tenant.key.with_name("known_hosts").write_text(tenant.door.known_host)
    typed = b"tty; echo $TERM; mkdir -p a/b; ln -s / a/root; echo x > a/b/c; chmod 0 a/b a; exit 3\n"
    environment = os.environ | {"TERM": "xterm"}
    done = subprocess.run(["ssh", "-tt", *command[1:]], input=typed, capture_output=True, timeout=60, env=environment)
    assert (done.returncode, b"/dev/pts/" in done.stdout, b"xterm" in done.stdout) == (3, True, True)
    assert await close_lease(folder, "lease-1") == HookOutcome(True)
    assert await close_lease(folder, "lease-1") == HookOutcome(True), "a stop may come twice"
    assert Path("/usr").exists()
    assert list((folder / "volumes" / "node-1").iterdir()) == []


async def test_where_openssh_is_not_on_path_asyncssh_enters(folder, monkeypatch, capfd):
    tenant = await open_lease(folder, "lease-1")
    try:
        code = (
            "import sys; from pathlib import Path; from clients.ssh import Door, enter; import clients.ssh;"
            "clients.ssh.shutil.which = lambda name: None;"
            f"sys.exit(enter(Door({tenant.door.user!r}, {tenant.door.host!r}, {tenant.door.port}, "
            f"{tenant.door.host_key!r}), ('echo', 'in;', 'exit', '9'), Path({str(tenant.key)!r})))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, input="")
        assert (done.returncode, done.stdout) == (9, "in\n"), done.stderr
        assert enter(tenant.door, ("exit", "5"), tenant.key) == 5
    finally:
        await close_lease(folder, "lease-1")


def test_without_bubblewrap_the_hook_refuses_in_one_line(tmp_path):
    environment = {"PATH": str(tmp_path), "HOURBOOK_LEASE_ID": "lease-1", "HOURBOOK_NODE": "node-1"}
    command = [sys.executable, "-m", "agents.node.hooks.shell", "start", "--folder", str(tmp_path)]
    done = subprocess.run(command, env=environment, input=LEASE.canonical(), capture_output=True)
    assert (done.returncode, done.stderr.decode()) == (
        1,
        "the shell hook needs bubblewrap: there is no bwrap on PATH\n",
    )


def test_only_the_device_nodes_of_the_leases_gpus_are_shown(tmp_path):
    for minor, uuid in ((0, "GPU-aaaaaaaa"), (5, "GPU-bbbbbbbb")):
        place = tmp_path / f"0000:{minor:02d}:00.0"
        place.mkdir()
        (place / "information").write_text(f"Model: \t\t H100\nGPU UUID: \t {uuid}\nDevice Minor: \t {minor}\n")
    assert device_nodes(("GPU-bbbbbbbb", "GPU-cccccccc"), tmp_path) == ("nvidia5",)


def test_a_policy_names_the_hook_and_where_its_server_listens():
    rule = HookRule(kind="shell", listen="0.0.0.0", address="gpu7.example.com", ports="2200-2299")
    assert rule.start[3:] == (
        *("agents.node.hooks.shell", "start", "--listen", "0.0.0.0", "--address", "gpu7.example.com"),
        *("--ports", "2200-2299"),
    )
    for wrong in (
        {"kind": "shell", "start": ["x"]},
        {"kind": "shell", "image": "a"},
        {"kind": "container"},
        {"kind": "vm"},
        {"kind": "shell", "listen": "--help"},
        {"start": ["a"], "stop": ["b"], "ports": "1-2"},
    ):
        with pytest.raises(ValueError):
            HookRule.model_validate(wrong)
    assert HookAnswer.model_validate_json(json.dumps({"endpoint": "ssh://a", "pid": 7, "uid": 9})).uid == 9
