"""How the program ends: the signals that end it, the bound within which it does, and what its exit statuses say."""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable
from enum import IntEnum

STOP_TIMEOUT_S = 20.0
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
log = logging.getLogger("hourbook.agent")


class ExitStatus(IntEnum):
    """What the program's exit status says; a supervisor starts it again on any but OK, USAGE and IN_USE."""

    OK = 0
    """It was signals to end, and did what was asked."""
    MEND = 1
    """The operator must mend something: the last line says what."""
    USAGE = 2
    """The command line cannot be understood."""
    IN_USE = 3
    """Another agent works on the same state folder."""
    LATE = 4
    """It was signals to end, and something hung for longer than the bound."""
    FAILED = 5
    """The program has a fault: a traceback says where."""
    UNPROVEN = 6
    """GPUs were asked to prove themselves inside a lease, and did not all pass."""
    INTERRUPTED = 130
    """Ctrl-C, before it had begun to run or while it did what was asked."""


def end_on_signals(stop: Callable[[], None], timeout_s: float = STOP_TIMEOUT_S) -> None:
    """Calls `stop` at the first SIGINT, SIGTERM or SIGHUP; the process ends within the bound, whatever hangs.

    A second signal ends it at once. SIGHUP stays ignored where the starter ignored it, as nohup does.
    """
    signals: list[signal.Signals] = []

    def on_signal(number: signal.Signals) -> None:
        signals.append(number)
        if len(signals) > 1:
            _leave_now(f"{number.name} again: exiting at once")
        log.info("%s: the agent withdraws its capacity and ends, within %g s", number.name, timeout_s)
        last = threading.Timer(timeout_s, _leave_now, (f"something hung for {timeout_s:g} s: exiting anyway",))
        last.daemon = True
        last.start()
        stop()

    for number in ENDING_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, on_signal, number)


def interrupt_at_once() -> None:
    """Has Ctrl-C interrupt whatever goes on, until `end_on_signals`.

    asyncio's own handler only asks the main task to end, which waits for as long as a driver hangs.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda number, frame: signal.default_int_handler(number, frame))


def _leave_now(words: str) -> None:
    log.warning("%s; the venue cancels the remaining asks when reports stop", words)
    logging.shutdown()
    os._exit(ExitStatus.LATE)
