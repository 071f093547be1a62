"""The supervisor's own rules: one for each folder, restarts that wait longer, left-over processes that end."""

import errno
import subprocess
import sys

import psutil
import pytest

from infra import processes
from infra.settings import InfraSettings
from infra.supervisor import AlreadyUp, Child, Supervisor, end_left_over


def settings(tmp_path, **values) -> InfraSettings:
    return InfraSettings(data=tmp_path, **values)


def failing(tmp_path) -> processes.Program:
    return processes.Program("failing", [sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "log", lambda: False)


def crash(supervisor: Supervisor, child: Child) -> float:
    """Let the child end, have it tended, and answer how long its restart waits."""
    child.process.wait()
    supervisor._tend(child)
    delay_s = child.delay_s
    child.restart_at_s = 0.0
    supervisor._tend(child)
    return delay_s


def test_a_program_that_keeps_crashing_waits_twice_as_long_each_time_up_to_the_limit(tmp_path):
    said: list[str] = []
    supervisor = Supervisor(settings(tmp_path, restart_delay_s=0.2, restart_delay_max_s=1.0), said.append)
    child = Child(failing(tmp_path), processes.start(failing(tmp_path)))
    assert [crash(supervisor, child) for _ in range(5)] == [0.2, 0.4, 0.8, 1.0, 1.0]
    assert said[0] == "failing ended with status 3; it starts again in 0.2 s"
    child.process.wait()


def test_a_program_that_ran_steadily_starts_again_after_the_shortest_wait(tmp_path):
    supervisor = Supervisor(settings(tmp_path), lambda line: None)
    child = Child(failing(tmp_path), processes.start(failing(tmp_path)), delay_s=5.0)
    child.started_s -= 31
    assert crash(supervisor, child) == 0.2
    child.process.wait()


def test_a_second_supervisor_of_the_same_folder_is_refused(tmp_path):
    first, second = Supervisor(settings(tmp_path)), Supervisor(settings(tmp_path))
    first.lock()
    with pytest.raises(AlreadyUp):
        second.lock()
    first.stop()
    second.lock()
    second.stop()


def test_what_a_killed_supervisor_left_running_is_ended_and_a_stranger_is_not(tmp_path):
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    left, stranger = subprocess.Popen(sleep), subprocess.Popen(sleep)
    processes.write_pid_file(tmp_path / "ledger.pid", left.pid)
    (tmp_path / "matching.pid").write_text(f"{stranger.pid} 1000.0\n")
    end_left_over(tmp_path)
    assert not psutil.pid_exists(left.pid)
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()
    assert list(tmp_path.glob("*.pid")) == []


def counting(tmp_path, ready_at: int) -> processes.Program:
    """A program that ends with status 3, except at its start number `ready_at`."""
    script = (
        "import pathlib, sys, time\n"
        f"starts = pathlib.Path({str(tmp_path / 'starts')!r})\n"
        "count = int(starts.read_text()) + 1 if starts.exists() else 1\n"
        "starts.write_text(str(count))\n"
        f"time.sleep(60) if count == {ready_at} else sys.exit(3)\n"
    )
    starts = tmp_path / "starts"
    return processes.Program(
        "counting",
        [sys.executable, "-c", script],
        tmp_path / "counting.log",
        lambda: starts.exists() and starts.read_text() == str(ready_at),
    )


def test_a_crash_while_starting_is_mended_like_any_other(tmp_path):
    said: list[str] = []
    supervisor = Supervisor(settings(tmp_path, restart_delay_s=0.05), said.append)
    supervisor.lock()
    program = counting(tmp_path, ready_at=3)
    supervisor._start(program)
    supervisor._wait_for((program,))
    assert said == [
        "counting ended with status 3; it starts again in 0.1 s",
        "counting ended with status 3; it starts again in 0.1 s",
    ]
    supervisor.stop()


def test_a_program_that_ends_at_each_start_is_tried_a_few_times_and_then_named(tmp_path):
    supervisor = Supervisor(settings(tmp_path, restart_delay_s=0.05, start_tries_max=3), lambda line: None)
    supervisor.lock()
    program = counting(tmp_path, ready_at=9)
    supervisor._start(program)
    with pytest.raises(processes.DidNotStart, match=r"^counting ended 3 times, at last with status 3:\n"):
        supervisor._wait_for((program,))
    supervisor.stop()
    assert (tmp_path / "starts").read_text() == "3"


def test_what_clears_the_way_for_a_program_runs_before_each_of_its_starts(tmp_path):
    calls: list[int] = []
    program = processes.Program(
        "cleared", [sys.executable, "-c", ""], tmp_path / "log", lambda: True, before_start=lambda: calls.append(1)
    )
    for _ in range(2):
        processes.start(program).wait()
    assert calls == [1, 1]


def test_what_only_an_operator_can_decide_ends_the_start_at_once_with_the_programs_own_line(tmp_path):
    supervisor = Supervisor(settings(tmp_path), lambda line: None)
    supervisor.lock()
    own = '{"event": "stopped: the log is gone; see docs/x.md"}'
    library = '{"logger": "asyncio", "event": "Unclosed\\n x"}'
    script = f"print({own!r}); print({library!r}); raise SystemExit(78)"
    program = processes.Program("ledger", [sys.executable, "-c", script], tmp_path / "log", lambda: False)
    supervisor._start(program)
    with pytest.raises(processes.DidNotStart) as refusal:
        supervisor._wait_for((program,))
    assert str(refusal.value) == "ledger: stopped: the log is gone; see docs/x.md"
    supervisor.stop()


def test_a_full_disk_keeps_a_program_from_no_restart_and_the_supervisor_alive(tmp_path, monkeypatch):
    """Neither what is said, nor a pid file, nor a log that is set aside, can be written at first."""
    room: list[bool] = []

    def full(write):
        def attempt(*args):
            if not room:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(*args)

        return attempt

    for name in ("write_pid_file", "bound_log"):
        monkeypatch.setattr(processes, name, full(getattr(processes, name)))
    said: list[str] = []
    supervisor = Supervisor(settings(tmp_path, restart_delay_s=0.0, restart_delay_max_s=0.0), full(said.append))
    running = processes.Program(
        "running", [sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "log", bool
    )
    child = Child(running, processes.start(running))
    supervisor.children.append(child)
    child.process.kill()
    child.process.wait()
    for _ in range(3):
        supervisor.tend_once()
    noted = tmp_path / "run" / "running.pid"
    assert (child.process.poll(), noted.exists(), said) == (None, False, [])
    room.append(True)
    supervisor.tend_once()
    assert processes.read_pid_file(noted).pid == child.process.pid
    child.process.kill()
    child.process.wait()
    supervisor.tend_once()
    assert said == ["running ended with status -9; it starts again in 0.0 s"]
