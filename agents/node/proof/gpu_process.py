"""A GPU by a process of its own (`gpu_child`), which is kept for the next chain, and replaced once anything failed."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from agents.node.errors import ProofFailed
from agents.node.proof.compiler import compile_kernels
from agents.node.proof.gpu_child import ARGUMENT_TYPES
from agents.node.proof.own_load import helper_pids

ANSWER_S_MAX = 60.0
END_S_MAX = 1.0
ROOT = Path(__file__).parents[3]
COMMAND = (sys.executable, "-P", "-m", "agents.node.proof.gpu_child")
NAMES = {kind: name for name, kind in ARGUMENT_TYPES.items()}


class Child:
    """One process of `gpu_child`."""

    def __init__(self) -> None:
        path = os.environ.get("PYTHONPATH")
        self._process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": f"{ROOT}:{path}" if path else str(ROOT)},
        )
        self.pid = self._process.pid
        helper_pids.add(self.pid)
        self._requests = Connection(os.dup(self._process.stdin.fileno()), readable=False)
        self._replies = Connection(os.dup(self._process.stdout.fileno()), writable=False)
        self._process.stdin.close()
        self._process.stdout.close()

    @property
    def is_alive(self) -> bool:
        """Says whether it runs."""
        return self._process.poll() is None

    def send(self, request: tuple) -> None:
        """Sends a request. Raises ProofFailed where the process has ended."""
        try:
            self._requests.send(request)
        except OSError:
            raise ProofFailed(self._how_it_ended()) from None

    def ask(self, request: tuple, within_s: float) -> Any:
        """Returns the answer to a request. Raises ProofFailed with its words, or where none comes in time."""
        self.send(request)
        try:
            if not self._replies.poll(within_s):
                raise ProofFailed(f"the driver gave no answer within {within_s:g} s")
            worked, answer = self._replies.recv()
        except (EOFError, OSError):
            raise ProofFailed(self._how_it_ended()) from None
        if not worked:
            raise ProofFailed(answer)
        return answer

    def end(self) -> None:
        """Ends the process; one that hangs in the driver ends when that returns, and is the agent's own until then."""
        self._process.kill()
        for connection in (self._requests, self._replies):
            connection.close()
        try:
            self._process.wait(END_S_MAX)
        except subprocess.TimeoutExpired:
            return
        helper_pids.discard(self.pid)

    def _how_it_ended(self) -> str:
        try:
            status = self._process.wait(END_S_MAX)
        except subprocess.TimeoutExpired:
            return "the process that works on the GPU closed its output"
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        return f"the process that works on the GPU ended ({how})"


class ProcessPool:
    """Processes that wait for a GPU to work on; as many are kept as there were GPUs to prepare."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[Child] = []
        self._kept = 0

    def prepare(self, names: Sequence[str]) -> None:
        """Starts a process for each GPU and compiles what they need, so that no challenge waits for it.

        Raises ProofFailed where a GPU of these UUIDs or PCI addresses cannot be proven.
        """
        children = [self.take() for _ in names]
        self._kept = len(names)
        try:
            for child, name in zip(children, names, strict=True):
                compile_kernels(*child.ask(("capability", name), ANSWER_S_MAX))
        except ProofFailed:
            for child in children:
                child.end()
            raise
        for child in children:
            self.give(child)

    def take(self) -> Child:
        """Returns a process that works on no GPU."""
        with self._lock:
            while self._idle:
                child = self._idle.pop()
                if child.is_alive:
                    return child
                child.end()
        return Child()

    def give(self, child: Child) -> None:
        """Takes a process back that works on no GPU any more."""
        with self._lock:
            if len(self._idle) < self._kept:
                self._idle.append(child)
                return
        child.end()


POOL = ProcessPool()


class GpuProcess:
    """A GPU of this machine, as `Gpu` says; opened by UUID or PCI address."""

    def __init__(self, name: str, pool: ProcessPool = POOL, answer_s_max: float = ANSWER_S_MAX) -> None:
        """Raises ProofFailed where there is no such GPU, no driver, or a package is missing."""
        self._name, self._pool, self._answer_s_max = name, pool, answer_s_max
        self._child: Child | None = pool.take()
        self._has_failed = False
        try:
            cubin = compile_kernels(*self._ask("capability", name))
            self._ask("open", name, cubin)
        except ProofFailed:
            self.close()
            raise

    @property
    def pid(self) -> int | None:
        """The number of the process; None once the GPU was closed."""
        return None if self._child is None else self._child.pid

    def memory(self) -> tuple[int, int]:
        """Returns free and total bytes."""
        return self._ask("memory")

    def allocate(self, size: int) -> int:
        """Takes memory."""
        return self._ask("allocate", size)

    def launch(self, kernel: str, blocks: int, threads: int, arguments: Sequence[Any], shared_bytes: int = 0) -> None:
        """Starts a kernel; that it failed is passed by the next call that has an answer."""
        passed = [(NAMES[type(each)], each.value or 0) for each in arguments]
        self._held().send(("launch", kernel, blocks, threads, passed, shared_bytes))

    def read(self, address: int, size: int) -> bytes:
        """Returns bytes of its memory."""
        return self._ask("read", address, size)

    def close(self) -> None:
        """Frees the GPU's memory; where anything failed, by ending the process."""
        child, self._child = self._child, None
        if child is None:
            return
        try:
            if self._has_failed:
                raise ProofFailed("a GPU process that failed is not used again")
            child.ask(("close",), self._answer_s_max)
        except ProofFailed:
            child.end()
            return
        self._pool.give(child)

    def _ask(self, *request: Any) -> Any:
        try:
            return self._held().ask(request, self._answer_s_max)
        except ProofFailed as error:
            self._has_failed = True
            words = str(error)
            raise ProofFailed(words if self._name in words else f"{self._name}: {words}") from None

    def _held(self) -> Child:
        if self._child is None:
            raise ProofFailed(f"{self._name} was closed")
        return self._child
