"""A real Slurm on loopback, controller and node: jobs take GPUs, sold hours are reserved or drained, and given back.

Tier: CI, about 15 seconds. It needs Debian packages slurmctld, slurmd, slurm-client and munge; `.ci/run` installs them
where it may, and says so where it may not.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from agents.node.idle_rules import IdleRule, SlurmRule
from agents.node.idleness.slurm import Slurm
from agents.node.idleness.source import Span, Use
from agents.node.idleness.watch import SourceWatch

PROGRAMS = ("munged", "slurmctld", "slurmd", "scontrol", "squeue", "sbatch", "scancel")
WHERE = f"{os.environ['PATH']}:/usr/sbin"
if missing := [name for name in PROGRAMS if shutil.which(name, path=WHERE) is None]:
    pytest.skip(f"NO REAL SLURM IS TRIED HERE: there is no {', '.join(missing)}", allow_module_level=True)

NODE, HOUR_S = "gpu07", 3600
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=bf_interval=1,bf_window=2880
GresTypes=gpu
ReturnToService=2
MpiDefault=none
SlurmdParameters=config_overrides
NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=1000 Gres=gpu:h100:4 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE DefaultTime=60 State=UP
"""


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def until(condition, what: str, timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    folder = Path(tempfile.mkdtemp(prefix="slurm"))  # short: a socket's path has 107 characters at most
    folder.chmod(0o755)
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            ports.append(probe.getsockname()[1])
    user = run("id", "-un")
    text = CONFIGURATION.format(host=socket.gethostname(), user=user, folder=folder, ports=ports, node=NODE)
    (folder / "slurm.conf").write_text(text)
    for index in range(4):
        (folder / f"nvidia{index}").touch()
    (folder / "gres.conf").write_text(f"NodeName={NODE} Name=gpu Type=h100 File={folder}/nvidia[0-3]\n")
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o600)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    before = {name: os.environ.get(name) for name in ("SLURM_CONF", "PATH")}
    os.environ |= {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": WHERE}
    munge = [f"--{name}={folder}/{file}" for name, file in (("socket", "munge.sock"), ("key-file", "munge.key"))]
    munge += [f"--{name}={folder}/munged.{name}" for name in ("pid-file", "log-file", "seed-file")]
    daemons: list[subprocess.Popen] = []
    try:
        with (folder / "log").open("wb") as log:
            for command in (["munged", "--foreground", "--force", *munge], ["slurmctld", "-D"], ["slurmd", "-D"]):
                daemons.append(subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL))
                if command[0] == "munged":
                    until((folder / "munge.sock").exists, "munged listens")
        until(lambda: "State=IDLE" in _node(), "the node is idle")
        yield
        run("scancel", "-u", user)
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(timeout=30)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        shutil.rmtree(folder, ignore_errors=True)


def _node() -> str:
    answer = subprocess.run(["scontrol", "show", "node", NODE, "-o"], capture_output=True, text=True, timeout=60)
    return answer.stdout


def submit(gpus: int, minutes: int) -> str:
    answer = run(
        *(
            "sbatch",
            "-n1",
            f"--gres=gpu:{gpus}",
            "-t",
            str(minutes),
            "-o",
            "/dev/null",
            "--chdir=/",
            "--wrap",
            "sleep 3000",
        )
    )
    return answer.split()[-1]


def state_of(job: str) -> str:
    return run("squeue", "-h", "-j", job, "-o", "%T")


@pytest.fixture(autouse=True)
def clean(cluster) -> Iterator[None]:
    yield
    run("scancel", "-u", run("id", "-un"))
    until(lambda: not run("squeue", "-h"), "the queue is empty")
    until(lambda: "State=IDLE" in _node(), "the node is idle again")


def slurm(**fields) -> Slurm:
    return Slurm(SlurmRule(node=NODE, **fields))


async def test_running_and_planned_jobs_take_their_gpus_for_their_time_and_nothing_else_does():
    assert (await slurm().look()).free(0, 2**40) == (4, "")
    running, waiting = submit(2, 90), submit(3, 120)
    until(lambda: state_of(running) == "RUNNING", "the first job runs")
    until(lambda: "N/A" not in run("squeue", "-h", "-j", waiting, "-o", "%S"), "the second job is planned")
    look, now_s = await slurm().look(), int(time.time())
    assert [(use.gpus, use.what) for use in look.uses] == [(2, f"job {running}"), (3, f"job {waiting} to come")]
    ends = [look.free(now_s + minutes * 60, now_s + minutes * 60 + 60)[0] for minutes in (10, 100, 220)]
    assert ends == [2, 1, 4]


async def test_a_reserved_hour_keeps_jobs_that_would_run_into_it_away_until_it_is_given_back():
    start_s = int(time.time()) // HOUR_S * HOUR_S + 2 * HOUR_S
    sold = (Span(start_s, start_s + HOUR_S), Span(start_s + HOUR_S, start_s + 2 * HOUR_S))
    await slurm().hold(sold)
    await slurm().hold(sold)
    assert (await slurm().look()).free(start_s, start_s + HOUR_S) == (4, "")
    reservations = run("scontrol", "show", "reservation", "-o").splitlines()
    assert len(reservations) == 1
    assert f"StartTime={datetime.fromtimestamp(start_s).isoformat()}" in reservations[0]
    long, short = submit(1, 600), submit(1, 30)
    until(lambda: state_of(short) == "RUNNING", "the short job runs")
    assert state_of(long) == "PENDING"
    await slurm().hold(())
    until(lambda: state_of(long) == "RUNNING", "the long job runs")
    assert run("scontrol", "show", "reservation", "-o") == "No reservations in the system"


async def test_a_drained_node_lets_running_jobs_end_starts_none_and_is_resumed():
    running = submit(1, 30)
    until(lambda: state_of(running) == "RUNNING", "a job runs")
    now_s, drain = int(time.time()), slurm(take="drain")
    await drain.hold((Span(now_s + 1800, now_s + 5400),))
    assert "DRAIN" in _node()
    waiting = submit(1, 30)
    look = await drain.look()
    assert look.uses[0].what == f"job {running}"
    assert look.free(now_s + 7200, now_s + 10_800)[0] == 4
    assert (state_of(running), state_of(waiting)) == ("RUNNING", "PENDING")
    await drain.hold(())
    until(lambda: state_of(waiting) == "RUNNING", "the job that waited runs")


async def test_what_an_admin_drains_and_reserves_is_not_sold_and_stays_as_it_is():
    run("scontrol", "update", f"NodeName={NODE}", "State=DRAIN", "Reason=disk is broken")
    window = ("StartTime=now+1day", "Duration=60", f"Nodes={NODE}", "Users=root", "Flags=IGNORE_JOBS")
    run("scontrol", "create", "reservation", "ReservationName=upgrade", *window)
    try:
        for take in ("reserve", "drain"):
            await slurm(take=take).hold(())
        look = await slurm().look()
        assert look.free(0, 1)[0] == 0
        assert [use.what.split(" [")[0] for use in look.uses] == [
            "the node is idle+drain in Slurm: disk is broken",
            "reservation upgrade",
        ]
        assert isinstance(look.uses[1], Use) and look.uses[1].end_s - look.uses[1].start_s == HOUR_S
    finally:
        run("scontrol", "update", f"NodeName={NODE}", "State=RESUME")
        run("scontrol", "delete", "ReservationName=upgrade")


async def test_the_watch_holds_a_sale_until_its_end_though_the_book_forgets_it_at_the_gate():
    watch = SourceWatch(None)
    rule = IdleRule(slurm=SlurmRule(node=NODE))
    now_s = int(time.time())
    sold = Span(now_s + HOUR_S, now_s + 2 * HOUR_S)
    look, hindrance = await watch.follow(rule, (sold,), now_s)
    assert (look.gpus, hindrance) == (4, "")
    await watch.follow(rule, (), now_s + 1)
    assert "hourbook_" in run("scontrol", "show", "reservation", "-o")
    await watch.follow(rule, (), sold.end_s)
    assert run("scontrol", "show", "reservation", "-o") == "No reservations in the system"
    assert watch.notices.about() == {}
