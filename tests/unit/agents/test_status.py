"""Status, metrics and health of a running agent: of each GPU why it is not offered, what is posted, sold and earned.

Tier: default, about 15 s: each test runs the agent as a process.
"""

import json
import signal
import socket
import sys
import time

import httpx
import pytest

from agents.node.ending import ExitStatus
from agents.node.status_view import lines_of
from infra.fake_nvml.scenario import H100_SXM, gpu_uuids, scenario_text, write_scenario
from tests.unit.agents.machine import Machine, wait

FIRST, SECOND = gpu_uuids("site-a", 2)


def command(machine: Machine, *words: str) -> tuple[int, str, str]:
    program = machine.run(sys.executable, "-m", "agents.node", *words)
    output, said = program.communicate(timeout=60)
    assert "Traceback" not in said
    return program.returncode, output, said


def add_to_config(machine: Machine, *lines: str) -> None:
    file = machine.folder / "agent.toml"
    file.write_text("\n".join((*lines, file.read_text())))


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@pytest.fixture
def two_gpus(machine) -> Machine:
    policy = (machine.folder / "policy.toml").read_text()
    (machine.folder / "policy.toml").write_text(policy.replace("whole_node = true\n", ""))
    machine.venue.product = "H100SXM80.CNE.F"
    machine.venue.remembers = {"state": "active", "reason": "", "level": "T1", "fit_gpus": [FIRST]}
    write_scenario(machine.scenario, scenario_text("site-a", H100_SXM, 2))
    return machine


@pytest.fixture
def config(two_gpus) -> str:
    return str(two_gpus.folder / "agent.toml")


@pytest.fixture
def running(two_gpus):
    """Starts the agent; it ends with the test."""
    started = []

    def start():
        started.append(two_gpus.start())
        wait(lambda: two_gpus.venue.standing(), started[-1])
        return started[-1]

    yield start
    for program in started:
        if program.poll() is None:
            program.send_signal(signal.SIGTERM)
            program.communicate(timeout=30)


def agent_of(machine: Machine) -> dict:
    return json.loads((machine.folder / "state" / "status.json").read_text())


def test_status_says_of_each_gpu_why_it_is_not_offered_and_what_is_posted_sold_and_earned(two_gpus, config, running):
    program = running()
    node = two_gpus.venue.reports[-1].agent
    two_gpus.venue.positions.append(
        {"node": node, "contract": "x", "qty": 1, "state": "SETTLED_FINAL", "currency": "CNY", "net": "12.50"}
    )
    write_scenario(two_gpus.scenario, two_gpus.scenario.read_text() + "gpu 1 utilisation 100\n")
    wait(lambda: agent_of(two_gpus)["offers_gpus"] == 1, program)
    wait(lambda: {gpus for _, gpus, _ in two_gpus.venue.standing()} == {1}, program)
    wait(lambda: agent_of(two_gpus)["standing"]["gpus"] == 1, program)
    status, output, _ = command(two_gpus, "status", config)
    lines = output.splitlines()
    assert (status, lines[0]) == (
        ExitStatus.OK,
        f"{node} of operator, H100SXM80 at CNE: the agent runs as process {program.pid}",
    )
    assert lines[1] == "venue: active, level T1; fit there: 1 GPUs"
    assert f"{FIRST}  offered  [0 %, 0 MiB, 70 W, 34 °C]" in lines
    busy = "withheld: it is busy though no process shows (busy_without_process)"
    assert f"{SECOND}  {busy}  [100 %, 0 MiB, 70 W, 34 °C]" in lines
    assert any(line.startswith("posted: up to 1 GPUs in 2 periods, at 12.840000, last ") for line in lines)
    assert "sold, not begun: 0 GPU-periods in 0 periods" in lines
    assert "earned: 12.50 CNY in the newest 1 settled positions" in lines


def test_a_node_that_the_venue_lets_sell_nothing_says_so_of_every_gpu(two_gpus, config, running):
    program = running()
    two_gpus.venue.sell = False
    wait(lambda: not two_gpus.venue.standing() and agent_of(two_gpus)["why_not"], program)
    lines = command(two_gpus, "status", config)[1].splitlines()
    assert "offers nothing: the venue: node is active: told so" in lines
    assert sum("withheld: the venue: node is active: told so (node)" in line for line in lines) == 2


def test_status_of_an_agent_that_does_not_run_or_was_never_enrolled_is_one_line(two_gpus, config, running):
    assert command(two_gpus, "status", config)[1] == "no node is enrolled here; the agent does not run\n"
    program = running()
    program.send_signal(signal.SIGTERM)
    program.communicate(timeout=30)
    lines = command(two_gpus, "status", config)[1].splitlines()
    assert lines[0].endswith("the agent does not run")
    assert lines[2] == "nothing is offered: start it with `hourbook-agent run`"


def test_watch_shows_it_again_until_it_is_interrupted(two_gpus, config, running):
    running()
    program = two_gpus.run(sys.executable, "-m", "agents.node", "status", config, "--json", "--watch", "0.2")
    shown = [json.loads(program.stdout.readline()) for _ in range(2)]
    program.send_signal(signal.SIGINT)
    program.communicate(timeout=30)
    assert program.returncode == ExitStatus.INTERRUPTED
    assert shown[0]["node"] == shown[1]["node"]
    assert shown[1]["agent"]["written_ms"] > shown[0]["agent"]["written_ms"]


def test_metrics_and_health_are_told_on_a_loopback_port_where_one_is_set(two_gpus, running):
    port = free_port()
    add_to_config(two_gpus, f"metrics_port = {port}")
    program = running()
    write_scenario(two_gpus.scenario, two_gpus.scenario.read_text() + "gpu 1 utilisation 100\n")
    wait(lambda: agent_of(two_gpus)["offers_gpus"] == 1, program)
    health = httpx.get(f"http://127.0.0.1:{port}/healthz")
    assert (health.status_code, health.json()) == (200, {"status": "working"})
    lines = httpx.get(f"http://127.0.0.1:{port}/metrics").text.splitlines()
    for line in (
        "hourbook_agent_offered_gpus 1.0",
        "hourbook_agent_venue_lets_sell 1.0",
        "hourbook_agent_draining 0.0",
        'hourbook_agent_gpus{state="offered"} 1.0',
        'hourbook_agent_gpus{state="withheld"} 1.0',
        f'hourbook_agent_gpu_withheld{{gpu="{SECOND}",reason="busy_without_process"}} 1.0',
        f'hourbook_agent_gpu_power_watts{{gpu="{FIRST}"}} 70.0',
        'hourbook_agent_version_info{version="hourbook-agent 0.1.0"} 1.0',
    ):
        assert line in lines, line
    assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 404


def test_a_port_that_is_taken_or_open_to_others_is_one_line(two_gpus):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        add_to_config(two_gpus, f"metrics_port = {taken.getsockname()[1]}")
        program = two_gpus.start()
        _, words = program.communicate(timeout=30)
    assert program.returncode == ExitStatus.MEND and "metrics_port" in words and "Traceback" not in words
    add_to_config(two_gpus, 'metrics_host = "0.0.0.0"')
    status, _, words = command(two_gpus, "status", str(two_gpus.folder / "agent.toml"))
    assert (status, "metrics_host: should be a loopback address" in words) == (ExitStatus.MEND, True)


def test_logs_are_as_the_file_says_unless_the_command_line_says_otherwise(two_gpus, config, running):
    add_to_config(two_gpus, "log_json = true", 'log_level = "warning"')
    program = running()
    program.send_signal(signal.SIGTERM)
    _, words = program.communicate(timeout=30)
    levels = {json.loads(line)["level"] for line in words.splitlines()}
    assert levels == {"warning"}


def test_a_node_that_measures_nothing_any_more_is_not_well():
    from agents.node.metrics import health_of

    status = {"written_ms": 1_000_000, "measured_s_ago": 3, "report_interval_s": 10, "draining": None}
    assert health_of({}, 0) == (True, "starting")
    assert health_of(status, 1_010_000) == (True, "working")
    assert health_of(status | {"draining": []}, 1_010_000) == (True, "draining")
    assert health_of(status | {"measured_s_ago": 90}, 1_010_000) == (False, "nothing was measured for 90 s")
    assert health_of(status, 1_100_000) == (False, "nothing was measured for 100 s")


def test_old_figures_are_marked():
    agent = {"written_ms": int(time.time() * 1000) - 60_000, "report_interval_s": 10, "reports_waiting": 4}
    shown = {"running_pid": "7", "node": "nd-1", "account": "a", "grade": "G", "hub": "CNE", "venue": "away"}
    lines = lines_of(shown | {"agent": agent, "earned": "away"})
    assert "as of 60 s ago (STALE): no report acknowledged yet, 4 waiting" in lines
