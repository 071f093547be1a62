"""Delivery in PostgreSQL: named statements, the rows that rules need as their own types, and what leaves in order."""

import json
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import astuple, dataclass
from typing import TypeVar

import asyncpg

from schemas.base import Model
from schemas.delivery import DeliveryHeader, GpuPassport
from schemas.gpu_health import GpuHealth
from schemas.nodes import GENESIS_HASH, GpuInventory, NodeReported
from schemas.topics import DELIVERY_EVENTS, METER_REPORTS, METER_REPORTS_DEAD
from schemas.venue import VenueCommand
from services.delivery.domain import UnknownNode
from services.delivery.leases import Lease, SoldPosition
from services.delivery.passports import COLUMNS as HISTORY_COLUMNS
from services.delivery.passports import GpuHistory, Readings, xids_of
from services.delivery.reports import Chain
from services.delivery.settings import Settings
from services.kit import store as kit

SCHEMA = "delivery"
NONCES_COLUMN = list(Chain.__dataclass_fields__).index("recent_nonces")
QUERIES = kit.load_queries("services.delivery")
PASSPORT_FIELDS = tuple(name for name in HISTORY_COLUMNS if name not in ("uuid", "xids"))
Event = TypeVar("Event", bound=DeliveryHeader)


@dataclass(frozen=True)
class Node:
    """A node as the venue knows it; `period_ms` is the shortest period of the products that it can serve."""

    node_id: str
    account: str
    hub: str
    grade: str
    public_key: str
    simulated: bool
    boot_id: str
    level: str
    state: str
    reason: str
    registered_gpus: tuple[str, ...]
    last_live_ms: int | None
    period_ms: int | None


@dataclass(frozen=True)
class NodeGpuRow:
    """One GPU of a node: what enrolment said of it, whether it is for sale itself, or freed for another node."""

    uuid: str
    serial: str
    inventory: GpuInventory
    fitness: GpuHealth
    is_listed: bool
    is_freed: bool


@dataclass
class NodeForReport:
    """A node, and whether the reply to its report has more to say.

    `gate_ms` is the next gate of what the node has sold; it may have passed without the engine having said so.
    """

    node: Node
    has_waiting: bool
    is_challenged: bool
    is_leased: bool
    gate_ms: int | None


@dataclass(frozen=True)
class Placed:
    """A report that goes on in its node's chain, and its hash."""

    record: NodeReported
    digest: str


@dataclass(frozen=True)
class NodeForRecord:
    """A node, the end of its chain as the meter has it, and its GPUs' fitness."""

    node: Node
    meter_seq: int
    meter_hash: str
    fitness: dict[str, GpuHealth]


async def open_pool(settings: Settings) -> kit.Pool:
    """Opens the service's pool on its own, migrated schema."""
    return await kit.open_pool(settings, SCHEMA, "services.delivery")


@asynccontextmanager
async def transaction(pool: kit.Pool) -> AsyncIterator["Store"]:
    """Yields the statements inside one transaction."""
    async with pool.acquire() as connection, connection.transaction():
        yield Store(connection)


class Store:
    """Statements on one connection. `run`, `row`, `rows` and `value` take the name of a query in `queries.sql`."""

    def __init__(self, connection: asyncpg.Connection | asyncpg.Pool):
        self.connection = connection
        self.readings = Readings()

    async def run(self, query: str, *args: object) -> None:
        """Runs a statement."""
        await self.connection.execute(getattr(QUERIES, query), *args)

    async def row(self, query: str, *args: object) -> asyncpg.Record | None:
        """Returns the first row, or None."""
        return await self.connection.fetchrow(getattr(QUERIES, query), *args)

    async def rows(self, query: str, *args: object) -> list[asyncpg.Record]:
        """Returns all rows."""
        return await self.connection.fetch(getattr(QUERIES, query), *args)

    async def value(self, query: str, *args: object):
        """Returns the first column of the first row, or None."""
        return await self.connection.fetchval(getattr(QUERIES, query), *args)

    # -- what leaves: commands to the engine, agents' facts to meter.reports, events to delivery.events

    async def command(self, *commands: VenueCommand) -> None:
        """Sends commands to the engine as one signed batch."""
        await kit.enqueue(self.connection, *commands)

    async def record(self, node_id: str, record: Model) -> None:
        """Puts an agent's fact on its way to `meter.reports`."""
        await kit.publish(self.connection, METER_REPORTS.name, node_id, record.canonical())

    async def bury(self, node_id: str, record: Model, reason: str) -> None:
        """Puts a record that contradicts what is known on its way to the dead letters, with the reason."""
        letter = b'{"reason":"%s","record":%s}' % (reason.encode(), record.canonical())
        await kit.publish(self.connection, METER_REPORTS_DEAD.name, node_id, letter)

    async def tell(self, event: type[Event], node_id: str, ts_ms: int, **fields: object) -> None:
        """Puts an event on its way to `delivery.events`, with the next sequence number."""
        seq = await self.value("next_sequence")
        message = event(seq=seq, ts_ms=ts_ms, node=node_id, **fields)
        await kit.publish(self.connection, DELIVERY_EVENTS.name, node_id, message.canonical())

    # -- what becomes of a GPU over the years

    async def histories(self, uuids: list[str]) -> dict[str, GpuHistory]:
        """Returns what the reports of GPUs have shown so far, by UUID."""
        return {row["uuid"]: GpuHistory(**row) for row in await self.rows("histories", uuids)}

    async def save_readings(self) -> None:
        """Folds the readings of this transaction into the GPUs' histories."""
        if uuids := self.readings.uuids():
            await self.run("put_histories", *self.readings.fold(await self.histories(uuids)))

    async def passports(self, node_id: str, uuids: list[str]) -> tuple[GpuPassport, ...]:
        """Returns the passports of those of the GPUs that are the node's own."""
        await self.save_readings()
        histories = await self.histories(uuids)
        rows = await self.rows("gpus_for_passport", node_id, uuids)
        return tuple(_passport(row, histories.get(row["uuid"])) for row in rows)

    # -- rows as the rules know them

    async def node(self, node_id: str, lock: bool = False) -> Node:
        """Returns a node. Raises UnknownNode."""
        row = await self.row("lock_node" if lock else "find_node", node_id)
        if row is None:
            raise UnknownNode(node_id)
        return node_of(row)

    async def gpus(self, node_id: str) -> list[NodeGpuRow]:
        """Returns a node's GPUs in the order of their UUIDs."""
        return [_gpu_of(row) for row in await self.rows("gpus_of_node", node_id)]

    async def fitness(self, node_id: str) -> dict[str, GpuHealth]:
        """Returns the fitness of a node's GPUs by UUID."""
        rows = await self.rows("fitness_of_node", node_id)
        return {row["uuid"]: _health_of(row) for row in rows}

    async def chain(self, node_id: str) -> Chain:
        """Returns a node's chain, locked until the transaction ends."""
        found = await self.chains([node_id])
        if node_id not in found:
            raise UnknownNode(node_id)
        return found[node_id]

    async def chains(self, node_ids: Sequence[str]) -> dict[str, Chain]:
        """Returns the chains of nodes, locked in the order of their names until the transaction ends."""
        return {row["node_id"]: _chain_of(row) for row in await self.rows("lock_chains", node_ids)}

    async def nodes_for_reports(self, node_ids: Sequence[str], now_ms: int) -> dict[str, NodeForReport]:
        """Returns what placing reports needs of their nodes; the caller has locked the chains."""
        rows = await self.rows("nodes_for_reports", node_ids, now_ms)
        told = ("has_waiting", "is_challenged", "is_leased", "gate_ms")
        return {row["node_id"]: NodeForReport(node_of(row), *(row[name] for name in told)) for row in rows}

    async def report_hashes(self, places: Sequence[tuple[str, int]]) -> dict[tuple[str, int], str]:
        """Returns the hashes of the reports that are known at these places, (node id, seq)."""
        rows = await self.rows("report_hashes", [node_id for node_id, _ in places], [seq for _, seq in places])
        return {(row["node_id"], row["seq"]): row["hash"] for row in rows}

    async def save_reports(self, taken: Sequence[Placed], chains: Mapping[str, Chain]) -> None:
        """Writes reports that were taken, with their way to `meter.reports`, and where the chains stand now."""
        if taken:
            nodes, digests = [each.record.node_id for each in taken], [each.digest for each in taken]
            await self.run("insert_taken", nodes, [each.record.report.seq for each in taken], digests)
            records = [each.record.canonical() for each in taken]
            await kit.publish_all(self.connection, METER_REPORTS.name, nodes, records)
        if chains:
            columns = [list(column) for column in zip(*map(astuple, chains.values()), strict=True)]
            columns[NONCES_COLUMN] = [" ".join(nonces) for nonces in columns[NONCES_COLUMN]]
            await self.run("save_chains", list(chains), *columns)

    async def rows_by_node(self, query: str, node_ids: Sequence[str], *args: object) -> dict[str, list[asyncpg.Record]]:
        """Returns the rows of a query that takes nodes' ids, by node; none named, none asked for."""
        found: dict[str, list[asyncpg.Record]] = {}
        for row in await self.rows(query, node_ids, *args) if node_ids else ():
            found.setdefault(row["node_id"], []).append(row)
        return found

    async def node_for_record(self, node_id: str) -> "NodeForRecord":
        """Returns all that taking a report's record needs; the caller has locked the node. Raises UnknownNode."""
        row = await self.row("node_for_record", node_id)
        if row is None:
            raise UnknownNode(node_id)
        fitness = {uuid: GpuHealth(*facts) for uuid, facts in json.loads(row["fitness"] or "{}").items()}
        return NodeForRecord(node_of(row), row["meter_seq"] or 0, row["meter_hash"] or GENESIS_HASH, fitness)

    async def insert_chain(self, node_id: str, chain: Chain) -> None:
        """Writes the chain of a new node."""
        await self.run("insert_chain", node_id, *astuple(chain))

    async def save_chain(self, node_id: str, chain: Chain) -> None:
        """Writes where the chain stands now."""
        await self.run("save_chain", node_id, *astuple(chain))

    async def positions(self, contract: str) -> list[SoldPosition]:
        """Returns a contract's positions."""
        return [position_of(row) for row in await self.rows("positions_of_contract", contract)]

    async def lease(self, lease_id: str) -> Lease | None:
        """Returns a lease, or None."""
        row = await self.row("find_lease", lease_id)
        return None if row is None else lease_of(row)


def node_of(row: asyncpg.Record) -> Node:
    """Reads a row of `node`."""
    fields = {name: row[name] for name in Node.__dataclass_fields__}
    return Node(**(fields | {"registered_gpus": tuple(row["registered_gpus"])}))


def _chain_of(row: asyncpg.Record) -> Chain:
    fields = {name: row[name] for name in Chain.__dataclass_fields__}
    return Chain(**(fields | {"recent_nonces": tuple(row["recent_nonces"])}))


def position_of(row: asyncpg.Record) -> SoldPosition:
    """Reads a row of `position`."""
    return SoldPosition(
        position_id=row["position_id"],
        contract=row["contract"],
        node=row["node_id"],
        buyer=row["buyer"],
        operator=row["operator"],
        qty=row["qty"],
        block_id=row["block_id"],
        start_ms=row["start_ms"],
        end_ms=row["end_ms"],
    )


def lease_of(row: asyncpg.Record) -> Lease:
    """Reads a row of `lease`."""
    return Lease(
        lease_id=row["lease_id"],
        node=row["node_id"],
        contract=row["contract"],
        block_id=row["block_id"],
        gpus=tuple(row["gpus"]),
        position_ids=tuple(row["position_ids"]),
        starts_ms=row["starts_ms"],
        ends_ms=row["ends_ms"],
        state=row["state"],
        access_ms=row["access_ms"],
        released_ms=row["released_ms"],
    )


def pack(raw: bytes) -> bytes:
    """Compresses a document that is kept for years and read rarely."""
    return zlib.compress(raw)


def unpack(raw: bytes) -> bytes:
    """Undoes `pack`."""
    return zlib.decompress(raw)


def _passport(row: asyncpg.Record, history: GpuHistory | None) -> GpuPassport:
    inventory = GpuInventory.model_validate_json(row["inventory"])
    enrolled = {name: getattr(inventory, name) for name in ("name", "memory_mib", "grade")}
    shown = {} if history is None else {name: getattr(history, name) for name in PASSPORT_FIELDS}
    shown |= {} if history is None else {"xids": xids_of(history)}
    return GpuPassport(
        uuid=row["uuid"], serial=row["serial"], serial_elsewhere=row["serial_elsewhere"], **enrolled, **shown
    )


def _health_of(row: asyncpg.Record) -> GpuHealth:
    return GpuHealth(
        boot_id=row["fault_boot"],
        fault=row["fault"],
        degraded=row["degraded"],
        ecc_uncorrected=row["ecc_uncorrected"],
        energy_mj=row["fault_energy_mj"],
        contained=row["contained"],
    )


def _gpu_of(row: asyncpg.Record) -> NodeGpuRow:
    return NodeGpuRow(
        uuid=row["uuid"],
        serial=row["serial"],
        inventory=GpuInventory.model_validate_json(row["inventory"]),
        fitness=_health_of(row),
        is_listed=row["listing_id"] is not None,
        is_freed=row["sold_to"] is not None and row["listing_id"] is None,
    )
