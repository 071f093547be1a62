"""A reader that reads ahead hands out the same records in the same order."""

from types import SimpleNamespace

from aiokafka.errors import KafkaError

from services.matching.kafka import LogReader
from services.matching.settings import MatchingSettings


class Consumer:
    """Hands out ten records, so many at once."""

    def __init__(self):
        self.position, self.waits_ms, self.broken = 0, [], False

    def seek(self, partition, offset):
        self.position = offset

    async def getmany(self, partition, timeout_ms, max_records):
        self.waits_ms.append(timeout_ms)
        if self.broken:
            raise KafkaError("broken")
        offsets = range(self.position, min(self.position + max_records, 10))
        self.position = offsets.stop
        return {partition: [SimpleNamespace(offset=offset) for offset in offsets]} if offsets else {}


def make_reader() -> tuple[LogReader, Consumer]:
    reader, consumer = LogReader(MatchingSettings(fetch_records_max=4, fetch_wait_ms=7), "log"), Consumer()
    reader._consumer = consumer
    return reader, consumer


async def offsets(reader: LogReader) -> list[int]:
    return [record.offset for record in await reader.fetch()]


async def test_what_was_read_ahead_comes_with_the_next_fetch_and_counts_only_then():
    reader, consumer = make_reader()
    assert (await offsets(reader), reader.next_offset) == ([0, 1, 2, 3], 4)
    await reader.read_ahead()
    await reader.read_ahead()
    assert reader.next_offset == 4
    assert (await offsets(reader), reader.next_offset) == ([4, 5, 6, 7], 8)
    assert (await offsets(reader), await offsets(reader), reader.next_offset) == ([8, 9], [], 10)
    assert consumer.waits_ms == [7, 0, 7, 7]


async def test_whoever_goes_elsewhere_does_not_get_what_was_read_ahead():
    reader, _ = make_reader()
    await reader.read_ahead()
    reader.seek(6)
    assert (await offsets(reader), reader.next_offset) == ([6, 7, 8, 9], 10)


async def test_what_fails_ahead_of_time_is_met_by_the_next_fetch():
    reader, consumer = make_reader()
    consumer.broken = True
    await reader.read_ahead()
    consumer.broken = False
    assert await offsets(reader) == [0, 1, 2, 3]
