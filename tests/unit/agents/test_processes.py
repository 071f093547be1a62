"""Whose a process is: container, cgroup, user and ancestor in that order; what it says of itself never counts."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from agents.node.processes import Evidence, LiveLease, Owners, ProcessTable, in_bounds
from schemas.nodes import GpuProcess, GpuReading

CONTAINER = "4f1c" * 16
NAMED = b"HOURBOOK_LEASE_ID=lease-1\0"


class Table:
    """A /proc of the test's own: processes with parent, start, cgroup, user, environment and program."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, pid: int, parent: int = 1, started: int = 50, cgroup: str = "0::/user.slice\n", **facts: object):
        place = self.folder / str(pid)
        (place / "task" / str(pid)).mkdir(parents=True)
        (place / "task" / str(pid) / "children").write_text("")
        (place / "stat").write_text(f"{pid} (a ) b) S {parent} {pid} {pid} 0 -1 {'0 ' * 13}{started} 0")
        (place / "cgroup").write_text(cgroup)
        (place / "status").write_text(f"Name:\tx\nUid:\t{facts.get('user', 0)}\t0\t0\t0\n")
        (place / "environ").write_bytes(facts.get("environment", b""))
        os.symlink(facts.get("program", "/usr/bin/python3"), place / "exe")
        return self

    def owners(self) -> Owners:
        return Owners(ProcessTable(self.folder))


@pytest.fixture
def table(tmp_path) -> Table:
    return Table(tmp_path).add(1, parent=0, started=1)


def lease(name: str = "lease-1", **evidence: object) -> LiveLease:
    return LiveLease(name, Evidence(**evidence))


def seen(owners: Owners, *leases: LiveLease, pid: int = 40, memory_mib: int = 900, kind=None) -> tuple:
    labelled = owners.label(GpuProcess(pid=pid, memory_mib=memory_mib, kind=kind), leases)
    return labelled.owner, labelled.lease_id, labelled.evidence


@pytest.mark.parametrize(
    "cgroup",
    [
        f"0::/system.slice/docker-{CONTAINER}.scope\n",
        f"0::/../../docker/{CONTAINER}\n",
        f"12:pids:/docker/{CONTAINER}\n11:cpu,cpuacct:/docker/{CONTAINER}\n0::/\n",
        f"0::/machine.slice/libpod-{CONTAINER}.scope/container\n",
        f"0::/kubepods/besteffort/pod7/{CONTAINER}\n",
        f"1:name=systemd:/kubepods.slice/cri-containerd-{CONTAINER}.scope\n",
    ],
)
@pytest.mark.parametrize("named", [CONTAINER, CONTAINER[:12]])
def test_a_process_is_the_lease_of_its_container_in_cgroups_of_both_versions(table, cgroup, named):
    owners = table.add(40, cgroup=cgroup).owners()
    assert seen(owners, lease(container_id=named)) == ("lease", "lease-1", "container")
    assert seen(owners, lease(container_id="f" * 12)) == ("foreign", None, None)


def test_a_cgroup_covers_what_is_below_it_and_not_what_only_begins_alike(table):
    for pid, path in ((40, "3:memory:/tenants/a/job\n"), (41, "0::/tenants/ab\n"), (42, "0::/tenants/a\n")):
        table.add(pid, cgroup=path)
    whose = [seen(table.owners(), lease(cgroup="/tenants/a"), pid=pid)[0] for pid in (40, 41, 42)]
    assert whose == ["lease", "foreign", "lease"]


def test_a_process_is_the_lease_of_its_user(table):
    owners = table.add(40, user=1007).owners()
    assert seen(owners, lease(uid=1007)) == ("lease", "lease-1", "user")
    assert seen(owners, lease(uid=1008)) == ("foreign", None, None)


def test_a_process_is_the_lease_below_whose_ancestor_it_runs_unless_the_number_was_given_out_again(table):
    owners = table.add(20, started=30).add(30, parent=20).add(40, parent=30).owners()
    assert seen(owners, lease(ancestors=((20, 30),))) == ("lease", "lease-1", "ancestor")
    assert seen(owners, lease(ancestors=((20, 31),))) == ("foreign", None, None)


def test_what_is_below_the_keeper_is_the_lease_and_the_keeper_is_nobodys_work(table):
    table.add(10, started=20).add(20, parent=10, started=30).add(30, parent=20).add(40, parent=10).add(50)
    evidence = {"ancestors": ((20, 30),), "keeper": (10, 20)}
    whose = [seen(table.owners(), lease(**evidence), pid=pid)[0] for pid in (10, 20, 30, 40, 50)]
    assert whose == ["foreign", "lease", "lease", "lease", "foreign"]
    assert seen(table.owners(), lease(keeper=(10, 21)), pid=40)[0] == "foreign"


def test_the_stronger_evidence_decides_between_two_leases(table):
    owners = table.add(40, user=1007, cgroup=f"0::/docker/{CONTAINER}\n").owners()
    leases = (lease("lease-2", uid=1007), lease("lease-3", container_id=CONTAINER))
    assert seen(owners, *leases) == ("lease", "lease-3", "container")


@pytest.mark.parametrize(
    "case, leases",
    [
        ("M13", (lease(container_id=CONTAINER),)),
        ("M13", (lease(ancestors=((20, 30),)),)),
        ("M13", (lease(),)),
        ("A36", (lease("lease-2", uid=1007),)),
        ("A36", ()),
    ],
)
def test_a_claim_in_the_environment_counts_for_nothing(table, case, leases):
    owners = table.add(40, environment=NAMED).owners()
    assert seen(owners, *leases) == ("foreign", None, None), case


def test_a_buyer_who_clears_his_environment_is_still_the_buyer(table):  # M14
    owners = table.add(40, user=1007, environment=b"").owners()
    assert seen(owners, lease(uid=1007)) == ("lease", "lease-1", "user")


def test_a_process_that_cannot_be_seen_is_unknown(table):  # A26
    owners = table.add(40).owners()
    assert seen(owners, lease(uid=1), pid=4_193_999) == ("unknown", None, None)
    (table.folder / "40" / "cgroup").unlink()
    assert seen(owners, lease(cgroup="/a")) == ("unknown", None, None)
    assert seen(owners, lease(uid=1)) == ("foreign", None, None)
    (table.folder / "40" / "status").unlink()
    assert seen(owners, lease(uid=1)) == ("unknown", None, None)
    assert seen(owners, lease(cgroup="/a"), lease("lease-2", ancestors=((40, 50),))) == ("lease", "lease-2", "ancestor")


@pytest.mark.parametrize(
    "program, memory_mib, kind, owner",
    [
        ("/usr/bin/nvidia-cuda-mps-server", 30, None, "other"),
        ("/usr/bin/nv-hostengine", 300, "compute", "other"),
        ("/usr/bin/nv-hostengine", 40_000, "compute", "foreign"),
        ("/usr/lib/xorg/Xorg", 100, "graphics", "other"),
        ("/usr/bin/python3", 30, "mps", "other"),
        ("/usr/bin/python3", 30, "compute", "foreign"),
    ],
)
def test_graphics_and_monitoring_are_listed_and_not_held_against_anybody(table, program, memory_mib, kind, owner):
    owners = table.add(40, program=program).owners()
    assert seen(owners, lease(uid=5), memory_mib=memory_mib, kind=kind) == (owner, None, None)


@contextmanager
def running(*command: str, **options: object):
    process = subprocess.Popen(command, stdout=subprocess.PIPE, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_real_processes_are_told_apart_by_ancestor_and_by_user():
    owners = Owners()
    parent = "import subprocess; p = subprocess.Popen(['sleep', '30']); print(p.pid, flush=True); p.wait()"
    with running(sys.executable, "-c", parent) as above, running("sleep", "30", env=dict(os.environ)) as stranger:
        below = int(above.stdout.readline())
        stat = owners.table.stat(above.pid)
        ours = lease(ancestors=((stat.pid, stat.started),))
        assert seen(owners, ours, pid=below) == ("lease", "lease-1", "ancestor")
        assert seen(owners, ours, pid=stranger.pid) == ("foreign", None, None)
        os.kill(below, 9)
    assert seen(owners, ours, pid=stranger.pid) == ("unknown", None, None)
    if os.getuid() == 0:
        with running("sleep", "30", user=65_000) as tenant:
            assert seen(owners, lease(uid=65_000), pid=tenant.pid) == ("lease", "lease-1", "user")


def test_an_agents_own_work_on_a_gpu_is_nobodys_job():
    assert seen(Owners(), lease(uid=1), pid=os.getpid()) == ("other", None, None)


def test_of_ten_thousand_processes_a_report_holds_those_that_decide_and_stays_within_what_the_venue_takes():
    jobs = tuple(
        GpuProcess(
            pid=pid, memory_mib=pid, owner="lease", lease_id="lease-" + 58 * "7", kind="compute", evidence="container"
        )
        for pid in range(1, 10_001)
    )
    stranger = GpuProcess(pid=70_000, memory_mib=0, owner="foreign", kind="compute")
    reading = GpuReading(uuid="GPU-12345678", present=True, healthy=True, processes=(*jobs, stranger))
    few = reading.model_copy(update={"processes": (stranger, *jobs[:7])})
    for gpus in (1, 8, 64):
        bounded = in_bounds((reading,) * (gpus - 1) + (few,) if gpus > 1 else (reading,))
        share = 3072 // gpus
        assert [(p.pid, p.whose) for p in bounded[0].processes[:2]] == [(10_000, "lease"), (70_000, "foreign")]
        assert len(bounded[0].processes) == share
        assert gpus == 1 or bounded[-1] == few
        assert sum(len(each.model_dump_json()) for each in bounded) < 800_000
