"""Snapshots: the whole state as canonical bytes; what is damaged, foreign or of another version is refused.

A line names the format, its version, and the SHA-256 and size of what follows: the outline (what a state has few of,
as JSON) behind its size, then the packed sections (what it has many of).
"""

import re
from collections.abc import Callable
from hashlib import sha256
from struct import Struct
from struct import error as StructError
from typing import Protocol, TypeVar

from matching_engine.errors import BadSnapshot
from matching_engine.rules import outline, packing
from matching_engine.rules.outline import Outline
from matching_engine.rules.state import State

VERSION = 6  # knows of held payouts and of what an ask was to resell, which 5 did not
HEADER = re.compile(rb"hourbook-snapshot-(\d{1,9}) (?:([0-9a-f]{64}) (\d{1,18})\n)?")
SIZE = Struct("<q")
FORGED = (ArithmeticError, AttributeError, LookupError, StopIteration, StructError, TypeError, ValueError)


class HasSnapshot(Protocol):
    """An engine."""

    def snapshot(self) -> bytes:
        """The whole state as canonical bytes."""


Restored = TypeVar("Restored", bound=HasSnapshot)


def write(state: State) -> bytes:
    """Returns the snapshot. The same state always gives the same bytes."""
    names = packing.names_of(state)
    text = outline.text_of(state, names, state.orders.values(), state.positions.values())
    return assemble(text, packing.pack(state, names))


def restore(raw: bytes, load: Callable[[Outline, memoryview], Restored]) -> Restored:
    """Returns what `load` makes of outline and sections, if its own snapshot is the same. Raises BadSnapshot."""
    body = memoryview(raw)[check_header(raw) :]
    try:
        engine = load(*open_body(body))
        is_canonical = engine.snapshot() == raw
    except FORGED as error:
        raise BadSnapshot(f"invalid state: {error!r}") from error
    if not is_canonical:
        raise BadSnapshot("not in canonical form")
    return engine


def assemble(text: bytes, packed: bytes | memoryview) -> bytes:
    """Puts outline and sections behind their header."""
    size = SIZE.pack(len(text))
    digest = sha256(size)
    digest.update(text)
    digest.update(packed)
    header = f"hourbook-snapshot-{VERSION} {digest.hexdigest()} {len(size) + len(text) + len(packed)}\n"
    return b"".join((header.encode(), size, text, packed))


def open_body(body: memoryview) -> tuple[Outline, memoryview]:
    """Returns outline and packed sections."""
    (size,) = SIZE.unpack_from(body)
    end = SIZE.size + size
    return outline.parse(bytes(body[SIZE.size : end])), body[end:]


def check_header(raw: bytes) -> int:
    """Returns where the body begins. Raises BadSnapshot unless it is the one that the header tells of."""
    header = HEADER.match(raw)
    if header is None:
        raise BadSnapshot("not a snapshot of the engine")
    if int(header[1]) != VERSION:
        raise BadSnapshot(f"snapshot version {int(header[1])} is not supported, only version {VERSION}")
    if header[2] is None:
        raise BadSnapshot("the header is damaged")
    size, expected = len(raw) - header.end(), int(header[3])
    if size != expected:
        raise BadSnapshot(f"{'truncated' if size < expected else 'too long'}: {size} bytes of {expected}")
    if sha256(memoryview(raw)[header.end() :]).hexdigest().encode() != header[2]:
        raise BadSnapshot("damaged: the SHA-256 does not match")
    return header.end()
