"""The container hook on a real engine: whole leases by OpenSSH's client, their walls, bounds, restarts, ends.

Tier: CI. About 60 seconds on two quiet cores. HOURBOOK_TEST_CONTAINER_IMAGE names the image (with sftp-server and
perl), HOURBOOK_TEST_DOCKERD_PIDFILE the engine's own pid file: the test of a restart needs it. `.ci/run` sets both.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import pytest

from agents.node.hooks.answers import HookOutcome
from agents.node.hooks.lease_folder import former
from agents.node.leases import run_start_hook, run_stop_hook
from agents.node.policy import HookRule
from agents.node.processes import LiveLease, Owners, ProcessTable
from clients.ssh import Door, openssh_command
from schemas.nodes import GpuProcess, LeaseStart, LeaseStop
from tests.unit.agents.test_leases import LEASE

IMAGE = os.environ.get("HOURBOOK_TEST_CONTAINER_IMAGE")
PIDFILE = os.environ.get("HOURBOOK_TEST_DOCKERD_PIDFILE")
NODE = "node-7"
# A tenant's own service, in the language that every image here has.
SERVICE = (
    "use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalPort => 9099, Listen => 1, ReuseAddr => 1); "
    "while (1) { my $c = $s->accept; print $c qq(mine); close $c }"
)

if not IMAGE or shutil.which("ssh") is None:
    why = "HOURBOOK_TEST_CONTAINER_IMAGE is not set" if not IMAGE else "there is no OpenSSH client"
    pytest.skip(f"NO REAL CONTAINER ENGINE IS TRIED HERE: {why}", allow_module_level=True)


@dataclass
class Tenant:
    """One open lease, its door, and the private key that opens it."""

    lease: LeaseStart
    outcome: HookOutcome
    door: Door
    key: Path

    def run(self, command: str, given: bytes = b"") -> tuple[int, str]:
        """Run a command by OpenSSH's client; returns its status and what it printed, both streams."""
        return self.by(openssh_command, (command,), given)

    def by(self, make: Callable, command: tuple[str, ...], given: bytes = b"") -> tuple[int, str]:
        """Run a client's command line."""
        known_hosts = self.key.with_name("known_hosts")
        known_hosts.write_text(self.door.known_host)
        line = make(self.door, command, known_hosts, self.key)
        done = subprocess.run(line, input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=90)
        return done.returncode, done.stdout.decode(errors="replace")

    @property
    def container(self) -> str:
        """The container's name."""
        return f"hourbook-{NODE}-{self.lease.lease_id}"


class House:
    """A node's leases through the hook, as the agent runs it; all are closed at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._open = folder, []

    def rule(self, **options: object) -> HookRule:
        """Return the policy's hook table."""
        given = {"kind": "container", "image": IMAGE, "folder": str(self.folder / "leases"), "timeout_s": 120}
        return HookRule.model_validate(given | options)

    async def open(self, lease_id: str, rule: HookRule | None = None, **wishes: object) -> Tenant:
        """Open a lease under a key pair of its own."""
        place = self.folder / lease_id
        place.mkdir()
        private = asyncssh.generate_private_key("ssh-ed25519")
        key = place / "id"
        key.touch(mode=0o600)
        key.write_bytes(private.export_private_key())
        line = private.export_public_key().decode().strip()
        lease = LEASE.model_copy(update={"lease_id": lease_id, "ssh_keys": (line,)} | wishes)
        self._open.append(lease_id)
        outcome = await run_start_hook(rule or self.rule(), lease, node_id=NODE)
        assert outcome.ok, outcome.detail
        user, _, address = outcome.endpoint.removeprefix("ssh://").partition("@")
        host, _, port = address.rpartition(":")
        return Tenant(lease, outcome, Door(user, host, int(port), outcome.host_key), key)

    async def close(self, lease_id: str) -> HookOutcome:
        """Close a lease."""
        return await run_stop_hook(self.rule(), LeaseStop(lease_id=lease_id, reason="ended"), None, NODE)

    async def close_all(self) -> None:
        """Close what is open."""
        for lease_id in self._open:
            assert await self.close(lease_id) == HookOutcome(True)


@pytest.fixture
async def house(tmp_path) -> Iterator[House]:
    """A node of its own."""
    house = House(tmp_path)
    yield house
    await house.close_all()
    assert ours("ps", "-a") + ours("volume", "ls") + ours("network", "ls") == []
    assert list((tmp_path / "leases" / NODE).iterdir()) == []


def ours(*listing: str) -> list[str]:
    """Return the names of what the engine still has of this node's."""
    names = "{{.Names}}" if listing[0] == "ps" else "{{.Name}}"
    done = subprocess.run(["docker", *listing, "--format", names], capture_output=True, text=True, check=True)
    return [name for name in done.stdout.split() if NODE in name]


def sftp(door: Door, command: tuple[str, ...], known_hosts: Path, identity: Path) -> list[str]:
    options = openssh_command(door, (), known_hosts, identity)
    spelled = options[1 : options.index("-l")]
    return ["sftp", *spelled, "-P", str(door.port), "-b", "-", f"{door.user}@{door.host}"]


def scp(door: Door, command: tuple[str, ...], known_hosts: Path, identity: Path) -> list[str]:
    options = openssh_command(door, (), known_hosts, identity)
    *how, source, target = command
    spelled = options[1 : options.index("-l")]
    return ["scp", *how, *spelled, "-P", str(door.port), source, f"{door.user}@{door.host}:{target}"]


def job_of(mark: str) -> int:
    """Return the number that this machine gives to a tenant's job."""
    for pid in ProcessTable().pids():
        try:
            if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:2] == [b"sleep", mark.encode()]:
                return pid
        except OSError:
            continue
    raise AssertionError(f"no process sleeps {mark}")


def owner_of(pid: int, *tenants: Tenant) -> tuple[str, str | None, str | None]:
    leases = tuple(LiveLease(tenant.lease.lease_id, tenant.outcome.evidence) for tenant in tenants)
    seen = Owners().label(GpuProcess(pid=pid, memory_mib=9), leases)
    return seen.owner, seen.lease_id, seen.evidence


async def test_a_buyer_gets_in_with_his_key_and_what_runs_in_his_container_is_known_as_his(house):
    one, other = await house.open("lease-1"), await house.open("lease-2")
    assert one.run("echo $HOURBOOK_LEASE_ID; hostname; id -u; pwd; exit 3") == (3, "lease-1\nhourbook\n0\n/home/gpu\n")
    assert one.run("wc -c", b"x" * 300_000) == (0, "300000\n")
    assert one.run("nohup sleep 4201.5 >/dev/null 2>&1 & echo started") == (0, "started\n")
    assert other.run("env -i setsid sleep 4202.5 >/dev/null 2>&1 & echo started") == (0, "started\n")
    owners = [owner_of(job_of(mark), one, other) for mark in ("4201.5", "4202.5")]
    assert owners == [("lease", "lease-1", "container"), ("lease", "lease-2", "container")]
    assert owner_of(os.getpid() if os.getppid() == 1 else os.getppid(), one, other)[0] == "foreign"
    assert Tenant(one.lease, one.outcome, one.door, other.key).run("true")[0] == 255, "another's key opens nothing"
    job = job_of("4201.5")
    assert await house.close("lease-1") == HookOutcome(True)
    assert not ProcessTable().lives(job)
    assert one.run("true")[0] == 255


async def test_a_tenant_sees_nothing_of_the_agents_nothing_of_anothers_and_nothing_on_the_machines_loopback(house):
    secret = house.folder / "state"
    secret.mkdir()
    (secret / "node.key").write_text("the agent's key")
    one, other = await house.open("lease-1"), await house.open("lease-2")
    assert one.run("echo mine > here; echo mine > /root/there; sleep 4203.5 >/dev/null 2>&1 & echo ok")[0] == 0
    with socket.create_server(("127.0.0.1", 0)) as of_the_agents:
        port = of_the_agents.getsockname()[1]
        address = one.run("hostname -i")[1].strip()
        one.run(f"nohup perl -e '{SERVICE}' >/dev/null 2>&1 &")
        reach = "timeout 3 bash -c 'exec 3<>/dev/tcp/{}/{} && head -c 4 <&3'"
        assert (
            one.run(f"for i in $(seq 50); do {reach.format(address, 9099)} 2>/dev/null && exit; sleep 0.1; done")[1]
            == "mine"
        )
        tries = {
            "the agent's key": f"cat {secret}/node.key",
            "the folder of leases": f"ls {house.folder}",
            "the engine's socket": "ls /var/run/docker.sock /run/docker.sock",
            "another's home": "ls / /root /home/gpu /tmp | grep -w -e here -e there",
            "another's processes": "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep '[4]203.5'",
            "the agent's processes": "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -e '[p]ytest' -e '[d]ockerd'",
            "another's service": reach.format(address, 9099),
            "a service on the machine's loopback": reach.format("127.0.0.1", port),
            "a mount": "mount -t tmpfs x /mnt",
            "a device of the machine's": "mknod /tmp/disk b 254 0",
            "the kernel's log": "dmesg",
            "the machine's settings": "echo 1 > /proc/sys/kernel/printk",
            "a disk": "ls /dev | grep -e '^[sv]d[a-z]' -e nvme -e nvidia",
        }
        reached = {name for name, command in tries.items() if other.run(command)[0] == 0}
        assert reached == set()
    assert other.run("echo $NVIDIA_VISIBLE_DEVICES") == (0, "void\n")


async def test_the_next_tenant_finds_nothing_of_the_last_ones(house):
    one = await house.open("lease-1")
    hide = "for place in /home/gpu /root /tmp /var/tmp /opt /dev/shm; do echo mine > $place/mine; done; echo ok"
    assert one.run(hide) == (0, "ok\n")
    assert await house.close("lease-1") == HookOutcome(True)
    for lease_id in ("lease-1", "lease-2"):  # the same lease once more, as after a crash, and the next one
        shutil.rmtree(house.folder / lease_id, ignore_errors=True)
        after = await house.open(lease_id)
        assert after.run("find / -xdev -name mine 2>/dev/null; ls -A /home/gpu /dev/shm | grep mine") == (1, "")


async def test_image_and_script_are_arguments_and_the_container_is_bounded(house):
    script = 'echo "$0 \'; rm -rf /" > said; echo $(id -u) >> said; cat /proc/1/comm >> said'
    tenant = await house.open("lease-1", house.rule(memory_mib=256, cpus=1), script=script, image="bobs:1")
    until(lambda: tenant.run("test $(wc -l < said) = 3")[0] == 0)
    assert tenant.run("cat said") == (0, "sh '; rm -rf /\n0\ndocker-init\n")
    shown = subprocess.run(
        ["docker", "inspect", "--format", "{{json .HostConfig}}", tenant.container], capture_output=True, text=True
    )
    for fact in ('"Memory":268435456', '"NanoCpus":1000000000', '"PidsLimit":32768', '"Privileged":false'):
        assert fact in shown.stdout, fact
    assert tenant.run("df -m /dev/shm | tail -1 | awk '{print $2}'") == (0, "16384\n")
    eaten = tenant.run("perl -e 'my $x = \"x\" x 900_000_000; print length $x'")
    assert eaten[0] != 0 and "900000000" not in eaten[1]


async def test_a_buyers_image_that_cannot_be_had_costs_him_no_hour_and_shows_him_none_of_the_operators(house):
    tenant = await house.open("lease-1", house.rule(buyers_image="yes"), image=IMAGE)
    status, said = tenant.run("cat start.log")
    assert (status, said.startswith(f"hourbook: your image {IMAGE} is not available, this is {IMAGE}: ")) == (0, True)


async def test_a_full_volume_ends_what_runs_says_why_and_lets_its_buyer_delete(house):
    tenant = await house.open("lease-1", house.rule(volume_mib=64))
    began = time.monotonic()
    status, said = tenant.run("head -c 200000000 /dev/zero > big; sleep 4205.5")
    assert (status, "hourbook: the home holds" in said, time.monotonic() - began < 25) == (137, True, True), said
    until(lambda: tenant.run("rm -f big; echo deleted")[1] == "deleted\n")
    assert tenant.run("head -c 20000000 /dev/zero > small; sleep 4; wc -c < small") == (0, "20000000\n")


async def test_sftp_and_scp_work_where_the_image_has_a_server_and_are_else_refused_in_one_line(house):
    tenant = await house.open("lease-1")
    source = house.folder / "données 1.bin"
    source.write_bytes(os.urandom(3_000_000))
    status, said = tenant.by(sftp, (), f'put "{source}" by-sftp\n'.encode())
    assert status == 0, said
    for how in ((), ("-O",)):
        assert tenant.by(scp, (*how, str(source), "by-scp")) == (0, "")
        assert tenant.run("cmp by-sftp by-scp && rm by-scp && echo same") == (0, "same\n")
    assert tenant.run("rm /usr/lib/openssh/sftp-server") == (0, "")
    status, said = tenant.by(sftp, (), b"ls\n")
    assert status != 0
    assert "hourbook: this image has no sftp-server; install one in it, or use scp -O, rsync, or tar over ssh" in said


async def test_a_server_that_was_killed_comes_back_under_the_same_key_and_port_and_the_job_has_gone_on(house):
    tenant = await house.open("lease-1", script="echo once >> runs")
    until(lambda: tenant.run("cat runs") == (0, "once\n"))
    assert tenant.run("nohup sleep 4206.5 >/dev/null 2>&1 & echo started") == (0, "started\n")
    job = job_of("4206.5")
    os.kill(former(house.folder / "leases" / NODE / "lease-1")["pid"], signal.SIGKILL)
    until(lambda: tenant.run("true")[0] == 255)
    again = await run_start_hook(house.rule(), tenant.lease, node_id=NODE)
    assert (again.ok, again.endpoint, again.host_key) == (True, tenant.outcome.endpoint, tenant.outcome.host_key)
    assert again.evidence.container_id == tenant.outcome.evidence.container_id
    assert tenant.run("cat runs") == (0, "once\n")
    assert job_of("4206.5") == job


@pytest.mark.skipif(not PIDFILE, reason="NO ENGINE IS RESTARTED HERE: HOURBOOK_TEST_DOCKERD_PIDFILE is not set")
async def test_after_a_restart_of_the_engine_the_buyer_is_in_again_and_the_stop_hook_works(house):
    kept, ended = await house.open("lease-1"), await house.open("lease-2")
    assert kept.run("echo mine > here; sleep 4207.5 >/dev/null 2>&1 &")[0] == 0
    pidfile = Path(PIDFILE)
    pid = int(pidfile.read_text())
    command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]
    table, before = ProcessTable(), ProcessTable().stat(pid)
    os.kill(pid, signal.SIGTERM)
    until(lambda: (now := table.stat(pid)) is None or now.has_ended or now.started != before.started)
    down = await house.close("lease-2")
    assert (down.ok, down.detail.startswith("exit status 1: ")) == (False, True), "the engine is away"
    with pidfile.with_name("log").open("ab") as log:
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    until(lambda: subprocess.run(["docker", "version"], capture_output=True).returncode == 0)
    assert await house.close("lease-2") == HookOutcome(True)
    assert ended.run("true")[0] == 255
    assert kept.run("cat here") == (0, "mine\n")
    again = await run_start_hook(house.rule(), kept.lease, node_id=NODE)
    assert again.evidence.container_id == kept.outcome.evidence.container_id


def until(holds: Callable[[], bool], within_s: float = 30) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)
