"""The program itself, in a child process: the stand-in NVML through the real pynvml, HTTP over a socket, signals."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from infra.fake_nvml.build import environment
from infra.fake_nvml.scenario import H100_SXM, lose_gpu, scenario_text, write_scenario
from schemas.nodes import message_hash
from tests.fakes.venue import FakeVenue
from tests.unit.agents.conftest import ROOT
from tests.unit.agents.test_policy import MINIMAL

PRODUCT = "H100SXM80X8.CNE.F"


@contextmanager
def served(venue: FakeVenue, host: str):
    """Serves one of the venue's hosts on a port of its own."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = httpx.Request(self.command, f"http://{host}{self.path}", headers=dict(self.headers), content=body)
            with lock:
                response = venue._answer(request)
            self.send_response(response.status_code)
            self.send_header("Content-Length", str(len(response.content)))
            self.end_headers()
            self.wfile.write(response.content)

        do_POST = do_DELETE = do_GET

        def log_message(self, *arguments):
            """Keeps quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class Machine:
    """A node's files, and the agent as a process."""

    def __init__(self, folder: Path, library_folder: Path) -> None:
        self.folder = folder
        self.scenario = folder / "scenario.txt"
        write_scenario(self.scenario, scenario_text("site-a", H100_SXM, 8))
        (folder / "policy.toml").write_text(MINIMAL + "whole_node = true\nidle.for_ms = 0\nperiods_ahead = 2\n")
        key = Ed25519PrivateKey.generate()
        (folder / "operator-api.ed25519").write_text(key.private_bytes_raw().hex() + "\n")
        self.venue = FakeVenue(PRODUCT, key.public_key().public_bytes_raw().hex(), interval_ms=100)
        self._environment = os.environ | environment(library_folder, self.scenario) | {"PYTHONPATH": str(ROOT)}

    def write_config(self, gateway: str, delivery: str, market_data: str) -> None:
        (self.folder / "agent.toml").write_text(
            f'state_dir = "state"\npolicy = "policy.toml"\napi_key = "operator"\n'
            f'api_key_file = "operator-api.ed25519"\ntoken = "token"\n[venue]\ngateway_url = "{gateway}"\n'
            f'delivery_url = "{delivery}"\nmarket_data_url = "{market_data}"\n'
        )

    def start(self, *options: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "agents.node", "--config", str(self.folder / "agent.toml"), *options]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, env=self._environment, cwd=ROOT, text=True, **pipes)


@pytest.fixture
def machine(tmp_path, library_folder):
    machine = Machine(tmp_path, library_folder)
    with ExitStack() as servers:
        hosts = ("gateway", "delivery", "market-data")
        machine.write_config(*(servers.enter_context(served(machine.venue, host)) for host in hosts))
        yield machine


def wait(condition, process: subprocess.Popen) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


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
