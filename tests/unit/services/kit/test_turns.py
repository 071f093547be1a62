"""Whoever works under one name works alone, however those before him end, and nothing stays of a name."""

import asyncio

import pytest

from services.kit.idempotency import Turns


class Work:
    """Works under a name, and notes who is at it."""

    def __init__(self):
        self.turns, self.at_it, self.most = Turns(), 0, 0

    async def do(self, fails: bool = False) -> None:
        async with self.turns.of("name"):
            self.at_it += 1
            self.most = max(self.most, self.at_it)
            try:
                await asyncio.sleep(0)
                if fails:
                    raise ValueError("refused")
            finally:
                self.at_it -= 1


async def test_who_comes_while_the_next_one_is_still_being_woken_waits_for_him():
    work = Work()
    waiting: list[asyncio.Task] = []

    async def first() -> None:
        async with work.turns.of("name"):
            waiting.append(asyncio.create_task(work.do()))
            await asyncio.sleep(0)
        await work.do()

    await first()
    await asyncio.gather(*waiting)
    assert work.most == 1


async def test_copies_of_a_refused_request_work_one_after_the_other_and_leave_nothing_behind():
    work = Work()
    results = await asyncio.gather(*(work.do(fails=True) for _ in range(4)), return_exceptions=True)
    assert [str(each) for each in results] == ["refused"] * 4
    assert (work.most, work.turns._turns) == (1, {})


async def test_who_gives_up_waiting_leaves_nothing_behind():
    work = Work()
    async with work.turns.of("name"):
        waiter = asyncio.create_task(work.do())
        await asyncio.sleep(0)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
    assert work.turns._turns == {}
