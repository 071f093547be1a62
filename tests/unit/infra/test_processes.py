"""Child processes: started, awaited, stopped, and recognised by number and beginning."""

import subprocess
import sys
import time
from pathlib import Path
from threading import Event

import psutil
import pytest

from infra import processes
from infra.places import REPOSITORY

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
]


def program(tmp_path: Path, command: list[str], **settings: float) -> processes.Program:
    log = tmp_path / "log"
    return processes.Program("sleeper", command, log, ready=lambda: "up" in log.read_text(), **settings)


def test_a_program_is_awaited_and_stopped_by_its_signal(tmp_path):
    sleeper = program(tmp_path, SLEEP)
    process = processes.start(sleeper)
    processes.wait_ready(sleeper, process, within_s=10)
    processes.stop(sleeper, process)
    assert process.returncode == -15


def test_a_program_that_ignores_its_signal_is_killed(tmp_path):
    sleeper = program(tmp_path, STUBBORN, stop_within_s=0.2)
    process = processes.start(sleeper)
    processes.wait_ready(sleeper, process, within_s=10)
    processes.stop(sleeper, process)
    assert process.returncode == -9


def test_a_program_that_ends_while_awaited_shows_the_end_of_its_log(tmp_path):
    failing = program(tmp_path, [sys.executable, "-c", "import sys; sys.exit('no such table')"])
    with pytest.raises(processes.DidNotStart, match=r"sleeper ended with status 1:\nno such table"):
        processes.wait_ready(failing, processes.start(failing), within_s=10)


def test_waiting_ends_at_once_when_the_exchange_is_asked_to_stop(tmp_path):
    silent = processes.Program("silent", SLEEP, tmp_path / "log", ready=lambda: False)
    process, stopping = processes.start(silent), Event()
    stopping.set()
    with pytest.raises(processes.Interrupted):
        processes.wait_ready(silent, process, stopping=stopping)
    processes.stop(silent, process)


def test_a_pid_file_names_the_process_only_while_the_same_one_runs(tmp_path):
    process = subprocess.Popen(SLEEP, stdout=subprocess.DEVNULL)
    path = tmp_path / "sleeper.pid"
    processes.write_pid_file(path, process.pid)
    assert processes.read_pid_file(path).pid == process.pid
    path.write_text(f"{process.pid} 1000.0\n")  # the number was used again by a process that began at another time
    assert processes.read_pid_file(path) is None
    processes.write_pid_file(path, process.pid)
    process.kill()
    process.wait()
    assert processes.read_pid_file(path) is None


@pytest.mark.parametrize("text", ["", "abc", "12"])
def test_a_broken_pid_file_names_nobody(tmp_path, text):
    path = tmp_path / "broken.pid"
    path.write_text(text)
    assert processes.read_pid_file(path) is None


def test_a_program_that_follows_its_parent_ends_when_the_parent_is_killed(tmp_path):
    parent = f"""
from pathlib import Path
from infra.processes import Program, start
import time
child = start(Program("child", {SLEEP!r}, Path({str(tmp_path / "log")!r}), lambda: True, dies_with_parent=True))
print(child.pid, flush=True)
time.sleep(60)
"""
    started = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    child = psutil.Process(int(started.stdout.readline()))
    started.kill()
    started.wait()
    gone, alive = psutil.wait_procs([child], timeout=10)
    assert (gone, alive) == ([child], [])


def test_a23_a_log_is_bounded_while_its_program_writes_on(tmp_path):
    log = tmp_path / "log"
    writing = "import sys\nfor line in sys.stdin: print(line.strip(), flush=True)"
    with log.open("ab") as output:
        program = subprocess.Popen([sys.executable, "-c", writing], stdin=subprocess.PIPE, stdout=output, text=True)
    for number in range(5):
        program.stdin.write(f"{number}" * 100 + "\n")
        program.stdin.flush()
        while not log.read_text().endswith(f"{number}\n"):
            time.sleep(0.01)
        processes.bound_log(log, bytes_max=50, kept=2)
        assert log.stat().st_size == 0
    program.stdin.close()
    program.wait()
    kept = {each.name: each.read_text() for each in tmp_path.iterdir()}
    assert kept == {"log": "", "log.1": "4" * 100 + "\n", "log.2": "3" * 100 + "\n"}
    processes.bound_log(tmp_path / "none", 50, 2)
