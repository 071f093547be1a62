"""A service's life: one main coroutine, stopped cleanly by a signal, ended loudly when any task fails."""

import asyncio
import gc
import resource
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

import structlog
import uvloop

from services.kit.operators import STATUS, NeedsOperator

COLLECTOR_THRESHOLDS = (50_000, 20, 100)
DESCRIPTORS_MAX = 65_536


class Stopped(Exception):
    """A signal asked the process to stop."""


def run_service(main: Callable[[asyncio.TaskGroup], Awaitable[None]]) -> None:
    """Runs `main` in a task group until SIGTERM or SIGINT (exit 0) or until anything in it fails (exit 1, the cause
    logged; exit 78 and one line where an operator has to decide).
    """
    tune_gc()
    use_all_descriptors()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(main))
    except* Stopped:
        structlog.get_logger().info("stopped")
    except* NeedsOperator as group:
        for error in _leaves(group):
            structlog.get_logger().critical(f"stopped: {error}; see {error.runbook}")
        sys.exit(STATUS)
    except* Exception as group:
        structlog.get_logger().error("ended by an error", exc_info=group)
        sys.exit(1)


def _leaves(group: BaseExceptionGroup) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


async def set_within(event: asyncio.Event, timeout_s: float | None) -> bool:
    """Waits for an event, but no longer than that; says whether it was set."""
    try:
        async with asyncio.timeout(timeout_s):
            return await event.wait()
    except TimeoutError:
        return False


def tune_gc() -> None:
    """Takes what is loaded out of the garbage collector's sight, and lets it look seldom: each full round over modules
    and long-lived records holds up everything else; a fork then also copies fewer pages.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)


def use_all_descriptors() -> None:
    """Lets the process have as many connections and files open as it may at all; systems give 1,024 at first."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS_MAX if most == resource.RLIM_INFINITY else min(most, DESCRIPTORS_MAX)
    with suppress(ValueError, OSError):  # macOS has a bound of its own
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


async def _run(main: Callable[[asyncio.TaskGroup], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_raise_when(stop))
        await main(tasks)


async def _raise_when(stop: asyncio.Event) -> None:
    await stop.wait()
    raise Stopped
