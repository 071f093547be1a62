"""The play itself: everyone acts at his own rhythm, sites move their prices, accidents happen, until it is stopped."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from console.play.accidents import Accident, accident_in
from console.play.chance import stream
from console.play.cost import OwnCost, next_pace
from console.play.desk import PASSING, Desk, Market
from console.play.people import Person
from console.play.sites import LIVE_GPUS, PlayedSites, PriceClock
from console.play.surplus import Surplus
from console.play.telling import Teller

SURPLUS_STEP, PRICE_STEP = 5, 2
COST_EVERY_S, MINUTE_S = 10, 60
log = logging.getLogger("hourbook.play")


class Play:
    """One running play. A turn is a second at the usual pace; what the play costs decides how much longer it takes."""

    def __init__(
        self,
        seed: int,
        market: Market,
        everyone: tuple[Person, ...],
        desks: dict[str, Desk],
        sites: PlayedSites,
        surplus: Surplus,
        teller: Teller,
        cost: OwnCost,
    ) -> None:
        self._seed, self._market, self._everyone, self._desks = seed, market, everyone, desks
        self._sites, self._surplus, self._teller, self._cost = sites, surplus, teller, cost
        self._prices = PriceClock(sites, seed)
        self._ticks = {product: terms.tick_micros for product, terms in market.terms.items()}
        self._accidents: set[asyncio.Task] = set()
        self._pace, self._shares = 1.0, [0.0]

    async def run(self, stopping: asyncio.Event) -> None:
        """Plays until it is told to stop."""
        turn = 0
        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(self._watch_cost()), group.create_task(self._count_minutes(group))]
            while not stopping.is_set():
                began = time.monotonic()
                await self._take(turn)
                turn += 1
                await _wait(stopping, max(self._pace - (time.monotonic() - began), 0.05))
            for task in (*beside, *self._accidents):
                task.cancel()

    async def _take(self, turn: int) -> None:
        for place, person in enumerate(self._everyone):
            if (turn + place) % person.trader.step == 0:
                await self._patiently(person.name, lambda person=person: self._act(person, turn))
        if turn % SURPLUS_STEP == 0:
            await self._patiently("surplus", lambda: self._surplus.step(turn))
        if turn % PRICE_STEP == 0:
            self._prices.tick(self._market.values, self._ticks)

    async def _watch_cost(self) -> None:
        while True:
            await asyncio.sleep(COST_EVERY_S)
            self._shares = [*self._shares, self._cost.share()][-MINUTE_S // COST_EVERY_S :]
            self._pace = next_pace(self._pace, self._shares[-1])

    async def _count_minutes(self, group: asyncio.TaskGroup) -> None:
        minute = 0
        while True:
            await asyncio.sleep(MINUTE_S)
            minute += 1
            share = sum(self._shares) / len(self._shares)
            await self._patiently("telling", lambda share=share: self._teller.print_figures(share))
            self._begin_minute(minute, group)

    async def _act(self, person: Person, turn: int) -> None:
        step = turn // person.trader.step
        view = await self._desks[person.name].view(person.products(step), person.looks_at_own, person.looks_at_own)
        wishes = person.trader.decide(view, step, stream(self._seed, person.name, step))
        if wishes:
            await self._desks[person.name].carry_out(wishes)

    def _begin_minute(self, minute: int, group: asyncio.TaskGroup) -> None:
        accident = accident_in(self._seed, minute, self._sites.live_labels, LIVE_GPUS)
        if accident is not None:
            self._teller.note(accident)
            task = group.create_task(self._happen(accident))
            self._accidents.add(task)
            task.add_done_callback(self._accidents.discard)

    async def _happen(self, accident: Accident) -> None:
        await asyncio.sleep(accident.after_s)
        await self._sites.suffer(accident)

    async def _patiently(self, name: str, act: Callable[[], Awaitable[None]]) -> None:
        """Lets one act; what the exchange refuses, or is too busy for, is said in the log, and the play goes on."""
        try:
            await act()
        except PASSING as trouble:
            self._teller.tally[f"trouble {name}"] += 1
            log.warning("%s: %r", name, trouble)


async def _wait(stopping: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stopping.wait(), seconds)
    except TimeoutError:
        return
