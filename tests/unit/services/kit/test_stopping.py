"""Kafka's clients are stopped within bounds, and who stops them is cancelled whenever he is told to be."""

import asyncio

import pytest
from aiokafka.errors import KafkaError
from structlog.testing import capture_logs

from services.kit import stopping
from services.kit.stopping import stop_client

STEPS = 12  # of the loop, in which a client that stops at once has stopped


class Client:
    """A client that stops in its own way."""

    def __init__(self, way=None):
        self.way, self.stopped = way, False

    async def stop(self):
        if self.way is not None:
            await self.way()
        self.stopped = True


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(stopping, "STOP_WITHIN_S", 0.05)


async def told(client: Client) -> list[str]:
    with capture_logs() as logs:
        async with asyncio.timeout(2):
            await stop_client(client)
    return [entry["event"] for entry in logs]


async def test_a_client_that_stops_is_waited_for_and_nothing_is_said():
    client = Client(lambda: asyncio.sleep(0.01))
    assert (await told(client), client.stopped) == ([], True)


async def test_one_that_fails_to_stop_is_told_of():
    async def fail():
        raise KafkaError("broker away")

    assert await told(Client(fail)) == ["Kafka client did not stop cleanly"]


async def test_a_fault_of_our_own_is_raised():
    async def fail():
        raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"):
        await told(Client(fail))


async def test_one_that_never_stops_is_left_to_itself():
    still = asyncio.Event()

    async def hold():
        try:
            await still.wait()
        except asyncio.CancelledError:
            await still.wait()

    assert await told(Client(hold)) == ["Kafka client did not stop in time"]
    still.set()


@pytest.mark.parametrize("steps", range(STEPS))
@pytest.mark.parametrize("pauses", [0, 1, 3])
async def test_a_cancellation_is_never_lost_whenever_it_comes(steps: int, pauses: int):
    async def pause():
        for _ in range(pauses):
            await asyncio.sleep(0)

    async def stop_and_go_on():
        await stop_client(Client(pause))
        await asyncio.sleep(3_600)

    task = asyncio.create_task(stop_and_go_on())
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait((task,), timeout=2)
    assert task.cancelled()
