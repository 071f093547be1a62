"""Everything of others' that an installation holds: Python packages of the lock, jars of the broker."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from infra.places import REPOSITORY

LOCK = REPOSITORY / "requirements.lock"
JARS = REPOSITORY / "infra" / "kafka-4.4.0-jars.sha256"
PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
JAR = re.compile(r"^([0-9a-f]{64})  (.+?)-(\d[^-]*(?:-[A-Za-z0-9.]+)?)\.jar$")


class BadLock(ValueError):
    """A lock file has a line that is no pinned package with its hashes."""


@dataclass(frozen=True)
class Component:
    """One package at one version. `sha256` are the digests of the files that may be installed, any one of them."""

    ecosystem: str
    name: str
    version: str
    sha256: tuple[str, ...]


def read_components(lock: Path = LOCK, jars: Path = JARS) -> list[Component]:
    """Returns what both files pin, in their order. Raises BadLock."""
    return [*_python_packages(lock), *_jars(jars)]


def _python_packages(lock: Path) -> Iterator[Component]:
    lines = (line for line in lock.read_text().splitlines() if not line.lstrip().startswith("#"))
    for entry in "\n".join(lines).replace("\\\n", " ").splitlines():
        if not entry.strip():
            continue
        pinned, hashes = PINNED.match(entry), tuple(HASH.findall(entry))
        if pinned is None or not hashes:
            raise BadLock(f"{lock.name}: no pinned package with its hashes: {entry[:80]}")
        yield Component("PyPI", pinned[1].lower(), pinned[2], hashes)


def _jars(jars: Path) -> Iterator[Component]:
    for line in filter(None, jars.read_text().splitlines()):
        found = JAR.match(line)
        if found is None:
            raise BadLock(f"{jars.name}: no digest with a jar's name and version: {line[:80]}")
        yield Component("Maven", found[2], found[3], (found[1],))
