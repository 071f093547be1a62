"""The engine in plain Python: records of the command log in, canonical events out; nothing but the records decides."""

from collections.abc import Sequence
from hashlib import sha256

from matching_engine.errors import OffsetGap
from matching_engine.rules import snapshot, unpacking
from matching_engine.rules.dispatch import execute, parse_command
from matching_engine.rules.log_time import move_time
from matching_engine.rules.market import Market
from matching_engine.rules.outline import Outline
from matching_engine.rules.standing import Standing
from matching_engine.rules.state import State
from matching_engine.rules.store import PlainStore
from schemas.events import BalanceDigest
from schemas.venue import Tick

DIGEST_EVERY_OFFSETS = 4096


class Engine(Standing):
    """State and its rules. `apply` takes records in the order of their offsets, cut into batches however one likes."""

    def __init__(self, state: State | None = None):
        self.state = state or State()
        self.store = PlainStore(self.state)
        self.market = Market(self.store)

    def apply(self, records: Sequence[tuple[int, int, bytes]]) -> list[bytes]:
        """Applies records (offset, broker's timestamp in ms, value). Raises OffsetGap where one is not the next.
        [F-2]
        """
        return [event for record in records for event in self.apply_record(*record)]

    def apply_record(self, offset: int, ts_ms: int, value: bytes) -> list[bytes]:
        """Time moves first, then the command applies; the digest of balances comes last."""
        if offset != self.state.next_offset:
            raise OffsetGap(f"record at offset {offset}, expected offset {self.state.next_offset}")
        self.state.next_offset = offset + 1
        self.market.offset = offset
        self.store.events.clear()
        command = parse_command(value)
        move_time(self.market, ts_ms, is_tick=isinstance(command, Tick))
        execute(self.market, command)
        if self.state.ruleset and offset % DIGEST_EVERY_OFFSETS == 0:
            self.market.emit(BalanceDigest, digest=self.balance_digest())
        return self.seal()

    def seal(self) -> list[bytes]:
        """Numbers the record's events and links them: link = SHA-256(previous link ‖ the bytes of the events). [F-1]"""
        sealed = []
        for index, (event, fields) in enumerate(self.store.events):
            self.state.seq += 1
            header = {
                "shard": self.state.shard,
                "seq": self.state.seq,
                "in_offset": self.market.offset,
                "index": index,
                "count": len(self.store.events),
                "ts_ms": self.state.log_time_ms,
                "prev_link": self.state.link,
            }
            sealed.append(event(**header, **fields).canonical())
        if sealed:
            self.state.link = sha256(self.link + b"".join(sealed)).hexdigest()
        return sealed

    def snapshot(self) -> bytes:
        """The whole state as canonical bytes."""
        return snapshot.write(self.state)

    @classmethod
    def load(cls, outline: Outline, packed: memoryview) -> "Engine":
        """Goes on from a snapshot's outline and packed sections."""
        return cls(unpacking.unpack(outline, packed))
