"""Where an engine stands, and a look inside: the same of both engines, read from their market."""

from collections.abc import Callable
from typing import Self

from matching_engine.rules import inspection, snapshot
from matching_engine.rules.market import Market
from matching_engine.rules.outline import Outline
from matching_engine.rules.state import State


class Standing:
    """What may be asked of an engine between two records."""

    state: State
    market: Market
    load: Callable[[Outline, memoryview], Self]

    @property
    def seq(self) -> int:
        """The number of the last event."""
        return self.state.seq

    @property
    def next_offset(self) -> int:
        """The offset of the record that comes next."""
        return self.state.next_offset

    @property
    def log_time_ms(self) -> int:
        """The log's time."""
        return self.state.log_time_ms

    @property
    def link(self) -> bytes:
        """The chain's newest link."""
        return bytes.fromhex(self.state.link)

    @property
    def epoch(self) -> int:
        """The newest epoch read."""
        return self.state.epoch

    @property
    def shard(self) -> int:
        """The shard that genesis named."""
        return self.state.shard

    @classmethod
    def restore(cls, raw: bytes) -> Self:
        """Goes on from a snapshot. Raises BadSnapshot for damaged or foreign bytes."""
        return snapshot.restore(raw, cls.load)

    def balances(self) -> list[tuple[str, str, int, int]]:
        """Account, asset, available and held of every balance, sorted."""
        return list(self.market.store.balances.rows())

    def balance_digest(self) -> str:
        """SHA-256 over all balances, as in `balance_digest` events."""
        return self.market.store.balances.digest()

    def positions(self) -> list[dict]:
        """Every position that is not final, by id."""
        return inspection.positions(self.market)

    def orders(self) -> list[dict]:
        """Every live order and block, by id."""
        return inspection.orders(self.state)
