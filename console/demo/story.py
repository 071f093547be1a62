"""How the demo tells what it does: numbered chapters and plain lines, and how long each chapter took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


class DemoFailed(Exception):
    """Something that the demo promises did not happen; the message says what."""


class Story:
    """Prints to standard error when the summary goes to standard output as JSON, else to standard output."""

    def __init__(self, to_stderr: bool):
        self._console = Console(stderr=to_stderr, highlight=False, soft_wrap=True)
        self._chapters = 0
        self.durations_s: dict[str, float] = {}

    @contextmanager
    def chapter(self, name: str, title: str) -> Iterator[None]:
        """Opens a chapter; its duration is kept under `name`."""
        self._chapters += 1
        self._console.print(f"\n[bold]{self._chapters}. {title}[/bold]")
        began = time.monotonic()
        yield
        self.durations_s[name] = round(time.monotonic() - began, 3)
        self.line(f"[dim]{self.durations_s[name]:.1f} s[/dim]")

    def line(self, text: str) -> None:
        """Tells one thing."""
        self._console.print(f"   {text}")

    def lines(self, *texts: str) -> None:
        """Tells several things."""
        for text in texts:
            self.line(text)

    def wait_for(self, what: str, condition, within_s: float, poll_s: float = 0.2):
        """Returns what `condition` answers once it is true. Raises DemoFailed after `within_s`."""
        began = time.monotonic()
        with self._console.status(f"   waiting for {what}"):
            while not (answer := condition()):
                if time.monotonic() - began > within_s:
                    raise DemoFailed(f"{what}: not within {within_s:.0f} s")
                time.sleep(poll_s)
        return answer
