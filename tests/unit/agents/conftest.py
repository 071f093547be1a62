"""The stand-in NVML library, built once, and a child process that reads it through the real pynvml."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from infra.fake_nvml.build import build_library, environment
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
