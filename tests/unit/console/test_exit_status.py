"""What the exit status of a command says: done, refused, badly written, or that nobody knows."""

import json
import ssl
import sys
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from clients.http import new_credentials, save_credentials
from console import main as command_line
from infra.ports import free_port

DONE, REFUSED, USAGE, UNKNOWN = 0, 1, 2, 75
CONTRACT, PRODUCT = "H100SXM80.CNE.F-26112213", "H100SXM80.CNE.F"
HOURS = ("2026-11-22T13:00:00Z", "2026-11-22T14:00:00Z")
COMMANDS = {
    "place": ["order", "place", CONTRACT, "buy", "2", "--price", "1.00"],
    "block": ["order", "block", PRODUCT, HOURS[0], "2", "1", "1.00"],
    "flex": ["order", "flex", PRODUCT, *HOURS, "2", "1", "1.00"],
    "resell": ["order", "resell", PRODUCT, *HOURS, "1", "1.00"],
    "capacity": ["order", "capacity", PRODUCT, "n-1", "8", *HOURS, "--floor", "1.00"],
    "reprice": ["order", "reprice", "7", "--floor", "1.00"],
    "withdraw": ["order", "withdraw", "7", *HOURS],
    "replace": ["order", "replace", "7", "--qty", "2"],
    "batch": ["order", "batch", "members.json"],
    "cancel": ["order", "cancel", "7"],
    "cancel all": ["order", "cancel", "--all"],
    "cancel-all-after": ["order", "cancel-all-after", "60"],
    "protect": ["order", "protect", PRODUCT, "8", "1000"],
    "move": ["move", "1.00", "CNY", "1"],
    "fund": ["vouchers", "fund", "night", "1.00"],
    "defund": ["vouchers", "defund", "night", "1.00"],
    "issue": ["vouchers", "issue", "night", "bob", "1.00"],
    "deposit": ["admin", "deposit", "alice", "CNY", "1.00"],
    "ssh key": ["ssh-keys", "add", "members.json"],
    "sale": ["sale", "buy", "l-1"],
}
NOT_FOUND = {"code": "not_found", "detail": "no such thing", "order_state": "none"}
ANSWERS = {
    "not answered by the engine": (202, {"order_state": "unknown", "detail": "in time"}, UNKNOWN),
    "not decided yet": (202, {"state": "pending", "transfer_id": "t-1"}, UNKNOWN),
    "cut off by a stop": (503, {"code": "unavailable", "detail": "it stops", "order_state": "unknown"}, UNKNOWN),
    "never answered": (None, None, UNKNOWN),
    "refused": (404, NOT_FOUND, REFUSED),
}


class Answering(BaseHTTPRequestHandler):
    """Gives every request the server's one answer, or hangs up."""

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, body, _ = self.server.answer
        if status is None:
            return self.connection.close()
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_PATCH = do_PUT = do_DELETE = do_GET = answer

    def log_message(self, *args: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def authorities():
    """Makes contexts of TLS, each once: every client loads all authorities, though nothing here is encrypted."""
    return cache(ssl.create_default_context)


@pytest.fixture
def exchange(tmp_path, monkeypatch, authorities):
    """A stand-in for every service, and a folder with the keys that sign."""
    monkeypatch.setattr(ssl, "create_default_context", authorities)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HOURBOOK_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HOURBOOK_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "members.json").write_text("[]")
    save_credentials(tmp_path / "keys", new_credentials("admin"))
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def app():
    return command_line.build_app()


@pytest.fixture
def status_of(app, monkeypatch):
    """Runs a command in this process, on a command line that is built once; returns its exit status."""
    monkeypatch.setattr(command_line, "build_app", lambda: lambda: app(sys.argv[1:]))

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["hourbook", *arguments])
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        return ended.value.code

    return run


@pytest.mark.parametrize("answer", ANSWERS)
def test_every_command_that_changes_something_says_when_nobody_knows_whether_it_did(exchange, status_of, answer):
    exchange.answer = ANSWERS[answer]
    decided_at_once = {"ssh key", "sale"} if answer.startswith("not ") else set()
    asked = COMMANDS.keys() - decided_at_once
    assert {name: status_of(*COMMANDS[name]) for name in asked} == dict.fromkeys(asked, exchange.answer[2])


def test_what_was_never_sent_is_refused_and_a_wrong_command_line_is_another_status(exchange, status_of, monkeypatch):
    monkeypatch.setenv("HOURBOOK_URL", f"http://127.0.0.1:{free_port()}")
    nobody = {status_of(*arguments) for arguments in COMMANDS.values()}
    wrong = {status_of(*arguments, "--no-such-option") for arguments in COMMANDS.values()}
    assert (nobody, wrong) == ({REFUSED}, {USAGE})


def test_reading_is_never_unknown(exchange, status_of):
    exchange.answer = ANSWERS["never answered"]
    assert {status_of(*words) for words in (["order", "list"], ["balance"], ["claims"])} == {REFUSED}
