"""A ready hook without what it needs sells nothing, and says in one line what that is.

Tier: default. About 3 seconds on two quiet cores.
"""

import logging
import sys
from pathlib import Path

import pytest

from agents.node.hooks.readiness import Readiness, problem_of
from agents.node.notices import Notices
from agents.node.policy import HookRule
from console.commands.agent import choose_hook

FAKE = Path(__file__).parents[2] / "fakes" / "docker.py"
SHELL = HookRule(kind="shell")
CONTAINER = HookRule(kind="container", image="pytorch:2.8")
NO_BWRAP = "the shell hook needs bubblewrap: there is no bwrap on PATH"
NO_IMAGE = "the image pytorch:3.0 is not on this machine: docker pull pytorch:3.0"
VENUE = "https://delivery.example.com"


@pytest.fixture
def programs(tmp_path, monkeypatch) -> Path:
    """A PATH of its own, with nothing on it."""
    place, state = tmp_path / "bin", tmp_path / "docker-state"
    for each in (place, state):
        each.mkdir()
    monkeypatch.setenv("PATH", str(place))
    monkeypatch.setenv("FAKE_DOCKER", str(state))
    return place


def put(programs: Path, name: str, script: str) -> None:
    program = programs / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def put_docker(programs: Path) -> None:
    put(programs, "docker", f'exec {sys.executable} -I -S {FAKE} "$@"')


async def test_nothing_is_offered_before_the_hook_has_what_it_needs(programs, caplog):
    caplog.set_level(logging.INFO)
    notices, own = Notices(), HookRule(start=("true",), stop=("true",))
    readiness = Readiness(notices)
    assert (readiness.allows(own), readiness.is_due(own)) == (True, False), "a command is the operator's own"
    assert (readiness.allows(SHELL), readiness.is_due(SHELL)) == (False, True)
    await readiness.look(SHELL)
    assert (readiness.allows(SHELL), notices.about()) == (
        False,
        {"hooks": f"nothing is offered, because nobody could log in: {NO_BWRAP}"},
    )
    put(programs, "bwrap", "exit 0")
    await readiness.look(SHELL)
    assert (readiness.allows(SHELL), readiness.is_due(SHELL), notices.about()) == (True, False, {})
    assert [record.message for record in caplog.records] == [
        f"nothing is offered, because nobody could log in: {NO_BWRAP}",
        "offers go on: the hook has what it needs",
    ]
    assert (readiness.allows(CONTAINER), readiness.is_due(CONTAINER)) == (False, True), "an edited policy is looked at"


def test_what_a_hook_lacks_is_one_line(programs):
    assert problem_of(SHELL) == NO_BWRAP
    assert problem_of(CONTAINER) == "the container hook needs docker or podman: not on PATH"
    put(programs, "bwrap", "exit 0")
    assert problem_of(SHELL) == ""
    missing = problem_of(HookRule(kind="shell", network="own"))
    assert missing == "network = own is not possible: there is no slirp4netns on PATH"
    put(programs, "docker", "echo Cannot connect to the Docker daemon >&2; exit 1")
    assert problem_of(CONTAINER) == f"{programs}/docker version failed: Cannot connect to the Docker daemon"
    put_docker(programs)
    assert problem_of(CONTAINER) == ""
    assert problem_of(HookRule(kind="container", image="pytorch:3.0")) == NO_IMAGE


def test_a_new_policy_names_a_hook_that_works_here_or_says_what_to_install(programs):
    shell = '{ kind = "shell", listen = "10.0.0.7" }'
    assert choose_hook("10.0.0.7", "pytorch:2.8", VENUE) == (shell, NO_BWRAP)
    put_docker(programs)
    container = '{ kind = "container", image = "pytorch:2.8", listen = "10.0.0.7" }'
    assert choose_hook("10.0.0.7", "pytorch:2.8", VENUE) == (container, "")
    assert choose_hook("10.0.0.7", "pytorch:3.0", VENUE)[1] == NO_IMAGE
    put(programs, "bwrap", "exit 0")
    assert choose_hook("10.0.0.7", "pytorch:2.8", VENUE) == (shell, "")
    near = choose_hook("127.0.0.1", "pytorch:2.8", "http://127.0.0.1:18082")
    assert near == ('{ kind = "shell", listen = "127.0.0.1", network = "machine" }', "")
