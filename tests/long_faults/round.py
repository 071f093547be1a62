"""One round: load and accidents, a backup, more of them, everything killed, the backup put back, more, the audit.

Every other round copies the exchange while it runs.
"""

import asyncio
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from infra.backup import back_up, restore
from infra.exchange import RunningExchange
from tests.faults.audit.log import EventLog
from tests.faults.killer import CALM_S
from tests.faults.load.asking import broken
from tests.faults.test_nothing_is_lost import audit, wait_settled
from tests.faults.world import World, prepare
from tests.long_faults.accidents import Accidents, kill_tree
from tests.long_faults.marks import Mark, still_there
from tests.long_faults.tally import Tally

SHOWN = 5
TRADE_S = 5.0


class Round:
    """Plays `count` accidents on an exchange of its own, and audits it."""

    def __init__(self, exchange: RunningExchange, work: Path, tally: Tally, say: Callable[[str], None]):
        self._exchange, self._work, self._tally, self._say = exchange, work, tally, say
        self._seed = tally.seed + 10_007 * tally.next_round
        self._backup, self._parts = work / "backup", 0

    async def play(self, count: int) -> None:
        """Plays the round, and adds what it has found to the tally."""
        before, after, last = count // 3, count // 3, count - 2 * (count // 3)
        world = await asyncio.to_thread(prepare, self._exchange, self._work, self._seed)
        all_over = asyncio.Event()
        broken.clear()
        try:
            async with asyncio.TaskGroup() as watching:
                for each in (world.contracts, world.feed):
                    watching.create_task(each.run(all_over))
                await self._trade(world, before)
                if self._tally.next_round % 2:
                    backup = await self._back_up_running(world, after)
                else:
                    backup = await self._back_up_stopped(world, after)
                reports_kept = await self._put_back(world, *backup)
                await self._trade(world, last, is_last=True)
                await wait_settled(self._exchange)
                all_over.set()
        finally:
            await asyncio.to_thread(world.sites.stop)
        self._tally.faults += await audit(self._exchange, world, reports_kept) + broken
        self._tally.acknowledged += _acknowledged(world)
        self._tally.next_round += 1

    async def _trade(self, world: World, count: int, is_last: bool = False) -> None:
        over = asyncio.Event()
        load = asyncio.create_task(world.act(over, is_last))
        await self._suffer(world, count)
        await asyncio.sleep(CALM_S)
        over.set()
        await load

    async def _back_up_stopped(self, world: World, count: int) -> tuple[Mark, Path]:
        """Copies the exchange at rest; then everybody trades on, until everything is killed, and stays down."""
        await asyncio.to_thread(self._exchange.stop)
        mark = Mark.of(world)
        await asyncio.to_thread(back_up, self._exchange.data, self._backup)
        await asyncio.to_thread(self._exchange.start)
        await self._die(world, asyncio.create_task(world.act(asyncio.Event())), count)
        return mark, self._backup

    async def _back_up_running(self, world: World, count: int) -> tuple[Mark, Path]:
        """Copies the exchange in mid-trade."""
        load = asyncio.create_task(world.act(asyncio.Event(), sells=False))
        await asyncio.sleep(TRADE_S)
        mark = Mark.of(world)
        await asyncio.to_thread(back_up, self._exchange.data, self._backup)
        await self._die(world, load, count)
        return mark, self._backup

    async def _die(self, world: World, load: asyncio.Task, count: int) -> None:
        await self._suffer(world, count)
        await asyncio.sleep(CALM_S)
        await asyncio.to_thread(kill_tree, self._exchange)
        load.cancel()
        await asyncio.gather(load, return_exceptions=True)

    async def _suffer(self, world: World, count: int) -> None:
        await world.wait_at_work()
        self._parts += 1
        seed = self._seed + 1_009 * self._parts
        accidents = Accidents(self._exchange, world.sites, world.agents, seed, count)
        try:
            await accidents.run()
        finally:
            self._tally.accidents += accidents.counts

    async def _put_back(self, world: World, mark: Mark, backup: Path) -> dict[str, int]:
        """Puts the backup back beside what is left, as the runbook says; returns the reports that it must have."""
        data, lost = self._exchange.data, self._work / "lost"
        await asyncio.to_thread(self._exchange.stop)
        given_up = mark.give_up(world)
        data.rename(lost)
        await asyncio.to_thread(restore, backup, data)
        await asyncio.to_thread(self._exchange.start)
        self._tally.accidents["restore"] += 1
        self._tally.given_up += Counter({kind: len(names) for kind, names in given_up.items()})
        shown = (f"{len(names)} {kind} ({', '.join(names[:SHOWN])} …)" for kind, names in given_up.items() if names)
        self._say(f"the backup was put back, and gives up {'; '.join(shown)}")
        if self._tally.next_round % 2 == 0:
            self._tally.faults += still_there(await EventLog.read(self._exchange.kafka_options()), given_up)
        (lost / "logs").rename(self._work / "logs-before-the-restore")
        shutil.rmtree(lost)
        return mark.taken


def _acknowledged(world: World) -> Counter[str]:
    notes = [trader.notes for trader in world.traders]
    return Counter(
        orders=sum(len(each.orders) for each in notes),
        cancels=sum(len(each.canceled) for each in notes),
        payments=len(world.payer.posted),
        keys=len(world.key_maker.made) + len(world.key_maker.revoked),
        sales=sum(map(len, world.seller.steps.values())),
    )
