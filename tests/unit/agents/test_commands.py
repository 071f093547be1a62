"""The program's commands besides `run`: check, status, gpus, retire, and how it logs.

Tier: default, about 20 s. Cases O05 and A25 of the field, the operator's side.
"""

import json
import logging
import signal
import subprocess
import sys

import pytest

from agents.node.cli import main
from agents.node.ending import ExitStatus
from agents.node.enrol import AGENT_VERSION
from agents.node.logs import JsonLines
from infra.fake_nvml.scenario import H100_SXM, scenario_text, write_scenario
from tests.unit.agents.machine import Machine, wait


def agent(machine: Machine, command: str, *options: str) -> tuple[int, str, str]:
    config = str(machine.folder / "agent.toml")
    program = machine.run(sys.executable, "-m", "agents.node", command, config, *options)
    output, words = program.communicate(timeout=60)
    assert "Traceback" not in words
    return program.returncode, output, words


def run_until_it_sells(machine: Machine) -> None:
    program = machine.start()
    wait(lambda: machine.venue.standing(), program)
    program.send_signal(signal.SIGTERM)
    program.communicate(timeout=30)


@pytest.fixture
def two_gpus(machine) -> Machine:
    """The machine with two GPUs that are sold singly."""
    policy = (machine.folder / "policy.toml").read_text()
    (machine.folder / "policy.toml").write_text(policy.replace("whole_node = true\n", ""))
    machine.venue.product = "H100SXM80.CNE.F"
    write_scenario(machine.scenario, scenario_text("site-a", H100_SXM, 2))
    return machine


def test_check_names_every_problem_on_a_line_of_its_own_and_changes_nothing(two_gpus):
    assert agent(two_gpus, "check")[:2] == (ExitStatus.OK, "all in order\n")
    policy = two_gpus.folder / "policy.toml"
    policy.write_text(policy.read_text().replace('"12.84"', '"0"').replace('label = "a"', 'label = ""'))
    (two_gpus.folder / "operator-api.ed25519").write_text("rubbish")
    status, output, _ = agent(two_gpus, "check")
    lines = output.splitlines()
    assert (status, len(lines)) == (ExitStatus.MEND, 3)
    assert [any(part in line for line in lines) for part in ("api_key_file", "label:", "price.floor:")] == [True] * 3
    assert not (two_gpus.folder / "state").exists()


def test_check_says_under_which_policy_the_node_can_never_sell(two_gpus):
    policy = two_gpus.folder / "policy.toml"
    policy.write_text(policy.read_text() + "reserve_gpus = 5\n")
    assert agent(two_gpus, "check")[:2] == (
        ExitStatus.MEND,
        "reserve_gpus = 5 of 2 GPUs: this node can never sell\n",
    )


def test_a25_gpus_tells_the_venue_of_a_replaced_gpu_once_the_agent_is_stopped(two_gpus):
    run_until_it_sells(two_gpus)
    old = [gpu.uuid for gpu in two_gpus.venue.enrolments[0].gpus]
    write_scenario(two_gpus.scenario, scenario_text("site-b", H100_SXM, 2))
    listed = json.loads(agent(two_gpus, "gpus")[1])
    assert (listed["gone"], [gpu["enrolled"] for gpu in listed["gpus"]]) == (old, [False, False])
    status, output, _ = agent(two_gpus, "gpus", "--update")
    assert (status, [gpu["enrolled"] for gpu in json.loads(output)["gpus"]]) == (ExitStatus.OK, [True, True])
    new = [gpu.uuid for gpu in two_gpus.venue.gpu_changes[0].gpus]
    assert json.loads((two_gpus.folder / "state" / "node.json").read_text())["gpu_uuids"] == sorted(new)


def test_o05_retire_ends_the_node_and_the_machine_enrols_anew_under_another_key(two_gpus):
    run_until_it_sells(two_gpus)
    first = two_gpus.venue.reports[-1].agent
    status, output, _ = agent(two_gpus, "retire")
    assert (status, two_gpus.venue.retired) == (ExitStatus.OK, [(first, None)])
    assert (json.loads(output)["node"], json.loads(output)["state"]) == (first, "retired")
    two_gpus.venue.reports.clear()
    run_until_it_sells(two_gpus)
    assert len(two_gpus.venue.enrolments) == 2
    assert two_gpus.venue.reports[-1].agent != first


def test_status_says_how_the_node_stands_while_it_runs_and_refuses_to_move_it(two_gpus):
    program = two_gpus.start()
    try:
        wait(lambda: two_gpus.venue.standing(), program)
        node = two_gpus.venue.reports[-1].agent
        two_gpus.venue.remembers = {"state": "active", "reason": "", "level": "T1", "fit_gpus": []}
        status, output, _ = agent(two_gpus, "status", "--json")
        shown = json.loads(output)
        assert (status, shown["running_pid"], shown["node"]) == (ExitStatus.OK, str(program.pid), node)
        assert (shown["agent"]["offers_gpus"], shown["agent"]["troubles"], shown["venue"]["state"]) == (2, {}, "active")
        for command in (("retire",), ("gpus", "--update")):
            status, _, words = agent(two_gpus, *command)
            assert status == ExitStatus.IN_USE and str(program.pid) in words
    finally:
        program.send_signal(signal.SIGTERM)
        program.communicate(timeout=30)


def test_the_version_is_said_and_a_wrong_command_line_is_its_own_status(capsys):
    for arguments, status, words in (
        (["--version"], 0, AGENT_VERSION),
        (["dance"], ExitStatus.USAGE, "invalid choice"),
        (["run"], ExitStatus.USAGE, "required"),
        ([], ExitStatus.USAGE, "required"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        said = capsys.readouterr()
        assert (ended.value.code, words in said.out + said.err) == (status, True)


def test_logs_come_as_json_where_machines_read_them(tmp_path):
    command = [sys.executable, "-m", "agents.node", "run", str(tmp_path / "none.toml"), "--log-json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == ExitStatus.MEND
    line = json.loads(done.stderr.splitlines()[-1])
    missing = f"configuration {tmp_path / 'none.toml'}: there is no such file"
    assert (line["level"], line["message"]) == ("error", missing)
    try:
        raise ValueError("why")
    except ValueError:
        record = logging.getLogger("x").makeRecord("x", logging.ERROR, "f", 1, "a\nb", (), sys.exc_info())
    assert "ValueError: why" in json.loads(JsonLines().format(record))["traceback"]


def test_a_dispute_a_recall_and_maintenance_are_signed_by_the_nodes_key_while_its_agent_runs(two_gpus):
    program = two_gpus.start()
    wait(lambda: two_gpus.venue.standing(), program)
    uuid = two_gpus.venue.enrolments[0].gpus[1].uuid
    status, output, _ = agent(two_gpus, "recall", "7", "--gpu", uuid, "--from", "2026-11-22T13:00:00.5+08:00")
    assert (status, json.loads(output)["gpus"]) == (ExitStatus.OK, [uuid])
    status, output, _ = agent(two_gpus, "maintenance", "2026-11-22T13:00Z", "2026-11-22T14:00Z")
    assert (status, json.loads(output)["maintenance_id"]) == (ExitStatus.OK, "mt-1")
    (two_gpus.folder / "log").write_text("it was up")
    status, _, words = agent(
        two_gpus, "dispute", "7", "--claim", "no_access", "--evidence-file", f"{two_gpus.folder}/log"
    )
    assert (status, "too_late (409)" in words) == (ExitStatus.MEND, True)
    recall, maintenance, dispute = two_gpus.venue.declared
    assert (recall.position_id, recall.gpus, recall.from_ms) == (7, (uuid,), 1_795_323_600_500)
    assert (maintenance.start_ms, maintenance.end_ms) == (1_795_352_400_000, 1_795_356_000_000)
    assert (dispute.position_id, dispute.reason, dispute.evidence) == (7, "no_access", "it was up")
    program.send_signal(signal.SIGTERM)
    program.communicate(timeout=30)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("recall", "0"), "invalid position_id value: '0'"),
        (("recall", "7", "--from", "2026-11-22T13:00"), "invalid moment_ms value"),
        (("maintenance", "now", "then"), "invalid moment_ms value: 'now'"),
        (("dispute", "7", "--claim", "because"), "invalid choice: 'because'"),
        (("dispute", "7", "--claim", "other", "--evidence-file", "/nowhere"), "file /nowhere: there is no such file"),
        (("dispute", "7", "--claim", "other", "--evidence-file", "/dev/zero"), "file /dev/zero: has more than 1000000"),
        (("dispute", "7", "--claim", "other"), "holds no node"),
    ],
)
def test_what_cannot_be_declared_is_one_line(two_gpus, options, words):
    status, _, said = agent(two_gpus, *options)
    assert (status != ExitStatus.OK, words in said) == (True, True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("recall", "7", "--gpu", "GPU-no"), "gpus.0: should be a GPU's UUID like GPU-6d2f1c3a-…"),
        (("recall", "7", "--from", "1900-01-01T00:00Z"), "from_ms: should be greater than or equal to 0"),
        (("maintenance", "0001-01-01T00:00Z", "2026-11-22T13:00Z"), "start_ms: should be greater than or equal to 0"),
        (("inspect", "--nonce", "x"), "nonce: should be 64 hex digits"),
    ],
)
def test_what_a_person_types_and_no_message_can_hold_is_one_line_with_its_name(two_gpus, options, words):
    program = two_gpus.start()
    wait(lambda: two_gpus.venue.reports, program)
    program.send_signal(signal.SIGTERM)
    program.communicate(timeout=30)
    status, _, said = agent(two_gpus, *options)
    assert (status, "Traceback" in said, words in said) == (ExitStatus.MEND, False, True), said


def test_ctrl_c_before_the_node_runs_is_one_line(two_gpus):
    two_gpus.scenario.write_text(two_gpus.scenario.read_text() + "function nvmlInitWithFlags * hang\n")
    program = two_gpus.start()
    wait(lambda: (two_gpus.folder / "state" / "agent.lock").exists(), program)
    program.send_signal(signal.SIGINT)
    _, said = program.communicate(timeout=30)
    assert (program.returncode, "Traceback" in said) == (ExitStatus.INTERRUPTED, False), said
    assert said.count("interrupted: stopping here") == 1


def test_meter_is_a_command_of_the_same_program_and_needs_no_configuration(machine):
    program = machine.run(
        sys.executable, "-m", "agents.node", "meter", "--lease", "lease-7", "--key", "/nowhere", "--url", "http://venue"
    )
    _, words = program.communicate(timeout=60)
    assert (program.returncode, "/nowhere is not the private half of a meter key" in words) == (1, True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ("--lease", "no id!", "--key", "operator-api.ed25519", "--url", "http://venue"),
            "--lease: 'no id!' is not a lease",
        ),
        (
            ("--lease", "lease-7", "--key", "operator-api.ed25519", "--url", "venue"),
            "--url: 'venue' should be an address",
        ),
        (("--lease", "lease-7", "--key", "/dev/zero", "--url", "http://venue"), "/dev/zero is not the private half of"),
    ],
)
def test_a_meter_that_cannot_begin_says_why_in_one_line(machine, options, words):
    options = [str(machine.folder / each) if each.endswith("25519") else each for each in options]
    program = machine.run(sys.executable, "-m", "agents.node", "meter", *options)
    _, said = program.communicate(timeout=60)
    assert (program.returncode, "Traceback" in said, words in said) == (ExitStatus.MEND, False, True), said


def test_output_that_cannot_be_written_is_one_line(two_gpus):
    program = two_gpus.run(
        "sh", "-c", f"exec {sys.executable} -m agents.node check {two_gpus.folder}/agent.toml >/dev/full"
    )
    _, said = program.communicate(timeout=60)
    assert (program.returncode, "Traceback" in said) == (ExitStatus.MEND, False), said
    assert "the operating system refused: No space left on device" in said


def test_status_of_a_node_that_is_not_there_makes_no_folder(two_gpus):
    assert agent(two_gpus, "status", "--json")[:2] == (ExitStatus.OK, '{\n "running_pid": null,\n "node": null\n}\n')
    assert not (two_gpus.folder / "state").exists()


def test_retiring_leaves_the_operators_own_files_where_they_are(two_gpus):
    config = two_gpus.folder / "agent.toml"
    config.write_text(config.read_text().replace('state_dir = "state"', 'state_dir = "."'))
    run_until_it_sells(two_gpus)
    status, _, said = agent(two_gpus, "retire")
    assert (status, (two_gpus.folder / "node.key").exists()) == (ExitStatus.OK, False), said
    assert {"agent.toml", "policy.toml", "operator-api.ed25519"} <= {file.name for file in two_gpus.folder.iterdir()}
