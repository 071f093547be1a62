"""Says on stderr what takes longer than two seconds, and for how long already."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

QUIET_S = 2.0
AGAIN_S = 5.0


@contextmanager
def step(title: str) -> Iterator[None]:
    """Report the work inside the block: nothing if it is quick, else its title and the seconds it takes."""
    done = threading.Event()
    started = time.monotonic()

    def report() -> None:
        wait_s = QUIET_S
        while not done.wait(wait_s):
            print(f"  {title} … {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
            wait_s = AGAIN_S

    reporter = threading.Thread(target=report, daemon=True)
    reporter.start()
    try:
        yield
    finally:
        done.set()
        reporter.join()
