"""Runs the whole exchange on one machine: starts everything in order, brings back what crashes, stops it cleanly."""

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from aiokafka.errors import KafkaError

from infra import plan, processes
from infra.identity import check_log, note_log
from infra.keys import make_keys
from infra.places import close_to_others, require_whole
from infra.ports import PortTaken, listeners
from infra.prepare import prepare_servers
from infra.progress import step
from infra.settings import InfraSettings
from services.kit.operators import STATUS
from services.kit.store import AWAY

WATCH_EVERY_S = 0.1
READY_EVERY_S = 0.03
STEADY_AFTER_S = 30.0
LOGS_EVERY_S = 5.0


class AlreadyUp(RuntimeError):
    """Another supervisor runs the exchange of this data folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"the exchange in {folder} is already up; `hourbook down` stops it")


@dataclass
class Child:
    """One program and its process; `delay_s` is how long the next restart waits, `is_noted` whether its pid file is
    written.
    """

    program: processes.Program
    process: subprocess.Popen[bytes]
    started_s: float = field(default_factory=time.monotonic)
    delay_s: float = 0.0
    restart_at_s: float | None = None
    ended: int = 0
    is_noted: bool = True

    def is_ready(self) -> bool:
        """Whether the process runs and can be used."""
        return self.process.poll() is None and self.program.ready()


class Supervisor:
    """The exchange of one data folder: `lock`, `start`, `watch` until a signal or `stopping` is set, `stop`."""

    def __init__(self, settings: InfraSettings, say: Callable[[str], None] = print) -> None:
        self.settings = settings
        self._say, self._looked_s = say, 0.0
        self.children: list[Child] = []
        self.stopping = threading.Event()
        self.run_folder = settings.data / "run"
        self._state_file = self.run_folder / "exchange.json"

    def say(self, line: str) -> None:
        """Tell the operator; what a full disk does not take is lost, since a supervisor must outlive it."""
        with suppress(OSError):
            self._say(line)

    def start(self) -> dict[str, str]:
        """Start servers, topics and services; answer their addresses once every service is ready."""
        end_left_over(self.run_folder)
        if not self.settings.kafka_configured:
            check_log(self.settings.data)  # before anything is made: a lost log leaves its place free
        close_to_others(self.settings.data)
        make_keys(self.settings.keys_dir)
        servers, services = self._plan()
        beside = not self.settings.kafka_configured and plan.has_run_before(self.settings)
        for program in (*servers.programs, *(services if beside else ())):
            self._start(program)
        with step("waiting for Kafka and PostgreSQL"):
            self._wait_for(servers.programs)
        plan.require_answer(servers)
        asyncio.run(self._prepare(servers))
        if not self.settings.kafka_configured:
            note_log(self.settings.data)
        for program in () if beside else services:
            self._start(program)
        with step("waiting for the services"):
            self._wait_for(services)
        found = plan.addresses(self.settings, servers, services)
        state = {"supervisor": os.getpid(), "addresses": found, "public": plan.public_login(self.settings, servers)}
        partial = self._state_file.with_suffix(".partial")
        partial.write_text(json.dumps(state, indent=2) + "\n")
        partial.rename(self._state_file)
        return found

    def watch(self) -> None:
        """Bring back every program that ends, until `stopping` is set."""
        while not self.stopping.wait(WATCH_EVERY_S):
            self.tend_once()

    def tend_once(self) -> None:
        """Bring back what has ended, and bound the logs from time to time."""
        self._tend_all()
        if time.monotonic() - self._looked_s > LOGS_EVERY_S:
            self._looked_s = time.monotonic()
            for child in self.children:
                with suppress(OSError):  # a full disk takes no copy; the log is bounded when there is room
                    processes.bound_log(child.program.log, self.settings.log_bytes_max, self.settings.logs_kept)

    def stop(self) -> None:
        """Stop the services, then the servers, each group at once."""
        self._state_file.unlink(missing_ok=True)
        servers = [child for child in self.children if child.program.name in ("kafka", "postgres")]
        services = [child for child in self.children if child not in servers]
        for group in (services, servers):
            stoppers = [threading.Thread(target=processes.stop, args=(one.program, one.process)) for one in group]
            for stopper in stoppers:
                stopper.start()
            for stopper in stoppers:
                stopper.join()
            for child in group:
                self._pid_file(child.program).unlink(missing_ok=True)
        self.children.clear()
        os.close(self._lock_file)

    def lock(self) -> None:
        """Hold the folder for as long as this process lives. Raises AlreadyUp."""
        require_whole(self.settings.data)
        self.run_folder.mkdir(parents=True, exist_ok=True)
        self._lock_file = os.open(self.run_folder / "supervisor.lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyUp(self.settings.data) from None
        self._state_file.unlink(missing_ok=True)  # a killed supervisor's; this one is not ready yet
        processes.write_pid_file(self.run_folder / "supervisor.pid", os.getpid())

    def _pid_file(self, program: processes.Program) -> Path:
        return self.run_folder / f"{program.name}.pid"

    def _start(self, program: processes.Program) -> None:
        child = Child(program, processes.start(program))
        self.children.append(child)
        processes.write_pid_file(self._pid_file(program), child.process.pid)

    def _plan(self) -> tuple[plan.Servers, tuple[processes.Program, ...]]:
        """Plan all programs; ports that are held by what is ours, or by what is ending, are waited for."""
        deadline = time.monotonic() + self.settings.ports_free_within_s
        while True:
            try:
                servers = plan.plan_servers(self.settings)
                return servers, plan.plan_services(self.settings, servers)
            except PortTaken as taken:
                holders = listeners(taken.port)
                ours = [each for each in holders if processes.belongs_to(each, self.settings.data)]
                if len(ours) < len(holders) or time.monotonic() > deadline:
                    raise
                processes.end_all(ours)
            self._pause(0.2)

    async def _prepare(self, servers: plan.Servers) -> None:
        """Make topics, genesis and roles; begin again where a server was lost over it."""
        deadline = time.monotonic() + self.settings.ready_within_s
        while True:
            preparing = asyncio.ensure_future(prepare_servers(servers, self.settings))
            restarts = self._restarts()
            try:
                while not preparing.done() and self._restarts() == restarts:
                    await asyncio.wait((preparing,), timeout=WATCH_EVERY_S)
                    self._tend_starting()
                    self._pause(0)
                if preparing.done():
                    return preparing.result()
            except (KafkaError, *AWAY) as error:
                if time.monotonic() > deadline:
                    raise processes.DidNotStart(f"topics and roles could not be made: {error!r}") from error
                self._pause(WATCH_EVERY_S)
            finally:
                preparing.cancel()

    def _restarts(self) -> int:
        return sum(child.ended for child in self.children)

    def _wait_for(self, programs: tuple[processes.Program, ...]) -> None:
        """Wait until all are ready, bringing back what ends meanwhile. Raises DidNotStart, Interrupted."""
        wanted = [child for child in self.children if child.program in programs]
        deadline, waiting = time.monotonic() + self.settings.ready_within_s, wanted
        while waiting:
            self._tend_starting()
            waiting = [child for child in waiting if not child.is_ready()] or [
                child for child in wanted if not child.is_ready()
            ]
            if waiting and time.monotonic() > deadline:
                first = waiting[0].program
                within = f"{self.settings.ready_within_s:.0f} s"
                raise processes.DidNotStart(
                    f"{first.name} was not ready within {within}:\n{processes.end_of(first.log)}"
                )
            self._pause(READY_EVERY_S)

    def _tend_starting(self) -> None:
        """Bring back what ends, but not for ever. Raises DidNotStart."""
        self._tend_all()
        for child in self.children:
            if child.process.poll() == STATUS:
                raise processes.DidNotStart(f"{child.program.name}: {last_words(child.program.log)}")
            allowed = self.settings.start_tries_max if self.settings.restart else 1
            if child.process.poll() is not None and max(child.ended, 1) >= allowed:
                program, status = child.program, child.process.returncode
                times = f" {child.ended} times, at last" if child.ended > 1 else ""
                raise processes.DidNotStart(
                    f"{program.name} ended{times} with status {status}:\n{processes.end_of(program.log)}"
                )

    def _pause(self, seconds: float) -> None:
        if self.stopping.wait(seconds):
            raise processes.Interrupted

    def _tend_all(self) -> None:
        for child in self.children:
            self._tend(child)

    def _tend(self, child: Child) -> None:
        now = time.monotonic()
        if child.restart_at_s is not None:
            if now >= child.restart_at_s:
                self._start_again(child, now)
        elif child.process.poll() is not None and self.settings.restart:
            steady = now - child.started_s > STEADY_AFTER_S
            doubled = min(max(child.delay_s * 2, self.settings.restart_delay_s), self.settings.restart_delay_max_s)
            child.delay_s = self.settings.restart_delay_s if steady else doubled
            child.restart_at_s = now + child.delay_s
            status = child.process.returncode
            child.ended += 1
            self.say(f"{child.program.name} ended with status {status}; it starts again in {child.delay_s:.1f} s")
        elif not child.is_noted:
            self._note(child)

    def _start_again(self, child: Child, now: float) -> None:
        try:
            child.process = processes.start(child.program)
        except OSError as error:  # no room for its log
            child.restart_at_s = now + self.settings.restart_delay_max_s
            self.say(f"{child.program.name} could not be started, and is tried again: {error}")
            return
        child.started_s, child.restart_at_s = now, None
        self._note(child)

    def _note(self, child: Child) -> None:
        try:
            processes.write_pid_file(self._pid_file(child.program), child.process.pid)
            child.is_noted = True
        except (OSError, psutil.NoSuchProcess):
            child.is_noted = False


def last_words(log: Path) -> str:
    """What a program that ended for want of an operator said last itself, in one line; libraries may say more."""
    lines = processes.end_of(log).splitlines()
    for line in reversed(lines):
        with suppress(ValueError, KeyError, TypeError):
            entry = json.loads(line)
            if "logger" not in entry:
                return entry["event"]
    return lines[-1] if lines else ""


def end_left_over(run_folder: Path) -> None:
    """End what a killed supervisor left running; the pid files name it, with the moment each process began."""
    files = [path for path in run_folder.glob("*.pid") if path.name != "supervisor.pid"]
    left = [process for process in map(processes.read_pid_file, files) if process]
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT if process.name() == "postgres" else signal.SIGTERM)
    processes.end_all(left, 0)
    for path in files:
        path.unlink()


def run(settings: InfraSettings, announce: Callable[[dict[str, str], float], None], say: Callable[[str], None]) -> None:
    """Start the exchange, tell its addresses and the seconds taken, and stay until SIGINT, SIGTERM or SIGHUP."""
    supervisor = Supervisor(settings, say)
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, lambda *_: supervisor.stopping.set())
    began = time.monotonic()
    supervisor.lock()
    failed: list[Exception] = []

    def announce_aside(found: dict[str, str]) -> None:
        try:
            announce(found, time.monotonic() - began)
        except Exception as error:
            failed.append(error)
            supervisor.stopping.set()

    try:
        found = supervisor.start()
        # What is told may take its time and ask the services, so what ends meanwhile is brought back beside it.
        threading.Thread(target=announce_aside, args=(found,), daemon=True).start()
        supervisor.watch()
        if failed:
            raise failed[0]
        say("stopping")
    except processes.Interrupted:
        say("stopping")
    finally:
        supervisor.stop()
