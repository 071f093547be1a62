"""The stand-in NVML library, built once, and a child process that reads it through the real pynvml."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from agents.node.inventory import Nvml
from infra.fake_nvml.build import build_library, environment
from infra.fake_nvml.scenario import H100_SXM, scenario_text, write_scenario
from schemas.nodes import GpuReading
from tests.unit.agents.machine import ROOT, Machine, served


@pytest.fixture(scope="session")
def library_folder(tmp_path_factory) -> Path:
    """The folder to put on LD_LIBRARY_PATH."""
    return build_library(tmp_path_factory.mktemp("fake_nvml"))


@pytest.fixture
def in_child(library_folder, tmp_path):
    """Runs Python code in a child that finds the stand-in library; returns what it prints as JSON."""

    def run(code: str, scenario: Path) -> object:
        child = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | environment(library_folder, scenario) | {"PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert child.returncode == 0, child.stderr
        return json.loads(child.stdout)

    return run


@pytest.fixture
def machine(tmp_path, library_folder):
    machine = Machine(tmp_path, library_folder)
    with ExitStack() as servers:
        hosts = ("gateway", "delivery", "market-data")
        machine.write_config(*(servers.enter_context(served(machine.venue, host)) for host in hosts))
        yield machine


class StandIn:
    """A scenario of the stand-in library, and the telemetry that reads it through its own child process."""

    def __init__(self, scenario: Path) -> None:
        self.scenario = scenario
        self.opened: list[Nvml] = []

    def write(self, text: str, *lines: str) -> None:
        """Replaces the scenario."""
        write_scenario(self.scenario, text + "".join(f"{line}\n" for line in lines))

    def add(self, *lines: str) -> None:
        """Adds lines to the scenario."""
        self.write(self.scenario.read_text(), *lines)

    def open(self, **arguments: object) -> Nvml:
        """Starts telemetry, which ends with the test."""
        self.opened.append(Nvml(**arguments))
        return self.opened[-1]

    def read_until(self, nvml: Nvml, condition: Callable, timeout_s: float = 20) -> tuple[GpuReading, ...]:
        """Reads until the condition holds on the readings; returns them, or the last ones where time is up."""
        end = time.monotonic() + timeout_s
        while not condition(readings := nvml.read()) and time.monotonic() < end:
            time.sleep(0.05)
        return readings


@pytest.fixture
def stand_in(library_folder, tmp_path, monkeypatch):
    """Two healthy H100 of the stand-in library; add lines to make them odd."""
    made = StandIn(tmp_path / "scenario.txt")
    made.write(scenario_text("site-a", H100_SXM, 2))
    for name, value in environment(library_folder, made.scenario).items():
        monkeypatch.setenv(name, value)
    yield made
    for nvml in made.opened:
        nvml.close()
