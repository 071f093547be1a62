"""How a service ends: quietly when asked, with a traceback by a fault, in one line where an operator has to decide."""

import json
import subprocess
import sys

SCRIPT = """
import asyncio
from services.kit.logs import configure_logs
from services.kit.places import LogLost
from services.kit.process import run_service

configure_logs("test")

async def fail():
    raise LogLost("the event log ends at record 3")

async def main(tasks):
    tasks.create_task(fail())
    await asyncio.Event().wait()

run_service(main)
"""


def test_what_no_program_may_decide_ends_a_service_with_one_line_and_a_status_of_its_own():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    (line,) = map(json.loads, done.stderr.splitlines())
    assert done.returncode == 78
    assert line["event"] == "stopped: the event log ends at record 3; see docs/runbooks/kafka-lost.md"
