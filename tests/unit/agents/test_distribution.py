"""The agent's own distribution: built, installed where nothing else is, small, and without the exchange.

Tier: CI, about 20 s; packages come from the registry by the agent's lock.
"""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from agents import VERSION
from agents.node.challenge import NO_NUMPY
from infra.bootstrap import AGENT
from infra.places import REPOSITORY
from tests.unit.agents.machine import wait

INSTALLED_MB_MAX = 60
PARTS = ("agents", "schemas", "packaging")
OURS_ELSEWHERE = ("matching_engine", "services", "clients", "console", "infra")
NOT_THERE = ("aiokafka", "asyncpg", "numpy", "cyclopts", "rich", *OURS_ELSEWHERE)
IMPORT_ALL = """
import importlib, json, pkgutil, sys
import agents, schemas
names = [each.name for part in (agents, schemas) for each in pkgutil.walk_packages(part.__path__, part.__name__ + ".")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(json.dumps([sorted(sys.modules), agents.__file__]))
"""


def run(*command: object, **options: object) -> subprocess.CompletedProcess:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=250, **options)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """The interpreter of an empty environment into which the wheel and what its lock names were installed."""
    folder = tmp_path_factory.mktemp("agent")
    source = folder / "source"
    for part in PARTS:
        shutil.copytree(REPOSITORY / part, source / part, ignore=shutil.ignore_patterns("build", "*.egg-info"))
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")
    wheel = ("wheel", "--no-deps", "--no-build-isolation", "-w", folder, source / AGENT)
    assert run(*pip, *wheel).returncode == 0
    python = folder / "venv" / "bin" / "python"
    assert run(sys.executable, "-m", "venv", "--without-pip", folder / "venv").returncode == 0
    into = (*pip, "--python", python, "install", "--no-deps")
    lock = REPOSITORY / "infra" / "agent" / "agent.lock"
    assert run(*into, "--require-hashes", "-r", lock).returncode == 0
    (built,) = folder.glob("*.whl")
    assert run(*into, built).returncode == 0
    return python


def alone() -> dict[str, str]:
    """The environment of a machine that has nothing of this repository."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def machine_wide(python: Path) -> Path:
    return python.parents[1]


@pytest.mark.slow
def test_the_installed_agent_is_small_and_says_its_version(python, tmp_path):
    files = [file for file in machine_wide(python).rglob("*") if file.is_file() and not file.is_symlink()]
    assert sum(file.stat().st_size for file in files) / 1e6 <= INSTALLED_MB_MAX
    said = run(python.parent / "hourbook-agent", "--version", env=alone(), cwd=tmp_path)
    assert (said.returncode, said.stdout) == (0, f"hourbook-agent {VERSION}\n")


@pytest.mark.slow
def test_every_module_of_it_imports_without_the_exchange_and_without_numpy(python, tmp_path):
    done = run(python, "-P", "-c", IMPORT_ALL, env=alone(), cwd=tmp_path)
    modules, place = json.loads(done.stdout)
    assert Path(place).is_relative_to(machine_wide(python))
    assert [name for name in NOT_THERE if name in modules] == []


@pytest.mark.slow
def test_its_doctor_examines_the_machine(python, tmp_path, library_folder):
    from infra.fake_nvml.build import environment
    from infra.fake_nvml.scenario import H100_SXM, scenario_text, write_scenario

    write_scenario(tmp_path / "scenario.txt", scenario_text("site-a", H100_SXM, 1))
    variables = alone() | environment(library_folder, tmp_path / "scenario.txt")
    done = run(python.parent / "hourbook-agent", "doctor", "--json", env=variables, cwd=tmp_path)
    document = json.loads(done.stdout)
    assert (done.returncode, document["counts"]["mend"]) == (0, 0)
    assert any("is sold as H100SXM80" in row["words"] for row in document["findings"])


@pytest.mark.slow
def test_without_numpy_it_runs_and_says_in_one_line_why_simulated_gpus_are_not_proven(python, machine):
    machine._environment.pop("PYTHONPATH")
    agent = machine.run(str(python.parent / "hourbook-agent"), "run", str(machine.folder / "agent.toml"))
    try:
        wait(lambda: len(machine.venue.reports) > 2, agent)
    finally:
        agent.terminate()
        _, words = agent.communicate(timeout=30)
    assert (agent.returncode, "Traceback" in words) == (0, False)
    assert NO_NUMPY in words


def test_the_distribution_lists_every_package_and_both_have_one_version():
    agent = tomllib.loads((REPOSITORY / AGENT / "pyproject.toml").read_text())
    exchange = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    folders = {
        ".".join(file.parent.relative_to(REPOSITORY).parts)
        for part in ("agents", "schemas")
        for file in (REPOSITORY / part).rglob("*.py")
    }
    assert set(agent["tool"]["setuptools"]["packages"]) == folders
    assert exchange["project"]["version"] == VERSION
    assert f"hourbook-agent[cpu-proof]=={VERSION}" in exchange["project"]["dependencies"]
