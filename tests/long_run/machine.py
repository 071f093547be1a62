"""One operator's machine in the long run: a real agent in a process, scripted GPUs, hooks, a network that can be cut.

Every deed returns the moment at which it was done, by the test's own clock.
"""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clients.actors import Actor
from clients.http import ApiError, result_of
from clients.toml_text import toml_of
from console.demo.sites import ONE_THREAD, enrolment_token, venue_addresses
from infra.fake_nvml.build import environment
from infra.fake_nvml.scenario import GpuModel, scenario_text, write_scenario
from infra.places import REPOSITORY
from infra.processes import Program, start
from schemas.nodes import node_id_of
from tests.long_run.doors import Doors
from tests.long_run.network import Network
from tests.long_run.plans import GPUS
from tests.long_run.truth import Moment, Recall, Span

HOOK = Path(__file__).with_name("hook.sh")
UP_WITHIN_S = 60
HOOK_TIMEOUT_S = 30
HOUR_MS, NOTICE_MS = 3_600_000, 120_000
# A recall that is to be without notice takes effect this much after it is asked for, when the venue has it.
AT_ONCE_MS = 400


@dataclass(frozen=True)
class Step:
    """One line of the hook's own record."""

    at_ms: int
    action: str
    stage: str
    lease_id: str
    pid: int
    gpus: tuple[str, ...]


@dataclass
class Machine:
    """A node: where it sells, at what price, and what its GPUs are told to show."""

    label: str
    product: str
    model: GpuModel
    operator: Actor
    folder: Path
    network: Network
    doors: Doors
    library: Path
    log: Path
    price: str
    process: subprocess.Popen[bytes] | None = None
    uuids: tuple[str, ...] = ()
    _lock: RLock = field(default_factory=RLock)
    _facts: dict[int, list[str]] = field(default_factory=dict)
    _processes: dict[int, dict[int, str]] = field(default_factory=dict)
    _strangers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _since_ms: int = 0

    def prepare(self) -> None:
        """Lays out the agent's folder: configuration, policy, hooks, a first boot."""
        self.folder.mkdir(parents=True)
        config = {
            "state_dir": "state",
            "policy": "policy.toml",
            "api_key": self.operator.credentials.key_id,
            "api_key_file": str(self.operator.key_file),
            "token": enrolment_token(self.operator),
            "venue": venue_addresses(self.operator) | {"delivery_url": self.network.add_site(self.label)},
        }
        (self.folder / "agent.toml").write_text(toml_of(config))
        (self.folder / "wall_offset_ms").write_text("0")
        self.set_hooks("good", "good")
        self.set_price(self.price)
        self._boot()
        lines = self.healthy_scenario().splitlines()
        self.uuids = tuple(line.split()[3] for line in lines if line.split()[2:3] == ["uuid"])
        self.start()

    def set_price(self, price: str) -> None:
        """Writes the policy, with a floor price."""
        self.price = price
        _, hub, tier = self.product.split(".")
        policy = {
            "label": self.label,
            "hub": hub,
            "tier": tier,
            "periods_ahead": 8,
            "idle": {"for_ms": 1_000},
            "price": {"floor": price},
            "hooks": {
                "start": [str(HOOK), str(self.folder), "start"],
                "stop": [str(HOOK), str(self.folder), "stop"],
                "timeout_s": HOOK_TIMEOUT_S,
                "start_failures_max": 100,
                "stop_retry_s": 2,
            },
        }
        _replace(self.folder / "policy.toml", toml_of(policy))

    @property
    def node_id(self) -> str:
        """How the venue names the node: by its key, which the agent made at its first start."""
        private = bytes.fromhex((self.folder / "state" / "node.key").read_text().strip())
        return node_id_of(Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw().hex())

    def name_door(self, named: bool) -> None:
        """Says whether the hook's answers name the machine's SSH server from now on."""
        path = self.folder / "door"
        if named:
            _replace(path, '"endpoint":"{}","host_key":"{}"'.format(*self.doors.open(self.label)))
        else:
            path.unlink(missing_ok=True)

    def set_hooks(self, at_start: str, at_stop: str) -> None:
        """Says what the hooks do from now on."""
        _replace(self.folder / "hook.start", at_start + "\n")
        _replace(self.folder / "hook.stop", at_stop + "\n")

    def steps(self) -> list[Step]:
        """Reads what the hooks did so far."""
        path = self.folder / "hook.record"
        steps = []
        for line in path.read_text().splitlines() if path.exists() else ():
            at_ms, action, stage, lease_id, pid, *gpus = line.split()
            steps.append(Step(int(at_ms), action, stage, lease_id, int(pid), tuple(",".join(gpus).split(","))))
        return steps

    # -- the agent ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the agent."""
        command = [sys.executable, "-m", "tests.long_run.agent_main", str(self.folder)]
        command += ["--config", str(self.folder / "agent.toml")]
        variables = ONE_THREAD | environment(self.library, self.folder / "gpus.scenario")
        program = Program(self.label, command, self.log, lambda: True, environment=variables, folder=REPOSITORY)
        self.process = start(program)

    def start_again(self) -> Moment:
        """Starts the agent and waits until it has taken up its chain: from then on it measures."""
        journal = self.folder / "state" / "chain.journal"
        known = _stamp(journal)
        began_ms = now_ms()
        self.start()
        while _stamp(journal) == known:
            if self.process.poll() is not None or now_ms() > began_ms + UP_WITHIN_S * 1000:
                raise AssertionError(f"{self.label}: the agent does not come up again; its log is {self.log}")
            time.sleep(0.02)
        return Moment(began_ms, now_ms() + 50)

    def kill(self) -> Moment:
        """Ends the agent as `kill -9` does."""
        return done(lambda: (self.process.kill(), self.process.wait()))

    def freeze(self) -> Moment:
        """Stops the agent where it is."""
        return done(lambda: os.kill(self.process.pid, signal.SIGSTOP))

    def thaw(self) -> Moment:
        """Lets it go on."""
        return done(lambda: os.kill(self.process.pid, signal.SIGCONT))

    def power_off(self) -> Moment:
        """Ends the agent and everything of the buyers'; the next start is in another boot, with GPUs reset."""

        def off() -> None:
            self.process.kill()
            self.process.wait()
            self._end_tenants()
            with self._lock:
                self._facts.clear()
                self._processes.clear()
            self._boot()

        return done(off)

    def set_wall(self, offset_s: int) -> Moment:
        """Moves the machine's wall clock."""
        return done(lambda: _replace(self.folder / "wall_offset_ms", str(offset_s * 1000)))

    # -- its GPUs -----------------------------------------------------------------------------------------------------

    def show(self, gpu: int, *facts: str) -> Moment:
        """Makes the driver say something more of a GPU from now on."""

        def change() -> None:
            self._facts.setdefault(gpu, []).extend(facts)

        return self._rewrite(change)

    def healthy_scenario(self) -> str:
        """What the driver says while all is well and nobody works."""
        return scenario_text(self.label, self.model, GPUS, start_ms=self._since_ms)

    def add_process(self, gpu: int, pid: int) -> Moment:
        """Makes a process resident on a GPU."""
        return self._rewrite(lambda: self._processes.setdefault(gpu, {}).update({pid: "compute"}))

    def add_display(self, gpu: int, pid: int) -> Moment:
        """Makes a process that only draws resident on a GPU."""
        return self._rewrite(lambda: self._processes.setdefault(gpu, {}).update({pid: "graphics"}))

    def end_process(self, pid: int) -> Moment:
        """Takes a process off all GPUs."""
        return self._rewrite(lambda: [own.pop(pid, None) for own in self._processes.values()])

    def start_stranger(self, lease_id: str | None) -> int:
        """Starts work of the owner's own, which may claim to be a lease's; returns its number."""
        variables = os.environ | ({"HOURBOOK_LEASE_ID": lease_id} if lease_id else {})
        process = subprocess.Popen(["sleep", "900"], env=variables)
        self._strangers.append(process)
        return process.pid

    def end_strangers(self) -> None:
        """Ends the owner's own work."""
        while self._strangers:
            process = self._strangers.pop()
            process.kill()
            process.wait()
            self.end_process(process.pid)

    def stop(self) -> None:
        """Ends the agent and all that runs here."""
        self.end_strangers()
        self.process.kill()
        self.process.wait()
        self._end_tenants()

    # -- what the operator and the site do ----------------------------------------------------------------------------

    def declare_maintenance(self, window: Span) -> bool:
        """Declares maintenance; says whether the venue took it."""
        try:
            self._declare("maintenance", {"start_ms": window[0], "end_ms": window[1]})
        except (ApiError, httpx.HTTPError):
            return False
        return True

    def recall(self, position_id: int, gpus: tuple[str, ...], noticed: bool, period_ms: int) -> Recall | None:
        """Takes GPUs of a position back (none named: all); None where the venue refuses.

        Where nobody knows whether the venue took it, neither does the moment say so: it lies anywhere from then on.
        """
        first_ms = now_ms()
        from_ms = None if noticed else first_ms + AT_ONCE_MS
        try:
            self._declare("recalls", {"position_id": position_id, "gpus": gpus, "from_ms": from_ms})
        except ApiError as refusal:
            if refusal.status < httpx.codes.INTERNAL_SERVER_ERROR:
                return None
            taken = Moment(first_ms, first_ms + HOUR_MS)
        except httpx.HTTPError:
            taken = Moment(first_ms, first_ms + HOUR_MS)
        else:
            wait_ms = NOTICE_MS * period_ms // HOUR_MS
            taken = Moment(first_ms + wait_ms, now_ms() + wait_ms) if noticed else Moment(from_ms, from_ms)
        return Recall(taken, noticed, frozenset(gpus))

    def shut_door(self) -> Moment:
        """Lets nobody in by SSH any more."""
        return done(lambda: self.doors.shut(self.label))

    def open_door(self) -> Moment:
        """Lets people in again."""
        return done(lambda: self.doors.open(self.label))

    def _declare(self, what: str, form: dict) -> None:
        result_of(self.operator.delivery.post(f"/v1/nodes/{self.node_id}/{what}", json=form))

    def _end_tenants(self) -> None:
        for path in (*self.folder.glob("tenant.*"), *self.folder.glob("work.*")):
            _end(int(path.read_text() or 0))
            path.unlink()

    def _boot(self) -> None:
        (self.folder / "boot").write_text(f"{uuid.uuid4()} {time.monotonic_ns() - 5_000_000_000}")
        self._since_ms = now_ms()
        self._rewrite(lambda: None)

    def _rewrite(self, change) -> Moment:
        def both() -> None:
            with self._lock:
                change()
                lines = [self.healthy_scenario().rstrip("\n")]
                for gpu in range(GPUS):
                    lines += [f"gpu {gpu} {fact}" for fact in self._facts.get(gpu, ())]
                    own = sorted(self._processes.get(gpu, {}).items())
                    lines += [f"gpu {gpu} process {pid} 2048 {kind}" for pid, kind in own]
                write_scenario(self.folder / "gpus.scenario", "\n".join(lines) + "\n")

        return done(both)


def now_ms() -> int:
    """The test's own clock."""
    return time.time_ns() // 1_000_000


def done(deed: Callable[[], object]) -> Moment:
    """Does something; returns when."""
    first_ms = now_ms()
    deed()
    return Moment(first_ms, now_ms() + 1)


def _replace(path: Path, text: str) -> None:
    unfinished = path.with_name(path.name + ".new")
    unfinished.write_text(text)
    unfinished.replace(path)


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_ino


def _end(pid: int) -> None:
    """Ends a buyer's process, if it still is one: its number may be another's by now."""
    try:
        if pid > 1 and Path(f"/proc/{pid}/comm").read_text().strip() in ("sleep", "sh"):
            os.kill(pid, signal.SIGKILL)
    except (OSError, ValueError):
        return
