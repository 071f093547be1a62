"""The event log's tail: what a fetch brings from behind the end is handed out once the end is extended."""

from dataclasses import dataclass

from services.matching.event_tail import EventTail


@dataclass(frozen=True)
class Record:
    offset: int
    value: bytes


def event(seq: int) -> bytes:
    return b'{"type":"tick","shard":0,"seq":%d,"in_offset":%d,"index":0}' % (seq, seq)


class GrowingLog:
    """A log that has grown since its end was asked for; each fetch brings up to five records."""

    def __init__(self, count: int):
        self.records = [Record(offset, event(offset + 1)) for offset in range(count)]
        self.next_offset = 0

    def seek(self, offset: int) -> None:
        self.next_offset = offset

    async def end(self) -> int:
        return len(self.records)

    async def fetch(self) -> list[Record]:
        found = self.records[self.next_offset : self.next_offset + 5]
        self.next_offset += len(found)
        return found


async def test_events_from_behind_the_end_are_neither_handed_out_early_nor_lost():
    log = GrowingLog(12)
    tail = EventTail(log, end=3)
    assert await tail.take(10) == [event(1), event(2), event(3)]
    assert tail.exhausted
    await tail.extend()
    assert not tail.exhausted
    assert await tail.take(20) == [event(seq) for seq in range(4, 13)]
    assert tail.exhausted
