"""The node's loops and single pieces of work: what fails in one stays in it, is logged once, and is tried again."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine

from agents.node.errors import AgentError
from agents.node.notices import Notices

BACKOFF_S = (1.0, 60.0)
log = logging.getLogger("hourbook.agent")


class Loops:
    """Runs named work until `stop`. An AgentError is one line; anything else is a fault of ours, with its traceback.

    `faults` counts by name what no rule foresaw. The same fault again is a line without its traceback.
    """

    def __init__(self, notices: Notices, backoff_s: tuple[float, float] = BACKOFF_S) -> None:
        self.faults: Counter[str] = Counter()
        self.stopping = asyncio.Event()
        self._notices, self._backoff_s = notices, backoff_s
        self._seen: set[tuple[str, str]] = set()
        self._tasks: set[asyncio.Task] = set()

    def stop(self) -> None:
        """Asks all work to end."""
        self.stopping.set()

    async def repeat(self, name: str, step: Callable[[], Awaitable[None]], interval_s: Callable[[], float]) -> None:
        """Repeats a step, one start per interval; after a failure later and later, up to the bound."""
        failed = 0
        while not self.stopping.is_set():
            began = time.monotonic()
            failed = 0 if await self._guarded(name, step()) else failed + 1
            pause_s = max(interval_s() - (time.monotonic() - began), 0)
            if failed:
                pause_s = max(pause_s, min(self._backoff_s[0] * 2 ** (failed - 1), self._backoff_s[1]))
            await self.pause(pause_s)

    def spawn(self, name: str, work: Coroutine) -> asyncio.Task | None:
        """Starts a single piece of work; None where everything is about to end."""
        if self.stopping.is_set():
            work.close()
            return None
        return self._start(self._guarded(name, work))

    def start(self, name: str, step: Callable[[], Awaitable[None]], interval_s: Callable[[], float]) -> None:
        """Starts a loop."""
        self._start(self.repeat(name, step, interval_s))

    async def run(self) -> None:
        """Returns after `stop`, when all work has ended or was cancelled."""
        try:
            await self.stopping.wait()
        finally:
            while self._tasks:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    async def pause(self, seconds: float) -> None:
        """Sleeps, but not beyond `stop`."""
        try:
            await asyncio.wait_for(self.stopping.wait(), seconds)
        except TimeoutError:
            return

    def _start(self, work: Coroutine) -> asyncio.Task:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guarded(self, name: str, work: Awaitable[None]) -> bool:
        """Returns whether the work was done."""
        try:
            await work
        except AgentError as error:
            self._notices.say(name, f"{name} waits: {error}")
            return False
        except Exception as fault:
            self._note_fault(name, fault)
            return False
        self._notices.clear(name, f"{name} goes on")
        return True

    def _note_fault(self, name: str, fault: Exception) -> None:
        self.faults[name] += 1
        place = fault.__traceback__
        while place and place.tb_next:
            place = place.tb_next
        kind = f"{type(fault).__name__} at {place.tb_frame.f_code.co_qualname if place else '?'}"
        is_new = (name, kind) not in self._seen
        self._seen.add((name, kind))
        self._notices.say(name, f"a fault in {name}, which is tried again: {kind}")
        if is_new:
            log.error("the fault in %s, shown once:", name, exc_info=fault)
