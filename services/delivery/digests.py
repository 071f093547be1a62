"""The digest book: which NVML library a driver version comes with, and what a node's software leaves to ask.

An unknown driver is a question, not guilt: it holds the node's level. A known driver with another library, a kernel
module of another version, or telemetry of another kind than at enrolment is a suspicion as well.
"""

import re
from ast import literal_eval
from collections.abc import Collection
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Self

from schemas.nodes import EnrolRequest, Report
from schemas.versions import is_older
from services.delivery.domain import driver_fault
from services.delivery.tables import BadTable, read_table

NO_DRIVER = "unknown"  # what an agent says while its driver does not answer
SHA256 = re.compile(r"[0-9a-f]{64}")

DRIVER_UNKNOWN = "driver_unknown"
LIBRARY_MISMATCH = "library_mismatch"
DRIVER_IMPOSSIBLE = "driver_impossible"
TELEMETRY_CHANGED = "telemetry_changed"
AGENT_TOO_OLD = "agent_too_old"
SUSPICIONS = frozenset({LIBRARY_MISMATCH, DRIVER_IMPOSSIBLE, TELEMETRY_CHANGED})
SOFTWARE_REASONS = (DRIVER_UNKNOWN, LIBRARY_MISMATCH, DRIVER_IMPOSSIBLE, TELEMETRY_CHANGED, AGENT_TOO_OLD)


class Software(NamedTuple):
    """What a node says that it runs."""

    driver: str
    library_sha256: str
    kernel: str
    agent: str
    is_simulated: bool

    @property
    def text(self) -> str:
        """How the table keeps it: driver and library come first, so that a statement can find who has them."""
        return repr(tuple(self))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Undoes `text`."""
        return cls(*literal_eval(text))


def text_prefix(driver: str, library_sha256: str) -> str:
    """Returns what the `text` of all software with this driver and library begins with."""
    return repr((driver, library_sha256))[:-1]


def software_of(message: EnrolRequest | Report) -> Software:
    """Returns the software that a message names."""
    return Software(
        message.driver_version,
        message.library_sha256,
        message.kernel_driver_version,
        message.agent_version,
        message.nvml_simulated,
    )


def doubts(software: Software, known: Collection[str], enrolled_simulated: bool, oldest_agent: str) -> dict[str, str]:
    """Returns what a node's software leaves to ask: reason and, in one line, what was seen.

    `known` are the digests of the driver's library. The stand-in library of a sandbox is in no book: nothing is asked
    about its digest.
    """
    found = {}
    if is_older(software.agent, oldest_agent):
        found[AGENT_TOO_OLD] = f"agent {software.agent} is older than {oldest_agent}, the oldest that this venue takes"
    if software.driver == NO_DRIVER:
        return found if enrolled_simulated else found | {DRIVER_UNKNOWN: "the driver does not answer"}
    if software.is_simulated != enrolled_simulated:
        found[TELEMETRY_CHANGED] = "the telemetry was another kind at enrolment"
    if software.is_simulated:
        return found
    if fault := driver_fault(software.driver, software.kernel):
        found[DRIVER_IMPOSSIBLE] = fault
    elif not known:
        found[DRIVER_UNKNOWN] = f"driver {software.driver} is not in the digest book"
    elif software.library_sha256 not in known:
        digest = software.library_sha256[:16]
        found[LIBRARY_MISMATCH] = f"driver {software.driver} comes with another library than {digest}…"
    return found


@lru_cache
def read_digest_book(path: Path) -> dict[str, frozenset[str]]:
    """Returns the digests of each driver version's library. Raises BadTable for a file that cannot be used."""
    columns = {"driver_version": _driver, "library_sha256": _digest, "source": _source, "taken_on": date.fromisoformat}
    book: dict[str, frozenset[str]] = {}
    for line, row in read_table(path, columns):
        digests = book.get(row["driver_version"], frozenset())
        if row["library_sha256"] in digests:
            raise BadTable(path, line, "2 (library_sha256)", "stands in the book already")
        book[row["driver_version"]] = digests | {row["library_sha256"]}
    return book


def _driver(text: str) -> str:
    if fault := driver_fault(text, ""):
        raise ValueError(fault)
    return text


def _digest(text: str) -> str:
    if not SHA256.fullmatch(text):
        raise ValueError(f"{text!r} is no SHA-256 in lower-case hex")
    return text


def _source(text: str) -> str:
    if not text:
        raise ValueError("says not where the digest was taken from")
    return text
