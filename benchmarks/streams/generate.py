"""Makes stream files, once per user: a stream that lies in the cache is not made again."""

import sys
from pathlib import Path

from benchmarks.streams.format import write_stream
from benchmarks.streams.workloads import WORKLOADS

REPORT_EVERY = 50_000


def say(text: str) -> None:
    """Show progress: on a terminal in one line that is written over."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def generate_stream(name: str, path: Path) -> None:
    """Draw a workload to its end and write its stream file."""
    begin, draw = WORKLOADS[name]
    work = begin()
    for done, _ in enumerate(draw(work)):
        if done % REPORT_EVERY == 0:
            say(f"making stream {name}: {done:,} commands")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_stream(path, work.header(), work.commands)
    say("")


def cached_stream(name: str, folder: Path) -> Path:
    """The file of a stream, made where it is missing."""
    path = folder / f"{name}.bin"
    if not path.exists():
        if not sys.stderr.isatty():
            print(f"making stream {name} (once, about ten seconds)", file=sys.stderr, flush=True)
        generate_stream(name, path)
    return path
