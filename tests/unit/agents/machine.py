"""A node's machine: its files, its GPUs by the stand-in library, the agent as a process, and a venue over a socket."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from infra.fake_nvml.build import environment
from infra.fake_nvml.scenario import H100_SXM, scenario_text, write_scenario
from tests.fakes.venue import FakeVenue
from tests.unit.agents.test_policy import MINIMAL

ROOT = Path(__file__).parents[3]
PRODUCT = "H100SXM80X8.CNE.F"


@contextmanager
def served(venue: FakeVenue, host: str):
    """Serves one of the venue's hosts on a port of its own."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = httpx.Request(self.command, f"http://{host}{self.path}", headers=dict(self.headers), content=body)
            while venue.silent:
                time.sleep(0.05)
            with lock:
                response = venue._answer(request)
            self.send_response(response.status_code)
            self.send_header("Content-Length", str(len(response.content)))
            self.end_headers()
            self.wfile.write(response.content)

        do_POST = do_DELETE = do_GET

        def date_time_string(self, timestamp=None):
            return super().date_time_string(time.time() + venue.ahead_s)

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
            f"stop_timeout_s = 3\n"
            f'state_dir = "state"\npolicy = "policy.toml"\napi_key = "operator"\n'
            f'api_key_file = "operator-api.ed25519"\ntoken = "token"\n[venue]\ngateway_url = "{gateway}"\n'
            f'delivery_url = "{delivery}"\nmarket_data_url = "{market_data}"\n'
        )

    def start(self, *options: str) -> subprocess.Popen:
        return self.run(sys.executable, "-m", "agents.node", "--config", str(self.folder / "agent.toml"), *options)

    def run(self, *command: str) -> subprocess.Popen:
        """Runs any program where the agent would run."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "preexec_fn": _heed_signals}
        return subprocess.Popen(command, env=self._environment, cwd=ROOT, text=True, **pipes)


def _heed_signals() -> None:
    """Undoes what a shell's `&` or nohup passes on to the tests: an agent ignores what its starter ignored."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def wait(condition, process: subprocess.Popen) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
