"""A node without the operator's API key gets one of its own by its token, and acts by it.

Tier: default, about 12 s: each test runs the agent as a process.
"""

import json
import signal
import sys

import pytest

from agents.node.ending import ExitStatus
from schemas.nodes import node_id_of
from tests.unit.agents.machine import Machine, wait

TOKEN = {"account": "operator", "token_id": "et-1", "expires_ms": 2**40, "signature": "0" * 128, "nodes": 200}


@pytest.fixture
def node(machine) -> Machine:
    """The machine, whose configuration names no key of the operator's."""
    file = machine.folder / "agent.toml"
    kept = [line for line in file.read_text().splitlines() if not line.startswith(("api_key", "token"))]
    file.write_text("\n".join(['token_file = "token.json"', *kept]) + "\n")
    (machine.folder / "token.json").write_text(json.dumps(TOKEN))
    (machine.folder / "operator-api.ed25519").unlink()
    return machine


def end(program) -> str:
    program.send_signal(signal.SIGTERM)
    _, words = program.communicate(timeout=30)
    assert "Traceback" not in words
    return words


def command(machine: Machine, *words: str) -> tuple[int, str, str]:
    program = machine.run(sys.executable, "-m", "agents.node", *words)
    output, said = program.communicate(timeout=60)
    assert "Traceback" not in said
    return program.returncode, output, said


def test_the_node_registers_its_key_once_and_sells_by_it(node):
    config = str(node.folder / "agent.toml")
    assert command(node, "check", config)[:2] == (ExitStatus.OK, "all in order\n")
    program = node.start()
    wait(lambda: node.venue.standing(), program)
    words = end(program)
    own = node.venue.enrolments[0].public_key
    assert node.venue.node_keys == [own]
    assert f"by a key of its own, {node_id_of(own)}" in words
    (node.folder / "token.json").unlink()
    program = node.start()
    wait(lambda: node.venue.standing(), program)
    end(program)
    assert node.venue.node_keys == [own], "the token is not needed any more"
    output = command(node, "doctor", config)[1]
    assert "ok       api key: the node acts at the gateway by a key of its own" in output
    assert "ok       api key: the gateway accepts it" in output


def test_what_needs_the_operators_key_says_so(node):
    program = node.start()
    wait(lambda: node.venue.standing(), program)
    end(program)
    status, _, words = command(node, "retire", str(node.folder / "agent.toml"))
    assert (status, "this needs the operator's own key" in words) == (ExitStatus.MEND, True)


def test_a_revoked_token_is_one_line_and_ends_a_node_that_is_new(node):
    node.venue.refusals = ["enrolment_token_refused"]
    program = node.start()
    _, words = program.communicate(timeout=30)
    assert (program.returncode, "Traceback" in words) == (ExitStatus.MEND, False)
    assert "enrolment_token_refused (403)" in words.splitlines()[-1]


def test_a_key_without_its_file_is_refused(node):
    file = node.folder / "agent.toml"
    file.write_text('api_key = "operator"\n' + file.read_text())
    status, output, _ = command(node, "check", str(file))
    assert (status, "set both api_key and api_key_file, or neither" in output) == (ExitStatus.MEND, True)
