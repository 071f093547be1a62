"""The compiled engine: ordinary commands in C, all others by the rules in Python."""

from collections.abc import Sequence
from typing import Self

from matching_engine.rules.market import Market
from matching_engine.rules.outline import Outline
from matching_engine.rules.standing import Standing
from matching_engine.rules.state import State
from matching_engine.rules.store import Store

class Engine(Standing):
    """State and its rules. `apply` takes records in the order of their offsets, cut into batches however one likes."""

    state: State
    store: Store
    market: Market

    def __init__(self, state: State | None = None) -> None: ...
    def apply(self, records: Sequence[tuple[int, int, bytes]]) -> list[bytes]:
        """Applies records (offset, broker's timestamp in ms, value). Raises OffsetGap where one is not the next."""

    def snapshot(self) -> bytes:
        """The whole state as canonical bytes, the same that the plain engine gives."""

    @classmethod
    def load(cls, outline: Outline, packed: memoryview) -> Self:
        """Goes on from a snapshot's outline and packed sections."""
