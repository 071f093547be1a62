import time
from types import SimpleNamespace

import pytest

from services.delivery.positions import RecentPositions
from services.delivery.store import Store

WAIT_MS, AHEAD_MAX = 200, 10


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The last positions that were read of, one for each look; the last one stays. What is left was not asked for."""
    known: list[int] = []

    async def value(self: Store, name: str) -> int:
        assert name == "last_position"
        return known.pop(0) if len(known) > 1 else known[0]

    monkeypatch.setattr(Store, "value", value)
    return known


async def waited(position_id: int) -> float:
    began = time.monotonic()
    settings = SimpleNamespace(position_wait_ms=WAIT_MS, positions_ahead_max=AHEAD_MAX)
    await RecentPositions(SimpleNamespace(), settings).wait_for(position_id)
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
