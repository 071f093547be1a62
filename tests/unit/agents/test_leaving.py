"""How a node leaves: drained, moved to another machine, or upgraded, which loses nothing.

Tier: default, about 20 s: each test runs the agent as a process.
"""

import json
import shutil
import signal
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest

from agents.node.ending import ExitStatus
from agents.node.enrol import AGENT_VERSION
from schemas.nodes import EnrolRequest, node_id_of
from tests.unit.agents.machine import Machine, wait

GOLDEN = Path(__file__).parents[2] / "golden"


def command(machine: Machine, *words: str) -> tuple[int, str, str]:
    program = machine.run(sys.executable, "-m", "agents.node", *words)
    output, said = program.communicate(timeout=60)
    assert "Traceback" not in said
    return program.returncode, output, said


def end(program) -> str:
    program.send_signal(signal.SIGTERM)
    _, words = program.communicate(timeout=30)
    assert "Traceback" not in words
    return words


@pytest.fixture(autouse=True)
def no_agent_is_left(machine, monkeypatch):
    """Ends what a failing test leaves running: the next one starts with the same key."""
    started, run = [], machine.run
    monkeypatch.setattr(machine, "run", lambda *words: started.append(run(*words)) or started[-1])
    yield
    for program in started:
        if program.poll() is None:
            program.kill()
            program.communicate()


@pytest.fixture
def config(machine) -> str:
    return str(machine.folder / "agent.toml")


def test_drain_offers_nothing_new_waits_for_what_is_sold_and_ends_the_agent(machine, config):
    agent = machine.start()
    wait(lambda: machine.venue.standing(), agent)
    machine.venue.sell_gpus(machine.venue.standing()[0][0], 8)
    draining = machine.run(sys.executable, "-m", "agents.node", "drain", config)
    wait(lambda: not machine.venue.orders, agent)
    assert draining.stdout.readline().startswith("left: 1 positions to deliver, the last in H100SXM80X8.CNE.F")
    machine.venue.positions[0]["state"] = "DELIVERING"
    assert agent.poll() is None
    state = machine.folder / "state"
    wait(lambda: json.loads((state / "status.json").read_text())["why_not"] == "it drains", agent)
    machine.venue.positions[0]["state"] = "METERED"
    _, words = agent.communicate(timeout=30)
    output, _ = draining.communicate(timeout=30)
    assert (agent.returncode, draining.returncode) == (ExitStatus.OK, ExitStatus.OK)
    assert output.endswith("drained: the agent has ended\n")
    assert "drained: nothing is left to deliver" in words
    assert not (state / "drain.json").exists()


def test_a_drain_outlives_a_restart_and_can_be_taken_back(machine, config):
    agent = machine.start()
    wait(lambda: machine.venue.standing(), agent)
    machine.venue.sell_gpus(machine.venue.standing()[0][0], 8)
    status, output, _ = command(machine, "drain", config, "--no-wait")
    assert (status, output) == (ExitStatus.OK, "asked: it ends when what is sold is delivered\n")
    wait(lambda: not machine.venue.orders, agent)
    end(agent)
    status, _, words = command(machine, "drain", config)
    assert (status, "no agent runs on this folder" in words) == (ExitStatus.MEND, True)
    agent, reports = machine.start(), len(machine.venue.reports)
    wait(lambda: len(machine.venue.reports) > reports + 3, agent)
    assert not machine.venue.orders
    assert command(machine, "drain", config, "--undo")[:2] == (ExitStatus.OK, "it offers again\n")
    wait(lambda: machine.venue.orders, agent)
    assert command(machine, "drain", config, "--undo")[:2] == (ExitStatus.OK, "it was not draining\n")
    end(agent)


def test_move_retires_here_and_writes_what_the_other_machine_starts_with(machine, config, tmp_path_factory):
    agent = machine.start()
    wait(lambda: machine.venue.standing(), agent)
    node = machine.venue.reports[-1].agent
    machine.venue.sell_gpus(machine.venue.standing()[0][0], 8)
    end(agent)
    into = tmp_path_factory.mktemp("other") / "node"
    status, _, words = command(machine, "move", config, "--into", str(into))
    assert (status, machine.venue.retired) == (ExitStatus.MEND, [])
    assert "1 positions are not delivered" in words and "--abandon-sold" in words
    machine.venue.positions.clear()
    status, output, _ = command(machine, "move", config, "--into", str(into))
    assert (status, machine.venue.retired) == (ExitStatus.OK, [(node, None)])
    assert json.loads(output)["written"] == str(into / "agent.toml")
    carried = tomllib.loads((into / "agent.toml").read_text())
    assert json.loads(carried["token"])["token_id"] == "et-1"
    assert carried["venue"] == tomllib.loads((machine.folder / "agent.toml").read_text())["venue"]
    assert (into / "agent.toml").stat().st_mode & 0o777 == 0o600
    shutil.copyfile(machine.folder / "operator-api.ed25519", into / "operator-api.ed25519")
    machine.venue.reports.clear()
    elsewhere = machine.run(sys.executable, "-m", "agents.node", "run", str(into / "agent.toml"))
    wait(lambda: machine.venue.reports, elsewhere)
    end(elsewhere)
    assert machine.venue.reports[-1].agent != node
    status, _, words = command(machine, "move", config, "--into", str(into))
    assert (status, "is not empty" in words) == (ExitStatus.MEND, True)


def test_an_agent_that_is_too_old_for_the_venue_says_so_in_one_line(machine):
    machine.venue.agent_at_least = "9.0.0"
    agent = machine.start()
    wait(lambda: len(machine.venue.reports) > 5, agent)
    lines = [line for line in end(agent).splitlines() if "upgrade the agent" in line]
    assert [line.partition("WARNING ")[2] for line in lines] == [
        f"this is {AGENT_VERSION}, the venue needs 9.0.0 or later: upgrade the agent; its state folder stays as is"
    ]


def test_an_upgrade_keeps_node_chain_and_waiting_reports_of_the_version_before(machine):
    """The folder in tests/golden was left by agent 0.1.0, whose venue went away while a report was on its way."""
    with tarfile.open(GOLDEN / "agent-0.1.0.tar.gz") as packed:
        packed.extractall(machine.folder, filter="data")
    known = json.loads((machine.folder / "venue.json").read_text())
    machine.venue.enrolments = [EnrolRequest.model_validate_json(json.dumps(known["enrolment"]))]
    machine.venue.moved, machine.venue.stale_next = (known["seq"], known["hash"]), True
    agent = machine.start()
    wait(lambda: machine.venue.reports and not machine.venue.reports[-1].queued, agent)
    words = end(agent)
    first = machine.venue.reports[0]
    assert (first.seq, first.prev_hash, first.queued) == (known["seq"] + 1, known["hash"], True)
    assert {report.agent for report in machine.venue.reports} == {node_id_of(known["enrolment"]["public_key"])}
    assert len(machine.venue.enrolments) == 1, "it did not enroll again"
    assert "damaged" not in words
