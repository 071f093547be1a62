"""How the agent begins and ends as a process: one agent per state folder, signals that reach it, stated statuses.

Tier: default, about 15 s. Cases O01 and O02 of the field.
"""

import shutil
import signal
import subprocess
import sys
import time

import pytest

from agents.node.ending import ExitStatus
from agents.node.errors import StateInUse
from agents.node.state import StateFolder
from tests.unit.agents.machine import wait


def ended(agent: subprocess.Popen, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
    agent.send_signal(number)
    _, words = agent.communicate(timeout=30)
    return agent.returncode, words


def test_o01_a_second_agent_on_a_state_folder_refuses_in_one_line_and_the_first_goes_on(machine):
    first = machine.start()
    try:
        wait(lambda: machine.venue.reports, first)
        second = machine.start()
        _, words = second.communicate(timeout=30)
        assert second.returncode == ExitStatus.IN_USE
        assert words.splitlines()[-1].endswith(
            f"the agent with pid {first.pid} works on {machine.folder / 'state'} already: one agent per state folder"
        )
        assert "Traceback" not in words
        seen = len(machine.venue.reports)
        wait(lambda: len(machine.venue.reports) > seen + 2, first)
    finally:
        assert ended(first)[0] == ExitStatus.OK
    assert len({report.agent for report in machine.venue.reports}) == 1


def test_o01_a_folder_is_free_again_when_its_agent_was_killed(machine):
    first = machine.start()
    wait(lambda: machine.venue.reports, first)
    assert ended(first, signal.SIGKILL)[0] == -signal.SIGKILL
    second = machine.start()
    seen = len(machine.venue.reports)
    wait(lambda: len(machine.venue.reports) > seen, second)
    assert ended(second)[0] == ExitStatus.OK


def test_a_copy_of_a_state_folder_starts_no_second_agent_with_its_key(machine):
    first = machine.start()
    wait(lambda: machine.venue.reports, first)
    shutil.copytree(machine.folder / "state", machine.folder / "copy")
    config = machine.folder / "agent.toml"
    config.write_text(config.read_text().replace('state_dir = "state"', 'state_dir = "copy"'))
    second = machine.start()
    _, words = second.communicate(timeout=30)
    seen = len(machine.venue.reports)
    wait(lambda: len(machine.venue.reports) > seen + 2, first)
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=30)
    assert (second.returncode, first.returncode) == (ExitStatus.IN_USE, ExitStatus.OK)
    assert "Traceback" not in words
    assert "another agent on this machine works with the key of node-" in words


def test_o01_two_locks_of_one_folder_never_hold_at_once(tmp_path):
    with (
        StateFolder(tmp_path).locked(),
        pytest.raises(StateInUse, match="one agent per state folder"),
        StateFolder(tmp_path).locked(),
    ):
        pass
    with StateFolder(tmp_path).locked():
        pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_o02_hourbook_agent_run_is_the_agent_itself_so_that_its_pid_ends_it(machine, number):
    wrapper = machine.run(sys.executable, "-m", "console", "agent", "run", str(machine.folder / "agent.toml"))
    wait(lambda: machine.venue.standing(), wrapper)
    assert ended(wrapper, number)[0] == ExitStatus.OK
    assert machine.venue.standing() == []
    with StateFolder(machine.folder / "state").locked():
        pass


def test_o02_the_agent_ends_within_its_bound_although_the_venue_hangs(machine):
    agent = machine.start()
    wait(lambda: machine.venue.standing(), agent)
    machine.venue.silent = True
    time.sleep(0.3)
    began = time.monotonic()
    status, words = ended(agent)
    machine.venue.silent = False
    assert time.monotonic() - began < 6
    assert status in (ExitStatus.OK, ExitStatus.LATE)
    assert "Traceback" not in words


def test_o02_a_second_signal_ends_the_agent_at_once(machine):
    agent = machine.start()
    wait(lambda: machine.venue.standing(), agent)
    machine.venue.silent = True
    time.sleep(0.3)
    began = time.monotonic()
    agent.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    status, words = ended(agent)
    machine.venue.silent = False
    assert (status, time.monotonic() - began < 2.5) == (ExitStatus.LATE, True)
    assert "SIGTERM again: exiting at once" in words
