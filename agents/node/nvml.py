"""The agent's end of the process that talks to NVML: asks within a deadline, replaces it, never waits for ever."""

import json
import logging
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ANSWER_S = 5.0
START_S = 30.0
ANSWER_BYTES_MAX = 8_000_000
RETRY_S_MIN = 1.0
RETRY_S_MAX = 60.0
SPARE_S_MIN = 10.0
SPARE_S_MAX = 600.0
ABANDONED_MAX = 4
ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-P", "-m", "agents.node.nvml_child")
log = logging.getLogger("hourbook.agent")


class Blind(Exception):
    """NVML does not answer at all; the words say which call failed, and how."""


class Child:
    """One process of `agents.node.nvml_child`."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        path = os.environ.get("PYTHONPATH")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": f"{ROOT}:{path}" if path else str(ROOT)},
        )
        os.set_blocking(self._process.stdout.fileno(), False)
        self.started = time.monotonic()
        self.has_answered = False
        self._round = 0
        self._rest = b""

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def is_starting(self) -> bool:
        """Tells whether it may still be opening the library; real ones take seconds."""
        return not self.has_answered and time.monotonic() - self.started < START_S and not self.is_gone()

    def ask(self, deadline_s: float) -> dict[str, Any]:
        """Returns the answer to one more round. Raises Blind where none comes in time, or the process has ended."""
        self._round += 1
        try:
            self._process.stdin.write(b"%d\n" % self._round)
            self._process.stdin.flush()
        except OSError as error:
            raise Blind(self._how_it_ended()) from error
        end = time.monotonic() + deadline_s
        while True:
            line = self._line(end)
            try:
                answer = json.loads(line)
            except ValueError as error:
                raise Blind("the process that asks NVML gave an unreadable answer") from error
            if answer["round"] == self._round:  # an earlier round's answer that came too late is dropped
                self.has_answered = answer["system"]["hangs"] is None
                return answer

    def kill(self) -> None:
        """Ends the process, as far as that is possible: one that waits in the driver ends when that returns."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            try:
                pipe.close()
            except OSError:
                continue

    def is_gone(self) -> bool:
        """Tells whether the process has ended."""
        return self._process.poll() is not None

    def _line(self, end: float) -> bytes:
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                if not selector.select(max(end - time.monotonic(), 0)):
                    raise Blind("the process that asks NVML gave no answer in time")
                part = self._process.stdout.read(65_536)
                if not part:
                    raise Blind(self._how_it_ended())
                self._rest += part
                if len(self._rest) > ANSWER_BYTES_MAX:
                    raise Blind("the process that asks NVML answered too much")
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _how_it_ended(self) -> str:
        try:
            status = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return "the process that asks NVML closed its output"
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        return f"the process that asks NVML ended ({how})"


@dataclass(frozen=True)
class Backoff:
    """When something may be tried again: after twice the time of the try before, up to a limit."""

    max_s: float
    wait_s: float
    next_at: float = 0.0

    def later(self) -> "Backoff":
        """Returns the backoff after one more failure."""
        return Backoff(self.max_s, min(2 * self.wait_s, self.max_s), time.monotonic() + self.wait_s)

    def is_due(self) -> bool:
        """Tells whether it may be tried now."""
        return time.monotonic() >= self.next_at


class NvmlProcess:
    """Keeps one child at work. Where some GPUs do not answer it, a fresh one is tried beside it, and kept if better."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._command = command
        self._child: Child | None = None
        self._spare: Child | None = None
        self._abandoned: list[Child] = []
        self._restart = Backoff(RETRY_S_MAX, RETRY_S_MIN)
        self._replace: Backoff | None = None
        self._blind_because = "the process that asks NVML has not started"
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """The number of the process at work."""
        return self._child.pid if self._child else None

    @property
    def is_starting(self) -> bool:
        """Tells whether the process at work may still be opening the library."""
        return self._child is not None and self._child.is_starting

    def ask(self, expected: frozenset[str] = frozenset()) -> dict[str, Any]:
        """Returns the child's answer; where `expected` UUIDs are missing in it, a fresh child is tried now and then.

        Raises Blind where NVML answers nothing; the next call may try afresh.
        """
        self._abandoned = [child for child in self._abandoned if not child.is_gone()]
        if self._child is None:
            self._start()
        child = self._child
        try:
            answer = child.ask(ANSWER_S)
            self._check(answer)
        except Blind as error:
            self._blind_because = str(error)
            if not child.is_starting:
                self._abandon(child)
                self._child, self._restart = None, self._restart.later()
            raise
        self._restart = Backoff(RETRY_S_MAX, RETRY_S_MIN)
        return self._better(answer, expected)

    def close(self) -> None:
        """Ends the children."""
        for child in (self._child, self._spare):
            if child is not None:
                self._abandon(child)
        self._child = self._spare = None

    def _start(self) -> None:
        if not self._restart.is_due() or len(self._abandoned) >= ABANDONED_MAX:
            raise Blind(self._blind_because)
        try:
            self._child = Child(self._command)
        except OSError as error:
            self._restart = self._restart.later()
            raise Blind(f"the process that asks NVML could not be started: {error}") from error
        self.restarts += 1

    def _check(self, answer: dict[str, Any]) -> None:
        system = answer["system"]
        if system["failure"]:
            call, code, words = system["failure"]
            raise Blind(f"{call} answers {code} ({words}){ADVICE.get(code, '')}")
        if system["hangs"]:
            raise Blind(f"{system['hangs']} does not return")

    def _better(self, answer: dict[str, Any], expected: frozenset[str]) -> dict[str, Any]:
        """Returns the answer of a fresh child instead, where that reaches more GPUs."""
        if self._spare is not None:
            answer = self._compare(self._spare, answer)
        elif _is_whole(answer, expected):
            self._replace = None
        elif self._replace is None:
            self._replace = Backoff(SPARE_S_MAX, SPARE_S_MIN).later()
        elif self._replace.is_due() and len(self._abandoned) < ABANDONED_MAX:
            self._replace = self._replace.later()
            try:
                self._spare = Child(self._command)
            except OSError as error:
                log.warning("a second process to ask NVML could not be started: %s", error)
        return answer

    def _compare(self, spare: Child, answer: dict[str, Any]) -> dict[str, Any]:
        try:
            fresh = spare.ask(ANSWER_S)
            self._check(fresh)
        except Blind:
            if not spare.is_starting:
                self._spare = None
                self._abandon(spare)
            return answer
        self._spare = None
        if len(_well(fresh)) < len(_well(answer)) or _well(fresh) <= _well(answer):
            self._abandon(spare)
            return answer
        self._abandon(self._child)
        self._child = spare
        xids = {gpu["identity"].get("uuid"): gpu["xids"] for gpu in answer["gpus"]}
        for gpu in fresh["gpus"]:
            gpu["xids"] = xids.get(gpu["identity"].get("uuid"), []) + gpu["xids"]
        return fresh

    def _abandon(self, child: Child) -> None:
        child.kill()
        if not child.is_gone():
            self._abandoned.append(child)


ADVICE = {
    9: ": load the driver",
    12: ": NVIDIA's driver is not installed, or its library is not found",
    18: ": the driver was upgraded under a running one; reboot, or unload and load the module",
}


def _is_whole(answer: dict[str, Any], expected: frozenset[str]) -> bool:
    return len(_well(answer)) == len(answer["gpus"]) and expected <= _well(answer)


def _well(answer: dict[str, Any]) -> set[str]:
    """Returns the UUIDs, or where they are not told the indexes, of the GPUs that answer."""
    well = (gpu for gpu in answer["gpus"] if gpu["answered"] and not gpu["lost"])
    return {gpu["identity"].get("uuid") or str(gpu["index"]) for gpu in well}
