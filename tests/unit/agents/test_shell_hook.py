"""The shell hook for real: OpenSSH's client gets in, runs jobs, sees nothing else, and leaves nothing behind.

Tier: default. About 25 seconds on two quiet cores. Without bubblewrap or user namespaces it is skipped, and says so.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import asyncssh
import pytest

from agents.node.clock import VenueClock
from agents.node.hooks.answers import HookAnswer, HookOutcome
from agents.node.hooks.lease_folder import clear
from agents.node.hooks.network import missing_for_network
from agents.node.hooks.sandbox import NoSandbox, device_nodes, find_program, sftp_program
from agents.node.hooks.volume import folder_bytes
from agents.node.identity import Identity
from agents.node.leases import LeaseBook, run_start_hook, run_stop_hook
from agents.node.lessor import Lessor
from agents.node.policy import HookRule
from agents.node.processes import LiveLease, Owners, ProcessTable
from agents.node.state import StateFolder
from clients.ssh import Door, enter, openssh_command
from schemas.nodes import GpuProcess, LeaseStart, LeaseStop
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


def hook_in(folder: Path, **options: object) -> HookRule:
    return HookRule.model_validate({"kind": "shell", "folder": str(folder / "volumes"), "timeout_s": 60} | options)


async def open_lease(folder: Path, name: str, script: str | None = None, **options: object) -> Tenant:
    place = folder / name
    place.mkdir()
    private = asyncssh.generate_private_key("ssh-ed25519")
    key = place / "id"
    key.write_bytes(private.export_private_key())
    key.chmod(0o600)
    line = private.export_public_key().decode().strip()
    lease = LEASE.model_copy(update={"lease_id": name, "ssh_keys": (line,), "script": script})
    outcome = await run_start_hook(hook_in(folder, **options), lease, node_id="node-1")
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
    subprocess.run(["chmod", "-R", "u+rwx", place], check=True)
    subprocess.run(["rm", "-rf", place], check=True)


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


@pytest.mark.parametrize("network", ["own", "machine"])
async def test_what_a_tenant_tries_to_reach_from_inside(folder, network):
    if network == "own" and (missing := missing_for_network()):
        pytest.skip(f"A NETWORK OF A LEASE'S OWN IS NOT TESTED HERE: {missing}")
    secret = folder / "node.key"
    secret.write_text("the agent's key")
    one, other = [await open_lease(folder, name, network=network) for name in ("lease-1", "lease-2")]
    own_user = os.getuid() if os.getuid() else one.outcome.evidence.uid
    try:
        assert one.run("echo mine > mine; cp mine /tmp/mine; sleep 4301 >/dev/null 2>&1 & echo ok") == (0, "ok\n")
        with socket.create_server(("127.0.0.1", 0)) as of_the_agents, abstract_server() as name:
            of_the_agents.settimeout(0.1)
            port = of_the_agents.getsockname()[1]
            reach = "timeout 3 bash -c 'exec 3<>/dev/tcp/{}/{}'"
            job = next(pid for pid in ProcessTable().pids() if _arguments(pid) == [b"sleep", b"4301"])
            connect = f'import socket; socket.socket(socket.AF_UNIX).connect(chr(0) + "{name}")'
            tries = {
                "the agent's key": f"cat {secret}",
                "the folder of leases": f"ls {folder} || ls {folder}/volumes/node-1/lease-1",
                "the other's file": "find / -name mine 2>/dev/null | grep mine",
                "the other's process": f"ls /proc/{job}/ || kill -0 {job}",
                "the agent's": "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -e '[p]ytest' -e 'hooks[.]shell'",
                "the agent's memory": f"head -c 1 /proc/{os.getpid()}/mem",
                "the machine's users": "grep -v -e ^root: -e ^gpu: -e ^nobody: /etc/passwd || cat /etc/shadow",
                "a disk": "ls /dev | grep -e '^[sv]d[a-z]' -e nvme -e nvidia -e kmsg -e '^mem$'",
                "another network namespace": "unshare --net --map-root-user true && nsenter -t 1 -n true",
                "the system's folders": "touch /usr/x /etc/x /lib/x 2>/dev/null",
                "the machine's settings": "echo 1 > /proc/sys/kernel/printk || echo x > /sys/kernel/uevent_seqnum",
                "a larger memory than /tmp's": "head -c 5000000000 /dev/zero > /dev/x",
                "a service on the machine's loopback": reach.format("127.0.0.1", port),
                "it by the gateway of its network": reach.format("10.0.2.2", port),
                "an abstract socket of the machine's": f"/usr/bin/python3 -c '{connect}' || python3 -c '{connect}'",
            }
            reached = {name for name, command in tries.items() if other.run(command)[0] == 0}
        shared = {"a service on the machine's loopback", "an abstract socket of the machine's"}
        assert reached == (shared if network == "machine" else set())
        assert ProcessTable().user(job) == own_user
    finally:
        for name in ("lease-1", "lease-2"):
            assert await close_lease(folder, name) == HookOutcome(True)


@contextmanager
def abstract_server() -> Iterator[str]:
    """Listen as services of a machine do that have no file: who shares its network can connect."""
    with socket.socket(socket.AF_UNIX) as server:
        name = f"hourbook-test-{os.getpid()}"
        server.bind(f"\0{name}")
        server.listen()
        yield name


async def test_a_full_home_ends_what_runs_says_why_and_lets_its_buyer_delete(folder):
    tenant = await open_lease(folder, "lease-1", volume_mib=64)
    hidden = "mkdir d; cd d; head -c 60000000 /dev/zero > a; rm a"
    unnamed = "exec 9>b; rm b; head -c 60000000 /dev/zero >&9; head -c 60000000 /dev/zero > c; chmod 0 ."
    try:
        assert tenant.run("head -c 90000000 /dev/zero > one; wc -c < one")[1] == f"{64 << 20}\n", "no file is larger"
        assert tenant.run("rm one; echo ok") == (0, "ok\n")
        began = time.monotonic()
        status, said = tenant.run(f"({hidden}; {unnamed}; sleep 4302) 2>&1")
        assert (status, said) == (255, ""), "what holds bytes without a name is counted too"
        assert time.monotonic() - began < 30
        until(lambda: tenant.run("chmod 700 d && rm -r d && echo deleted")[1] == "deleted\n")
        assert tenant.run("head -c 20000000 /dev/zero > small; sleep 3; wc -c < small") == (0, "20000000\n")
    finally:
        assert await close_lease(folder, "lease-1") == HookOutcome(True)


async def test_an_agent_that_finds_a_leases_server_dead_opens_it_again_where_it_was(folder, caplog):
    tenant = await open_lease(folder, "lease-1", script="echo once >> runs")
    until(lambda: tenant.run("cat runs") == (0, "once\n"))
    state = StateFolder(folder / "state")
    book = LeaseBook(state)
    lease = LeaseStart.model_validate_json((folder / "volumes" / "node-1" / "lease-1" / "lease.json").read_bytes())
    book.begin(lease.model_copy(update={"ends_ms": 1 << 42}))
    book.opened("lease-1", tenant.outcome)
    policy = SimpleNamespace(current=SimpleNamespace(hooks=hook_in(folder)))
    lessor = Lessor(Identity.load_or_make(state), LeaseBook(state), policy, SimpleNamespace(clock=VenueClock()), state)
    lessor.node_id = "node-1"
    try:
        (look,) = lessor.due()
        await look
        assert (lessor.due(), lessor.may_offer()) == ([], True), "it runs"
        os.kill(tenant.outcome.evidence.ancestors[0][0], signal.SIGKILL)
        until(lambda: tenant.run("true")[0] == 255)
        (work,) = lessor.due()
        await work
        assert "lease lease-1 is open again" in caplog.text or lessor.book.live() == ("lease-1",)
        assert tenant.run("cat runs") == (0, "once\n"), "home, key and port are as before, and the script ran once"
        known = lessor.book.outcome("lease-1", "start")
        assert (known.endpoint, known.host_key) == (tenant.outcome.endpoint, tenant.outcome.host_key)
        assert (known.evidence == tenant.outcome.evidence, lessor.due()) == (False, [])
    finally:
        assert await close_lease(folder, "lease-1") == HookOutcome(True)


async def test_files_come_and_go_by_sftp_and_scp(folder):
    tenant = await open_lease(folder, "lease-1")
    source = folder / "données 1.bin"
    source.write_bytes(os.urandom(300_000))
    tenant.run("true")  # writes known_hosts
    line = openssh_command(tenant.door, (), tenant.key.with_name("known_hosts"), tenant.key)
    options = [*line[1 : line.index("-l")], "-P", str(tenant.door.port)]
    target = f"{tenant.door.user}@{tenant.door.host}"
    try:
        by_scp = subprocess.run(
            ["scp", "-O", *options, str(source), f"{target}:by-scp"], capture_output=True, timeout=60
        )
        assert (by_scp.returncode, tenant.run("wc -c < by-scp")) == (0, (0, "300000\n")), by_scp.stderr
        batch = f'put "{source}" by-sftp\n'.encode()
        by_sftp = subprocess.run(["sftp", *options, "-b", "-", target], input=batch, capture_output=True, timeout=60)
        if sftp_program():
            assert (by_sftp.returncode, tenant.run("cmp by-scp by-sftp")) == (0, (0, "")), by_sftp.stderr
        else:
            assert b"hourbook: this node has no sftp-server" in by_sftp.stderr
    finally:
        assert await close_lease(folder, "lease-1") == HookOutcome(True)


def until(holds: Callable[[], bool], within_s: float = 30) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_folder_of_any_depth_whose_owner_closed_it_is_measured_and_removed(folder):
    folder /= "lease-1"
    try:
        _fill_deeply(folder)
        assert folder_bytes(folder) > 5_000_000 or os.getuid()
    finally:
        clear(folder)  # whatever stops the test: pytest itself cannot remove a folder of this depth
    assert list(folder.parent.iterdir()) == []


def _fill_deeply(folder):
    folder.mkdir()
    inner = os.open(folder, os.O_RDONLY)
    for _ in range(1_500):  # more than Python may recurse, a path may be long, or a process may have open
        os.mkdir("deeper", dir_fd=inner)
        inner, outer = os.open("deeper", os.O_RDONLY, dir_fd=inner), inner
        os.close(outer)
    with open(os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=inner), "wb") as file:
        file.write(b"x" * 5_000_000)
    os.fchmod(inner, 0)
    os.close(inner)
    (folder / "deeper").chmod(0)


@pytest.mark.parametrize(
    "bwrap, refusal",
    [
        (None, "the shell hook needs bubblewrap: there is no bwrap on PATH\n"),
        (
            "echo 'bwrap: No permissions to create a new namespace' >&2; exit 1",
            "the shell hook needs user namespaces, and {} cannot make any here: "
            "bwrap: No permissions to create a new namespace\n",
        ),
    ],
)
def test_without_bubblewrap_or_user_namespaces_the_hook_refuses_in_one_line(tmp_path, bwrap, refusal):
    if bwrap:
        (tmp_path / "bwrap").write_text(f"#!/bin/sh\n{bwrap}\n")
        (tmp_path / "bwrap").chmod(0o755)
    environment = {"PATH": str(tmp_path), "HOURBOOK_LEASE_ID": "lease-1", "HOURBOOK_NODE": "node-1"}
    environment |= {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    command = [sys.executable, "-m", "agents.node.hooks.shell", "start", "--folder", str(tmp_path)]
    done = subprocess.run(command, env=environment, input=LEASE.canonical(), capture_output=True)
    assert (done.returncode, done.stderr.decode()) == (1, refusal.format(tmp_path / "bwrap"))


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
