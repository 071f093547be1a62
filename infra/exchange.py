"""The exchange seen from outside its supervisor: where it is and how, stop it, forget it, or run one for a while."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from infra import front_door, kafka, postgres, processes
from infra.keys import INFRA
from infra.places import REPOSITORY
from infra.plan import is_ready
from infra.ports import accepts, distinct_ports
from infra.settings import SERVICES
from infra.supervisor import AlreadyUp, end_left_over
from services.kit.kafka import operator_options

PORTS = ("kafka", "kafka_controller", "postgres", *SERVICES, front_door.NAME)


class DidNotStop(RuntimeError):
    """The exchange goes on although it was asked to stop."""


def supervisor_of(data: Path) -> psutil.Process | None:
    """The process that runs the exchange of this data folder."""
    return processes.read_pid_file(data / "run" / "supervisor.pid")


def addresses(data: Path) -> dict[str, str] | None:
    """Where the exchange answers, once it is ready; None while it is not."""
    path = data / "run" / "exchange.json"
    if supervisor_of(data) is None or not path.exists():
        return None
    return json.loads(path.read_text())["addresses"]


def describe(data: Path) -> list[dict[str, object]]:
    """One row for each program: whether it runs, its process, its address, its memory."""
    known = addresses(data) or {}
    rows = []
    for name in ("kafka", "postgres", *SERVICES, front_door.NAME):
        process = processes.read_pid_file(data / "run" / f"{name}.pid")
        rows.append(
            {
                "program": name,
                "state": "runs" if process else "down",
                "pid": process.pid if process else None,
                "address": known.get(name),
                "memory_mb": memory_mb(process) if process else None,
            }
        )
    return rows


def memory_mb(process: psutil.Process) -> int:
    """What the process and its children take; pages that processes share are divided among them where that is known."""
    total = 0
    for each in (process, *process.children(recursive=True)):
        usage = each.memory_full_info()
        total += getattr(usage, "pss", usage.rss)
    return total // 1_000_000


def stop(data: Path, within_s: float = 60.0) -> bool:
    """Stop the exchange, or what a killed supervisor left of it; answer whether anything ran. Raises DidNotStop."""
    supervisor = supervisor_of(data)
    if supervisor is not None:
        supervisor.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + within_s
        while supervisor_of(data) is not None:
            if time.monotonic() > deadline:
                raise DidNotStop(f"the exchange in {data} did not stop within {within_s:.0f} s")
            time.sleep(0.05)
        return True
    left = any(row["pid"] for row in describe(data))
    end_left_over(data / "run")
    return left


def reset(data: Path) -> None:
    """Remove everything the exchange keeps; raise AlreadyUp while it runs."""
    if supervisor_of(data) is not None:
        raise AlreadyUp(data)
    end_left_over(data / "run")
    postgres.remove_data(data / "postgres")
    shutil.rmtree(data, ignore_errors=True)


def free_ports() -> dict[str, str]:
    """Settings that put every server and service on a port that is free now."""
    ports = distinct_ports(len(PORTS))
    return {f"HOURBOOK_{name.upper()}_PORT": str(port) for name, port in zip(PORTS, ports, strict=True)}


@contextmanager
def running(data: Path, **environment: str) -> Iterator["RunningExchange"]:
    """An exchange of its own for the block: a supervisor process with this data folder and these settings."""
    exchange = RunningExchange(data, {**os.environ, "HOURBOOK_DATA": str(data), **environment})
    try:
        exchange.start()
        yield exchange
    finally:
        exchange.stop()


class RunningExchange:
    """A supervisor process that was started here; `addresses` tells where each program answers."""

    def __init__(self, data: Path, environment: dict[str, str]) -> None:
        self.data, self.environment = data, environment
        self.addresses: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def kafka_options(self) -> dict[str, Any]:
        """How infra connects to the exchange's broker, where it may do everything."""
        return operator_options(self.addresses["kafka"], self.data / "keys", INFRA)

    def start(self) -> None:
        """Start it and wait until it is ready. Raises DidNotStart."""
        log = self.data / "logs" / "supervisor.log"
        program = processes.Program(
            name="supervisor",
            command=[sys.executable, "-m", "infra"],
            log=log,
            ready=lambda: addresses(self.data) is not None,
            environment=self.environment,
            folder=REPOSITORY,
            stop_within_s=60,
            dies_with_parent=True,
        )
        self._program, self._process = program, processes.start(program)
        processes.wait_ready(program, self._process, within_s=180)
        self.addresses = addresses(self.data) or {}

    def stop(self) -> None:
        """Stop it cleanly, if it runs."""
        if self._process is not None:
            processes.stop(self._program, self._process)
        end_left_over(self.data / "run")

    def kill(self) -> None:
        """End the supervisor alone, as `kill -9` does; what it started lives on."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def pid_of(self, program: str) -> int | None:
        """The process of a server or service at this moment."""
        process = processes.read_pid_file(self.data / "run" / f"{program}.pid")
        return process.pid if process else None

    def kill_program(self, program: str) -> int:
        """Kill one program with SIGKILL; the supervisor starts it again. Answers the process's number."""
        pid = self.pid_of(program)
        if pid is None:
            raise processes.DidNotStart(f"{program} does not run")
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_ready(self, within_s: float = 60.0) -> None:
        """Wait until the servers answer and every service says that it is ready. Raises DidNotStart."""
        waiting = dict(self.addresses)
        deadline = time.monotonic() + within_s
        while waiting:
            waiting = {name: address for name, address in waiting.items() if not answers(name, address)}
            if waiting and time.monotonic() > deadline:
                raise processes.DidNotStart(f"not ready within {within_s:.0f} s: {', '.join(waiting)}")
            time.sleep(0.05)


def answers(program: str, address: str) -> bool:
    """Whether the program at the address is ready."""
    if program == front_door.NAME:
        return accepts(address)
    check = {"kafka": kafka.answers, "postgres": postgres.answers}.get(program, is_ready)
    return check(urlsplit(address if "//" in address else f"//{address}").port)
