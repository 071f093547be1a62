"""Commands behind undecided ones gather and go together; the first goes at once."""

import asyncio
from types import SimpleNamespace

from services.gateway.commands.log import CommandLog
from services.gateway.settings import GatewaySettings


class Producer:
    """Takes records, notes when, and acknowledges each at once."""

    def __init__(self):
        self.sent: list[bytes] = []

    async def send(self, topic: str, record: bytes, partition: int) -> asyncio.Future:
        self.sent.append(record)
        acknowledged = asyncio.get_running_loop().create_future()
        acknowledged.set_result(SimpleNamespace(offset=len(self.sent) - 1))
        return acknowledged


def make_log(gather_s: float) -> tuple[CommandLog, Producer]:
    log = CommandLog(GatewaySettings(gather_s=gather_s))
    log._producer = producer = Producer()
    return log, producer


def append(log: CommandLog, record: bytes) -> asyncio.Task:
    return asyncio.create_task(log.append(record, lambda offset: None, lambda error: None))


async def until_idle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_command_that_finds_none_undecided_is_sent_at_once():
    log, producer = make_log(gather_s=60)
    await asyncio.wait_for(append(log, b"first"), 1)
    assert producer.sent == [b"first"]


async def test_commands_behind_an_undecided_one_go_together_when_it_is_settled():
    log, producer = make_log(gather_s=60)
    await append(log, b"first")
    others = [append(log, record) for record in (b"second", b"third")]
    await until_idle()
    before = list(producer.sent)
    log.settled()
    await asyncio.gather(*others)
    assert (before, producer.sent) == ([b"first"], [b"first", b"second", b"third"])


async def test_commands_do_not_gather_longer_than_the_setting_says():
    log, producer = make_log(gather_s=0.01)
    await append(log, b"first")
    await asyncio.wait_for(append(log, b"second"), 1)
    assert producer.sent == [b"first", b"second"]


async def test_a_gathered_command_that_is_given_up_holds_up_none_of_the_others():
    log, producer = make_log(gather_s=60)
    await append(log, b"first")
    given_up, other = append(log, b"second"), append(log, b"third")
    await until_idle()
    given_up.cancel()
    await until_idle()
    log.settled()
    await other
    assert (given_up.cancelled(), producer.sent) == (True, [b"first", b"third"])


async def test_the_end_of_an_earlier_wait_does_not_send_what_gathered_after_it():
    log, producer = make_log(gather_s=0.05)
    await append(log, b"first")
    second = append(log, b"second")
    await until_idle()
    log.settled()
    await second
    await asyncio.sleep(0.03)
    third = append(log, b"third")
    await asyncio.sleep(0.03)
    assert producer.sent == [b"first", b"second"]
    await third
    assert producer.sent == [b"first", b"second", b"third"]
