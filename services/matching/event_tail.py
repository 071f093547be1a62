"""The events that are in the log already, handed out in order, so that the engine's can be compared with them."""

from services.matching import domain
from services.matching.kafka import LogReader
from services.matching.settings import MatchingSettings


class EventTail:
    """The event log after some `seq`, up to the end it had when it was opened."""

    def __init__(self, reader: LogReader, end: int):
        self._reader, self.end = reader, end
        self._seq = 0
        self._waiting: list[bytes] = []

    @classmethod
    async def open(cls, settings: MatchingSettings, topic: str, seq: int = 0) -> "EventTail":
        """Open the log behind event `seq`."""
        reader = LogReader(settings, topic)
        await reader.open()
        tail = cls(reader, await reader.end())
        tail.seek(seq)
        return tail

    def seek(self, seq: int) -> None:
        """Go on after event `seq`; as every event has its record, the next one cannot stand before offset `seq`."""
        self._reader.seek(min(seq, self.end))
        self._seq, self._waiting = seq, []

    @property
    def exhausted(self) -> bool:
        """Whether everything was handed out."""
        return not self._waiting and self._reader.next_offset >= self.end

    async def take(self, count: int) -> list[bytes]:
        """Return the next `count` events, fewer where the log ends."""
        while len(self._waiting) < count and self._reader.next_offset < self.end:
            records = await self._reader.fetch()
            values = (record.value for record in records if record.offset < self.end)
            fresh, self._seq = domain.in_sequence(values, self._seq)
            self._waiting += fresh
            if self._reader.next_offset > self.end:
                self._reader.seek(self.end)  # what lies behind the end is read once the end is extended
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    async def extend(self) -> None:
        """Take the end that the log has now."""
        self.end = await self._reader.end()

    async def close(self) -> None:
        """Stop reading."""
        await self._reader.close()
