"""The program itself, in a child process: the stand-in NVML through the real pynvml, HTTP over a socket, signals."""

import json
import signal

from infra.fake_nvml.scenario import lose_gpu, write_scenario
from schemas.nodes import message_hash
from tests.unit.agents.machine import wait


def test_the_agent_sells_a_simulated_node_says_so_pulls_it_when_a_gpu_is_lost_and_ends_on_sigterm(machine):
    agent = machine.start()
    try:
        wait(lambda: machine.venue.standing(), agent)
        assert {(gpus, price) for _, gpus, price in machine.venue.standing()} == {(8, "12.840000")}
        assert machine.venue.enrolments[0].grade == "H100SXM80X8"
        assert machine.venue.enrolments[0].nvml_simulated and machine.venue.reports[-1].nvml_simulated
        lose_gpu(machine.scenario, 3)
        wait(lambda: not machine.venue.standing(), agent)
        wait(lambda: not machine.venue.reports[-1].gpus[3].present, agent)
    finally:
        agent.send_signal(signal.SIGTERM)
        _, words = agent.communicate(timeout=30)
    assert agent.returncode == 0
    assert "NVML IS SIMULATED" in words


def test_an_inspection_is_signed_by_the_nodes_key_and_deposited_once(machine):
    agent = machine.start()
    try:
        wait(lambda: machine.venue.reports, agent)
    finally:
        agent.send_signal(signal.SIGINT)
        agent.communicate(timeout=30)
    gpu = machine.venue.enrolments[0].gpus[2]
    inspection = machine.start("--inspect", gpu.uuid, "--nonce", "5" * 64)
    answer, words = inspection.communicate(timeout=30)
    assert inspection.returncode == 0, words
    (report,) = machine.venue.inspections
    assert json.loads(answer)["inspection_id"] == message_hash(report)
    assert (report.nonce, [each.inventory for each in report.gpus]) == ("5" * 64, [gpu])


def test_a_missing_configuration_and_an_unknown_gpu_end_in_one_clear_line(machine):
    (machine.folder / "agent.toml").rename(machine.folder / "agent.old")
    missing = machine.start()
    _, words = missing.communicate(timeout=30)
    assert missing.returncode == 1 and "agent.toml" in words and "Traceback" not in words
    (machine.folder / "agent.old").rename(machine.folder / "agent.toml")
    write_scenario(machine.scenario, machine.scenario.read_text().replace("NVIDIA H100 80GB HBM3", "Voodoo 2"))
    unknown = machine.start()
    _, words = unknown.communicate(timeout=30)
    assert unknown.returncode == 1 and "Voodoo 2" in words and "Traceback" not in words
