"""Logs: what an error shows, and what it must not."""

import json
import subprocess
import sys

PROGRAM = """
import structlog
from services.kit.logs import configure_logs

def connect(database_url):
    raise ConnectionError("no server")

log = configure_logs("ledger")
try:
    connect("postgresql://hourbook:SECRET@127.0.0.1/hourbook")
except ConnectionError:
    log.error("ended by an error", exc_info=True)
"""


def test_an_error_is_logged_with_its_cause_but_without_local_variables_which_hold_secrets():
    output = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stderr
    entry = json.loads(output)
    assert (entry["service"], entry["level"], entry["event"]) == ("ledger", "error", "ended by an error")
    assert (entry["exception"][0]["exc_type"], entry["exception"][0]["exc_value"]) == ("ConnectionError", "no server")
    assert "SECRET" not in output


ODD = """
from pathlib import Path
from services.kit.logs import configure_logs
configure_logs("ledger").warning("renumbered", moved={1: 2}, place=Path("/x"), ids={7})
"""


def test_numbers_as_keys_and_things_that_json_does_not_know_are_logged_and_end_nothing():
    output = subprocess.run([sys.executable, "-c", ODD], capture_output=True, text=True, check=True).stderr
    entry = json.loads(output)
    assert (entry["moved"], entry["place"], entry["ids"]) == ({"1": 2}, "PosixPath('/x')", "{7}")


FOREIGN = """
import logging
from services.kit.logs import configure_logs
configure_logs("ledger")
try:
    raise RuntimeError("x" * 10_000)
except RuntimeError:
    logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
"""


def test_a23_what_a_library_logs_is_one_bounded_entry_like_all_others():
    output = subprocess.run([sys.executable, "-c", FOREIGN], capture_output=True, text=True, check=True).stderr
    entry = json.loads(output)
    assert (entry["level"], entry["service"], entry["logger"]) == ("error", "ledger", "uvicorn.error")
    assert "RuntimeError" in entry["error"]
    assert entry["where"].startswith("<string>:")
    assert len(output) < 2_000


FULL = """
import logging, os, sys, structlog
os.dup2(os.open("/dev/full", os.O_WRONLY), 2)
from services.kit.logs import configure_logs
log = configure_logs("ledger")
for _ in range(3):
    log.warning("waiting for Kafka")
    logging.getLogger("aiokafka").error("Unable to update metadata")
    structlog.get_logger().info("posting", text="x" * 20_000)
print("goes on")
"""


def test_what_a_full_disk_does_not_take_is_lost_and_ends_nobody_who_says_it():
    done = subprocess.run([sys.executable, "-c", FULL], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "goes on\n", "")
