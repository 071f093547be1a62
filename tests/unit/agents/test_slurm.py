"""Slurm as a source of idleness, on what a real one answered (tests/fixtures/slurm): who has GPUs, what is held."""

import json
import os
import time
from datetime import datetime
from pathlib import Path

import pytest

from agents.node.errors import BadConfiguration
from agents.node.idle_rules import SlurmRule
from agents.node.idleness.slurm import Slurm, gpus_in, nodes_in, records_of
from agents.node.idleness.source import Look, SourceFailed, Span, Use, merged
from agents.node.policy import PolicyFile
from tests.fakes.venue import until
from tests.unit.agents.test_node import POLICY, PlayedSite
from tests.unit.agents.test_policy import MINIMAL

RECORDED = Path(__file__).parents[2] / "fixtures" / "slurm"
RUNNING_S, HOUR_S = 1_796_059_171, 3600  # when the recorded jobs began
PROGRAM = """#!/bin/sh
said="$(basename "$0") $*"
echo "$said" >> {folder}/asked
for file in {folder}/answers/*; do
    read -r words < "$file"
    case "$said" in "$words"*) tail -n +2 "$file"; exit 0;; esac
done
case "$said" in
    *show*|squeue*) echo "slurm_load: Unable to contact slurm controller (connect failure)" >&2; exit 1;;
esac
"""


class Cluster:
    """Programs in Slurm's place that answer what was recorded, and take down what they were asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "answers").mkdir()
        (folder / "bin").mkdir()
        for program in ("scontrol", "squeue"):
            file = folder / "bin" / program
            file.write_text(PROGRAM.format(folder=folder))
            file.chmod(0o755)

    def answer(self, command: str, text: str) -> None:
        (self._folder / "answers" / command.replace("/", "_").replace(" ", "_")).write_text(f"{command}\n{text}")

    def record(self, command: str, file: str) -> None:
        self.answer(command, (RECORDED / file).read_text())

    def changes(self) -> list[str]:
        """Returns what changed something, since the last time."""
        asked = self._folder / "asked"
        lines = asked.read_text().splitlines() if asked.exists() else []
        asked.write_text("")
        return [line for line in lines if " show " not in line and not line.startswith("squeue")]


@pytest.fixture
def cluster(tmp_path, monkeypatch) -> Cluster:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    made = Cluster(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    made.record("scontrol show node gpu07", "node.txt")
    made.record("scontrol show reservation", "reservations.txt")
    made.record("squeue --json", "squeue.json")
    made.record("squeue -h", "pending.txt")
    for job in ("7", "8"):
        made.record(f"scontrol show job -d -o {job}", f"job-{job}.txt")
    yield made
    monkeypatch.undo()
    time.tzset()


def slurm(**fields) -> Slurm:
    return Slurm(SlurmRule(node="gpu07", **fields))


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text + "+00:00").timestamp())


async def test_what_no_job_has_or_is_scheduled_for_is_free_hour_by_hour(cluster):
    look = await slurm().look()
    ends = {
        use.what: (use.gpus, use.end_s) for use in look.uses if use.what.startswith("job") and "come" not in use.what
    }
    assert look.gpus == 4
    assert {what: gpus for what, (gpus, _) in ends.items()} == {"job 5": 2, "job 6": 1}
    waiting = Use(3, "job 7 to come", seconds("2026-11-30T18:49:31"), seconds("2026-11-30T20:49:31"))
    upgrade = Use(None, "reservation upgrade", seconds("2026-12-01T10:00:00"), seconds("2026-12-01T12:00:00"))
    assert [use for use in look.uses if use.what not in ends] == [waiting, upgrade]


async def test_jobs_end_with_their_time_limit_and_one_that_is_late_soon(cluster, monkeypatch):
    recorded_s = seconds("2026-11-30T18:49:31")
    for now_s, end_s in ((RUNNING_S, recorded_s), (recorded_s + 60, recorded_s + 360)):
        monkeypatch.setattr("agents.node.idleness.slurm.time.time", lambda now_s=now_s: now_s)
        job = next(use for use in (await slurm().look()).uses if use.what == "job 5")
        assert (job.gpus, job.end_s) == (2, end_s)
    free = Look(4, (Use(2, "a", 0, 1000), Use(1, "b"), Use(1, "c", 2000, 3000))).free
    assert [free(*span) for span in ((900, 1100), (1000, 1100), (1999, 2001))] == [(1, "a, b"), (3, "b"), (2, "b, c")]


async def test_the_form_of_versions_from_23_02_on_is_read_too(cluster):
    answer = json.loads((RECORDED / "squeue.json").read_text())
    for job in answer["jobs"]:
        job["job_state"] = [job["job_state"]]
        job["end_time"] = {"set": True, "infinite": False, "number": job["end_time"]}
    answer["jobs"][0]["end_time"] = {"set": False, "infinite": True, "number": 0}
    cluster.answer("squeue --json", json.dumps(answer))
    uses = [use for use in (await slurm().look()).uses if use.what in ("job 5", "job 6")]
    assert [(use.gpus, use.end_s is None) for use in uses] == [(2, True), (1, False)]


async def test_a_node_that_others_have_drained_or_that_is_down_is_not_idle_and_the_agents_own_drain_is(cluster):
    node = (RECORDED / "node.txt").read_text()
    for state, reason in (("MIXED+DRAIN", "disk is broken [root@2026-11-30T17:19:36]"), ("DOWN*+NOT_RESPONDING", "")):
        said = node.replace("State=MIXED", f"State={state}").rstrip() + (f" Reason={reason}\n" if reason else "\n")
        cluster.answer("scontrol show node gpu07", said)
        look = await slurm().look()
        assert look.uses[0] == Use(None, f"the node is {state.lower()} in Slurm" + (f": {reason}" if reason else ""))
        assert look.free(0, 1)[0] == 0
    own = (
        node.replace("State=MIXED", "State=MIXED+DRAIN").rstrip()
        + " Reason=hourbook: sold [root@2026-11-30T17:19:36]\n"
    )
    cluster.answer("scontrol show node gpu07", own)
    assert not any("the node is" in use.what for use in (await slurm().look()).uses)


async def test_sold_hours_are_reserved_once_and_given_back_when_they_are_sold_no_more(cluster):
    start_s = seconds("2026-12-02T10:00:00")
    sold = (Span(start_s, start_s + HOUR_S), Span(start_s + HOUR_S, start_s + 2 * HOUR_S))
    await slurm().hold(sold)
    name = f"hourbook_gpu07_{start_s}_{start_s + 2 * HOUR_S}"
    assert cluster.changes() == [
        f"scontrol create reservation ReservationName={name} Nodes=gpu07 StartTime=2026-12-02T10:00:00 "
        "EndTime=2026-12-02T12:00:00 Users=root Flags=IGNORE_JOBS,OVERLAP"
    ]
    upgrade = (RECORDED / "reservations.txt").read_text()
    ours = upgrade.replace("ReservationName=upgrade", f"ReservationName={name}")
    cluster.answer("scontrol show reservation", upgrade + ours)
    await slurm().hold(sold)
    assert cluster.changes() == []
    assert [use.what for use in (await slurm().look()).uses if "reservation" in use.what] == ["reservation upgrade"]
    await slurm().hold(sold[:1])
    assert [line.split()[1:4] for line in cluster.changes()] == [
        ["create", "reservation", f"ReservationName=hourbook_gpu07_{start_s}_{start_s + HOUR_S}"],
        ["delete", f"ReservationName={name}"],
    ]
    await slurm().hold(())
    assert cluster.changes() == [f"scontrol delete ReservationName={name}"]


async def test_draining_begins_before_the_hour_leaves_others_drains_alone_and_ends_with_the_last_hour(cluster):
    now_s, node = int(time.time()), (RECORDED / "node.txt").read_text()
    near, far = Span(now_s + 1800, now_s + 5400), Span(now_s + 7200, now_s + 9000)
    drain = slurm(take="drain")
    await drain.hold((far,))
    assert cluster.changes() == []
    await drain.hold((near, far))
    assert cluster.changes() == ["scontrol update NodeName=gpu07 State=DRAIN Reason=hourbook: sold"]
    drained = node.replace("State=MIXED", "State=MIXED+DRAIN").rstrip()
    cluster.answer("scontrol show node gpu07", drained + " Reason=hourbook: sold [root@2026-11-30T17:19:36]\n")
    await drain.hold((near,))
    assert cluster.changes() == []
    await drain.hold((far,))
    assert cluster.changes() == ["scontrol update NodeName=gpu07 State=RESUME"]
    cluster.answer("scontrol show node gpu07", drained + " Reason=disk is broken [root@2026-11-30T17:19:36]\n")
    await drain.hold(())
    assert cluster.changes() == []


@pytest.mark.parametrize(
    ("command", "answer", "words"),
    [
        ("squeue --json", "{", "squeue --json: gave an unreadable answer"),
        ("squeue --json", '{"jobs": [{"job_state": "RUNNING"}]}', "squeue --json: gave an unreadable answer"),
        (
            "scontrol show node gpu07",
            "NodeName=gpu08 Gres=gpu:4\n",
            "scontrol show node gpu07: gave an unreadable answer",
        ),
        ("scontrol show node gpu07", "NodeName=gpu07 Gres=(null)\n", "node gpu07 has no GPUs in Slurm"),
    ],
)
async def test_an_answer_that_cannot_be_read_is_said_and_taken_for_no_idleness(cluster, command, answer, words):
    cluster.answer(command, answer)
    with pytest.raises(SourceFailed, match=words):
        await slurm().look()


async def test_a_controller_that_is_away_a_program_that_hangs_and_one_that_is_missing_are_named(
    cluster, tmp_path, monkeypatch
):
    (tmp_path / "answers" / "scontrol_show_node_gpu07").unlink()
    with pytest.raises(SourceFailed, match="scontrol show node gpu07 -d -o: slurm_load: Unable to contact slurm"):
        await slurm().look()
    (tmp_path / "bin" / "scontrol").write_text("#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(SourceFailed, match="took longer than 1 s"):
        await slurm(timeout_s=1).look()
    (tmp_path / "bin" / "scontrol").write_text("#!/bin/sh\nexec cat /dev/zero\n")
    with pytest.raises(SourceFailed, match="prints more than"):
        await slurm().look()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin" / "scontrol").chmod(0o644)
    with pytest.raises(SourceFailed, match="scontrol cannot be run: Permission denied"):
        await slurm().look()


@pytest.fixture
def site(tmp_path, cluster) -> PlayedSite:
    (tmp_path / "site").mkdir()
    made = PlayedSite(tmp_path / "site")
    made.policy.write_text(POLICY + '[idle.slurm]\nnode = "gpu07"\nlook_s = 5\n')
    return made


def jobs_without_end() -> str:
    jobs = json.loads((RECORDED / "squeue.json").read_text())["jobs"]
    running = [job | {"end_time": 0} for job in jobs if job["job_id"] == 5]
    return json.dumps({"jobs": running})


async def test_a_node_offers_what_its_cluster_leaves_and_reserves_what_it_sells(site, cluster):
    cluster.answer("squeue --json", jobs_without_end())
    cluster.answer("squeue -h", "")
    cluster.answer("scontrol show reservation", "No reservations in the system\n")
    async with site.running():
        await until(lambda: site.gpus_offered() == [2, 2, 2])
        cluster.changes()
        start_s = site.venue.standing()[1][0]
        site.venue.sell_gpus(start_s, 1)
        await until(lambda: site.gpus_offered() == [2, 1, 2])
        name = f"hourbook_gpu07_{start_s}_{start_s + HOUR_S}"
        changes: list[str] = []
        await until(lambda: changes.extend(cluster.changes()) or any(name in each for each in changes))
        assert {line.split(" Nodes=")[0] for line in changes} == {f"scontrol create reservation ReservationName={name}"}


async def test_a_cluster_that_cannot_be_asked_takes_the_node_off_the_market_until_it_answers(site, cluster, tmp_path):
    cluster.answer("squeue --json", jobs_without_end())
    cluster.answer("squeue -h", "")
    cluster.answer("scontrol show reservation", "No reservations in the system\n")
    node = (tmp_path / "answers" / "scontrol_show_node_gpu07").read_text()
    (tmp_path / "answers" / "scontrol_show_node_gpu07").unlink()
    async with site.running():
        words = "Slurm cannot be asked what is idle"
        await until(lambda: (site.node.status or {}).get("why_not") == words)
        assert site.gpus_offered() == []
        assert "Unable to contact slurm controller" in site.node.status["troubles"]["idleness"]
        (tmp_path / "answers" / "scontrol_show_node_gpu07").write_text(node)
        await until(lambda: site.gpus_offered() == [2, 2, 2])


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        ("gpu:h100:4", 4),
        ("gpu:h100:2(IDX:0-1)", 2),
        ("gpu:8(IDX:0-7)", 8),
        ("gpu:3090:2(S:0-1),gpu:a100_1g.5gb:3", 5),
        ("gres:gpu:3", 3),
        ("gres/gpu:2", 2),
        ("cpu=1,mem=1000M,node=1,billing=1,gres/gpu=2,gres/gpu:h100=2", 2),
        ("cpu=1,gres/gpu:h100=2,gres/gpu:a100=1", 3),
        ("mps:100,shard:4", 0),
        ("cpu=1,node=1", 0),
        ("", 0),
    ],
)
def test_gpus_are_counted_in_every_form_that_slurm_writes(text, gpus):
    assert gpus_in(text) == gpus


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("gpu07", {"gpu07"}),
        ("gpu[07-09,12],login1", {"gpu07", "gpu08", "gpu09", "gpu12", "login1"}),
        ("rack[1-2]-a", {"rack1-a", "rack2-a"}),
        ("", set()),
        ("gpu[1-99999999999]", set()),
    ],
)
def test_lists_of_nodes_are_spelled_out_within_bounds(text, nodes):
    assert nodes_in(text) == nodes


def test_values_with_blanks_and_empty_ones_are_read():
    line = (
        "NodeName=a OS=Linux 6.1 #1 SMP  State=IDLE Owner=N/A CPUs/Task=1 Reason=not now [root@2026-11-30T17:19:36]\n"
    )
    fields = {"NodeName": "a", "OS": "Linux 6.1 #1 SMP", "State": "IDLE", "Owner": "", "CPUs/Task": "1"}
    assert list(records_of(line)) == [fields | {"Reason": "not now [root@2026-11-30T17:19:36]"}]
    assert list(records_of("No reservations in the system\n")) == []


def test_hours_that_touch_are_one_span():
    assert merged([Span(3, 4), Span(1, 2), Span(2, 3), Span(6, 7), Span(6, 8)]) == (Span(1, 4), Span(6, 8))


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('[idle.slurm]\nnode = "gpu 7"\n', "line 7: idle.slurm.node: should have letters, digits and . _ - only"),
        ('[idle.slurm]\nnode = "-x"\n', "line 7: idle.slurm.node: should have letters, digits"),
        ('[idle.slurm]\ntake = "all"\nnode = "a"\n', "line 7: idle.slurm.take: .*'reserve' or 'drain'"),
        ("[idle.slurm]\nlook_s = 30\n", "line 6: idle.slurm.node: is missing"),
        ('[idle.slurm]\nnode = "a"\n[idle.kubernetes]\nnode = "a"\n', "line 6: idle: slurm and kubernetes exclude"),
        ('[idle.kubernetes]\nnode = "a"\nurl = "http://a"\n', "line 8: idle.kubernetes.url: "),
    ],
)
def test_a_scheduler_that_cannot_be_meant_is_refused_with_its_line(tmp_path, lines, words):
    file = tmp_path / "policy.toml"
    file.write_text(MINIMAL + lines)
    with pytest.raises(BadConfiguration, match=words):
        PolicyFile(file)
