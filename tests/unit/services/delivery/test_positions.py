import asyncio
import time
from types import SimpleNamespace

import pytest

from services.delivery.positions import RecentPositions
from services.delivery.store.positions import Positions

WAIT_MS, AHEAD_MAX = 200, 10


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The last positions that were read of, one for each look; the last one stays. What is left was not asked for."""
    known: list[int] = []

    async def last(self: Positions) -> int:
        return known.pop(0) if len(known) > 1 else known[0]

    monkeypatch.setattr(Positions, "last", last)
    return known


def recent() -> RecentPositions:
    return RecentPositions(SimpleNamespace(), SimpleNamespace(position_wait_ms=WAIT_MS, positions_ahead_max=AHEAD_MAX))


async def waited(position_id: int) -> float:
    began = time.monotonic()
    await recent().wait_for(position_id)
    return time.monotonic() - began


async def test_a_position_that_was_just_sold_is_waited_for_until_it_was_read_of(asked: list[int]):
    asked[:] = [4, 4, 7, 9]
    await waited(6)
    assert asked == [9]


@pytest.mark.parametrize("position_id", [1, 4, 15, 2**63 - 1])
async def test_a_known_number_and_one_far_ahead_are_not_waited_for(asked: list[int], position_id: int):
    asked[:] = [4, 20]
    assert await waited(position_id) < WAIT_MS / 1_000
    assert asked == [20]


async def test_a_position_that_never_comes_is_waited_for_only_so_long(asked: list[int]):
    asked[:] = [4]
    assert WAIT_MS / 1_000 <= await waited(5) < 20 * WAIT_MS / 1_000


async def test_a_thousand_who_wait_look_no_oftener_than_one(asked: list[int]):
    asked[:] = [4] * 1_000
    positions = recent()
    await asyncio.gather(*(positions.wait_for(5) for _ in range(1_000)))
    assert 1_000 - len(asked) <= WAIT_MS / 50 + 2


async def test_a_number_that_is_known_is_not_looked_for_again(asked: list[int]):
    asked[:] = [9, 10]
    positions = recent()
    for position_id in (9, 9, 3):
        await positions.wait_for(position_id)
    assert asked == [10]
