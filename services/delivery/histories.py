"""GPUs' histories: gathered in memory as reports are metered, written every few minutes, gathered again after a crash.

Written with each report they would cost as much as all else that a report costs. `node.history_seq` says up to which
report a node's GPUs' histories are written: the table has the reports behind it, so nothing is lost or counted twice.
"""

import asyncio
import time
from collections.abc import Container, Sequence

import structlog

from schemas.nodes import NodeReported
from services.delivery.effects import Effects
from services.delivery.evidence import judge_loads
from services.delivery.load import LoadTally
from services.delivery.passports import GpuTally
from services.delivery.settings import Settings
from services.delivery.store import Store
from services.kit.store import AWAY

NODES_PER_TURN = 64
RECORDS_PER_TURN = 1_000
LOOKS_PER_INTERVAL = 10
FIRST_MS = 1  # where a tally's row has the time of its first report


class NodeTally:
    """What a node's reports from one number on have shown of its GPUs."""

    def __init__(self, from_seq: int):
        self.from_seq = self.to_seq = from_seq
        self.began_s = time.monotonic()
        self.gpus: dict[str, GpuTally] = {}
        self.loads: dict[str, LoadTally] = {}
        self.last_ms = 0

    def add(self, record: NodeReported, own: Container[str]) -> None:
        """Counts the next report. What it says of GPUs that are not the node's `own` is no GPU's history."""
        report, gpus = record.report, self.gpus
        self.to_seq, window_ms = report.seq, report.mono_end_ms - report.mono_start_ms
        self.last_ms = record.received_ms
        for reading in {reading.uuid: reading for reading in report.gpus}.values():
            tally = gpus.get(reading.uuid)
            if tally is None:
                if reading.uuid not in own:
                    continue
                tally = gpus[reading.uuid] = GpuTally(record.received_ms)
                self.loads[reading.uuid] = LoadTally()
            tally.add(reading, record.received_ms, window_ms)
            self.loads[reading.uuid].add(reading, report.boot_id, window_ms, report.mono_end_ms)


class Histories:
    """What is gathered and not written. Everything here happens in the turn of `Effects`."""

    def __init__(self, settings: Settings):
        self._settings, self._interval_s = settings, settings.history_interval_s
        self._nodes: dict[str, NodeTally] = {}

    def add(self, record: NodeReported, own: Container[str]) -> None:
        """Gathers what a report has shown of its node's own GPUs, once it is committed as metered."""
        node = self._nodes.get(record.node_id)
        if node is None:
            node = self._nodes[record.node_id] = NodeTally(record.report.seq - 1)
        node.add(record, own)

    async def write(self, store: Store, node_ids: Sequence[str]) -> None:
        """Writes what is gathered of nodes into the histories of their GPUs, and forgets it when that is committed.

        With it goes, in the order of time, what other nodes have shown of the same GPUs, which have moved. A node whose
        histories have gone on behind it, by another process than this, is left out.
        """
        tallies = {node_id: self._nodes[node_id] for node_id in node_ids if node_id in self._nodes}
        if not tallies:
            return
        gpus = {uuid for tally in tallies.values() for uuid in tally.gpus}
        tallies |= {node_id: tally for node_id, tally in self._nodes.items() if not gpus.isdisjoint(tally.gpus)}
        places = [[each.from_seq for each in tallies.values()], [each.to_seq for each in tallies.values()]]
        moved = {row["node_id"] for row in await store.rows("move_histories", list(tallies), *places)}
        rows = [
            tally.row(uuid)
            for node_id, node in tallies.items()
            if node_id in moved
            for uuid, tally in node.gpus.items()
        ]
        rows.sort(key=lambda row: row[FIRST_MS])
        while rows:
            # A statement folds a GPU once.
            once: dict[str, tuple[object, ...]] = {}
            rows = [row for row in rows if once.setdefault(row[0], row) is not row]
            await store.fold_histories(list(once.values()))
        for node_id in moved:
            await judge_loads(store, self._settings, node_id, tallies[node_id].loads, tallies[node_id].last_ms)
        # Before what this transaction itself has metered is gathered: that is not in what was written.
        store.after_commit.insert(0, lambda: self._forget(tallies))

    def _forget(self, tallies: dict[str, NodeTally]) -> None:
        for node_id, tally in tallies.items():
            if self._nodes.get(node_id) is tally:
                del self._nodes[node_id]

    async def catch_up(self, effects: Effects) -> None:
        """Gathers and writes what a process before this one had gathered only."""
        rows = await Store(effects.pool).rows("nodes_behind")
        for row in rows:
            async with effects.transaction() as store:
                node_id, seq, end = row["node_id"], row["history_seq"], row["metered_seq"]
                own = {gpu.uuid for gpu in await store.gpus(node_id) if not gpu.is_freed}
                while records := await store.records_behind(node_id, seq, end, RECORDS_PER_TURN):
                    for record in records:
                        self.add(record, own)
                    seq = records[-1].report.seq
                await self.write(store, [node_id])
        if rows:
            structlog.get_logger().info("histories of GPUs were gathered again", nodes=len(rows))

    async def run(self, effects: Effects) -> None:
        """Writes what was gathered for long enough, for ever; sits out a database that is away."""
        while True:
            await asyncio.sleep(self._interval_s / LOOKS_PER_INTERVAL)
            try:
                await self._write_due(effects)
            except AWAY as error:
                structlog.get_logger().warning("histories wait for PostgreSQL", error=str(error))

    async def _write_due(self, effects: Effects) -> None:
        due_s = time.monotonic() - self._interval_s
        due = [node_id for node_id, node in self._nodes.items() if node.began_s <= due_s]
        for first in range(0, len(due), NODES_PER_TURN):
            async with effects.transaction() as store:
                await self.write(store, due[first : first + NODES_PER_TURN])
