"""How much of a time the event loop was busy."""

import asyncio
import time

from services.delivery.loop_lag import LoopLag
from services.delivery.releases import clock_us


def test_of_a_time_only_the_delays_that_lie_in_it_count():
    lag = LoopLag()
    lag.note(1_000, 300)
    lag.note(2_000, 500)
    assert [lag.within(*times) for times in ((0, 3_000), (800, 3_000), (1_000, 1_800), (2_000, 3_000), (0, 500))] == [
        800,
        700,
        300,
        0,
        0,
    ]


async def test_a_loop_that_is_held_up_is_noticed():
    lag = LoopLag()
    watching = asyncio.create_task(lag.run())
    await asyncio.sleep(0.05)
    began_us = clock_us()
    time.sleep(0.3)
    await asyncio.sleep(0.05)
    watching.cancel()
    assert 250_000 <= lag.within(began_us, clock_us()) <= 400_000
