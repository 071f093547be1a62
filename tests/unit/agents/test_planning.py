"""`hourbook-agent plan`: what would be posted now, and why, on a machine of the stand-in library and a played venue.

Tier: default, about 10 s.
"""

import json
import signal
import sys

from agents.node.ending import ExitStatus
from infra.fake_nvml.scenario import H100_SXM, scenario_text, write_scenario
from tests.unit.agents.machine import Machine, wait


def plan(machine: Machine, *options: str, command: str = "plan") -> tuple[int, str, str]:
    config = str(machine.folder / "agent.toml")
    program = machine.run(sys.executable, "-m", "agents.node", command, config, *options)
    output, words = program.communicate(timeout=60)
    assert "Traceback" not in words
    return program.returncode, output, words


def change_policy(machine: Machine, old: str, new: str) -> None:
    file = machine.folder / "policy.toml"
    file.write_text(file.read_text().replace(old, new))


def test_a_plan_says_each_hour_s_price_and_the_rule_that_made_it_and_changes_nothing(machine):
    change_policy(
        machine, 'price.floor = "12.84"', 'price = { floor = "12.84", ask = "16.00", decay = { to_hours = 12 } }'
    )
    status, output, _ = plan(machine)
    lines = output.splitlines()
    assert status == ExitStatus.OK
    assert lines[0] == "not enrolled yet, so nothing stands: 8 of 8 GPUs of H100SXM80X8 may be sold now"
    assert [line.split()[3:] for line in lines[2:4]] == [
        ["F", "8", "12.84", "ask;", "decay", "6", "of", "6", "steps"]
    ] * 2
    assert lines[4] == "now it would withdraw 0 orders, reprice 0 orders, post 1 order"
    assert (machine.venue.posted, machine.venue.enrolments) == ([], [])
    assert not (machine.folder / "state").exists()


def test_a_plan_says_why_nothing_is_offered(machine):
    write_scenario(machine.scenario, scenario_text("site-a", H100_SXM, 8) + "gpu 3 mig 1\n")
    status, output, _ = plan(machine, "--json")
    document = json.loads(output)
    assert status == ExitStatus.OK
    assert (document["gpus"], document["why_not"]) == (0, "the GPUs are sold together, and not all of them are fit")
    assert len(document["withheld"]) == 1
    assert [(ask["gpus"], ask["why_not"]) for ask in document["asks"]] == [(0, [document["why_not"]])] * 2
    assert document["steps"] == {"withdraw": [], "reprice": [], "post": []}


def test_beside_a_running_agent_a_plan_shows_the_steps_from_what_stands(machine):
    program = machine.start()
    try:
        wait(lambda: len(machine.venue.standing()) == 2, program)
        posted = len(machine.venue.posted)
        assert plan(machine)[1].splitlines()[-1] == "now it would withdraw 0 orders, reprice 0 orders, post 0 orders"
        program.send_signal(signal.SIGSTOP)
        change_policy(machine, "12.84", "13.00")
        status, output, _ = plan(machine, "--dry-run", command="run")
        assert (status, output.splitlines()[-1]) == (
            ExitStatus.OK,
            "now it would withdraw 0 orders, reprice 1 order, post 0 orders",
        )
        assert (len(machine.venue.posted), machine.venue.repriced) == (posted, [])
    finally:
        program.send_signal(signal.SIGCONT)
        program.send_signal(signal.SIGTERM)
        program.communicate(timeout=30)


def test_a_policy_that_cannot_be_followed_is_one_line_with_its_place(machine):
    change_policy(machine, 'price.floor = "12.84"', 'price = { floor = "12.84", ask = "1.00" }')
    status, output, words = plan(machine)
    assert (status, output) == (ExitStatus.MEND, "")
    place = f"policy {machine.folder / 'policy.toml'}: line 3: price: ask should be at least the floor"
    assert place in words
    assert len(words.splitlines()) == 1
