"""Delivery in PostgreSQL: statements by what they are about, rows as their own types, and what leaves in order."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import astuple, dataclass, fields
from operator import attrgetter
from typing import TypeVar

import asyncpg

from schemas.base import Model
from schemas.delivery import DeliveryHeader, GpuPassport
from schemas.gpu_health import DEGRADING_XIDS, FATAL_XIDS, GpuHealth
from schemas.nodes import Challenge, GpuInventory, NodeReported
from schemas.topics import DELIVERY_EVENTS, METER_REPORTS, METER_REPORTS_DEAD
from schemas.venue import VenueCommand
from services.delivery.domain import UnknownNode, check_record
from services.delivery.passports import COLUMNS as HISTORY_COLUMNS
from services.delivery.passports import XIDS_MAX, GpuHistory, xids_of
from services.delivery.report_records import VerifiedReport, pack_record, unpack_record
from services.delivery.reports import Chain
from services.delivery.settings import Settings
from services.delivery.store.access import Access
from services.delivery.store.challenges import Challenges
from services.delivery.store.disputes import Disputes
from services.delivery.store.hardware import Hardware
from services.delivery.store.leases import Leases
from services.delivery.store.positions import Positions
from services.delivery.store.renters import Renters
from services.delivery.store.statements import QUERIES as QUERIES
from services.delivery.store.statements import Statements
from services.kit import store as kit

SCHEMA = "delivery"
CHAIN_FIELDS = tuple(field.name for field in fields(Chain))
NONCES_COLUMN = CHAIN_FIELDS.index("recent_nonces")
columns_of_chain = attrgetter(*CHAIN_FIELDS)
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


REGISTERED_COLUMN = [field.name for field in fields(Node)].index("registered_gpus")


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
    """What placing a node's report needs to know of it, and whether the reply has more to say.

    `gate_ms` is the next gate of what the node has sold; it may have passed without the engine having said so.
    """

    node_id: str
    public_key: str
    state: str
    reason: str
    level: str
    period_ms: int | None
    has_waiting: bool
    is_challenged: bool
    is_leased: bool
    gate_ms: int | None


@dataclass(frozen=True)
class Placed:
    """A report that goes on in its node's chain, and its record's bytes."""

    report: VerifiedReport
    value: bytes


@dataclass
class NodeForRecords:
    """A node, and what taking its records moves on: how far the meter has its chain, its GPUs' health, the rest."""

    node: Node
    metered_seq: int
    metered_hash: str
    health: dict[str, GpuHealth]
    boot_id: str
    last_live_ms: int | None
    software: str


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
        self.sql = Statements(connection)
        self.positions, self.disputes = Positions(self.sql), Disputes(self.sql)
        self.leases, self.renters = Leases(self.sql), Renters(self.sql)
        self.challenges, self.access = Challenges(self.sql), Access(self.sql)
        self.hardware = Hardware(self.sql)
        self.after_commit: list[Callable[[], None]] = []
        self.issued: list[tuple[str, Challenge]] = []  # challenges that may leave when the transaction is through

    async def run(self, query: str, *args: object) -> None:
        """Runs a statement."""
        await self.sql.run(query, *args)

    async def row(self, query: str, *args: object) -> asyncpg.Record | None:
        """Returns the first row, or None."""
        return await self.sql.row(query, *args)

    async def rows(self, query: str, *args: object) -> list[asyncpg.Record]:
        """Returns all rows."""
        return await self.sql.rows(query, *args)

    async def value(self, query: str, *args: object):
        """Returns the first column of the first row, or None."""
        return await self.sql.value(query, *args)

    # -- what leaves: commands to the engine, agents' facts to meter.reports, events to delivery.events

    async def command(self, *commands: VenueCommand) -> None:
        """Sends commands to the engine as one signed batch."""
        await kit.enqueue(self.connection, *commands)

    async def record(self, node_id: str, record: Model) -> None:
        """Puts an agent's fact on its way to `meter.reports`. Raises RecordTooLarge."""
        value = record.canonical()
        check_record(value)
        await kit.publish(self.connection, METER_REPORTS.name, node_id, value)

    async def dead_letter(self, node_id: str, record: Model, reason: str) -> None:
        """Puts a record that contradicts what is known on its way to the dead letters, with the reason."""
        letter = b'{"reason":"%s","record":%s}' % (reason.encode(), record.canonical())
        await kit.publish(self.connection, METER_REPORTS_DEAD.name, node_id, letter)

    async def publish(self, event: type[Event], node_id: str, ts_ms: int, **fields: object) -> Event:
        """Puts an event on its way to `delivery.events`, numbered, marked where its node is simulated; returns it."""
        seq, simulated = await self.row("next_sequence", node_id)
        message = event(seq=seq, ts_ms=ts_ms, node=node_id, simulated=simulated, **fields)
        await kit.publish(self.connection, DELIVERY_EVENTS.name, node_id, message.canonical())
        return message

    # -- what becomes of a GPU over the years

    async def histories(self, uuids: list[str]) -> dict[str, GpuHistory]:
        """Returns what the reports of GPUs have shown so far, by UUID."""
        return {row["uuid"]: GpuHistory(**row) for row in await self.rows("histories", uuids)}

    async def fold_histories(self, rows: Sequence[tuple[object, ...]]) -> None:
        """Folds tallies, as `GpuTally.row` gives them, into the histories of their GPUs."""
        columns = map(list, zip(*rows, strict=True))
        await self.run("fold_histories", *columns, list(FATAL_XIDS), list(DEGRADING_XIDS), XIDS_MAX)

    async def records_behind(self, node_id: str, seq: int, last_seq: int, records_max: int) -> list[NodeReported]:
        """Returns the node's next reports behind a number, up to another."""
        rows = await self.rows("records_behind", node_id, seq, last_seq, records_max)
        return [NodeReported.model_validate_json(unpack_record(row["record"])) for row in rows]

    async def passports(self, node_id: str, uuids: list[str]) -> tuple[GpuPassport, ...]:
        """Returns the passports of those of the GPUs that are the node's own, as their histories are written."""
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

    async def find_node(self, node_id: str) -> Node | None:
        """Returns a node, or None."""
        row = await self.row("find_node", node_id)
        return None if row is None else node_of(row)

    async def nodes_of_account(self, account: str) -> dict[str, bool]:
        """Returns an account's nodes, and whether each is simulated."""
        return {row["node_id"]: row["simulated"] for row in await self.rows("nodes_of_account", account)}

    async def gpus(self, node_id: str) -> list[NodeGpuRow]:
        """Returns a node's GPUs in the order of their UUIDs."""
        return (await self.gpus_of([node_id])).get(node_id, [])

    async def gpus_of(self, node_ids: Sequence[str]) -> dict[str, list[NodeGpuRow]]:
        """Returns nodes' GPUs, each node's in the order of their UUIDs; a node without any is missing."""
        found: dict[str, list[NodeGpuRow]] = {}
        for row in await self.rows("gpus_of_nodes", node_ids):
            found.setdefault(row["node_id"], []).append(_gpu_of(row))
        return found

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
        return {row["node_id"]: NodeForReport(*row) for row in rows}

    async def report_hashes(self, places: Sequence[tuple[str, int]]) -> dict[tuple[str, int], str]:
        """Returns the hashes of the reports that are known at these places, (node id, seq)."""
        rows = await self.rows("report_hashes", [node_id for node_id, _ in places], [seq for _, seq in places])
        return {(row["node_id"], row["seq"]): row["hash"] for row in rows}

    async def put_reports(self, reports: Iterable[tuple[VerifiedReport, bytes]]) -> None:
        """Writes reports with their records, where they are not there yet."""
        rows = [
            (
                each.record.node_id,
                each.record.report.seq,
                each.digest,
                each.record.received_ms,
                pack_record(value),
                each.record.nonce_issued_ms,
            )
            for each, value in reports
        ]
        await self.run("put_reports", *map(list, zip(*rows, strict=True)))

    async def save_reports(self, taken: Sequence[Placed]) -> int:
        """Writes reports that were taken, as one batch on its way to `meter.reports`; returns the batch's id."""
        await self.put_reports((each.report, each.value) for each in taken)
        records = [each.report.record for each in taken]
        seqs = [record.report.seq for record in records]
        return await self.value("put_report_batch", [record.node_id for record in records], seqs)

    async def records_of_batch(self, batch: asyncpg.Record) -> list[tuple[str, bytes]]:
        """Returns the records of a row of `report_batch` in its order: (node id, value)."""
        rows = await self.rows("records_of_batch", batch["node_ids"], batch["seqs"])
        return [(row["node_id"], unpack_record(row["record"])) for row in rows]

    async def save_chains(self, chains: Mapping[str, Chain]) -> None:
        """Writes where chains stand now."""
        columns = [list(column) for column in zip(*map(columns_of_chain, chains.values()), strict=True)]
        columns[NONCES_COLUMN] = [" ".join(nonces) for nonces in columns[NONCES_COLUMN]]
        await self.run("save_chains", list(chains), *columns)

    async def rows_by_node(self, query: str, node_ids: Sequence[str], *args: object) -> dict[str, list[asyncpg.Record]]:
        """Returns the rows of a query that takes nodes' ids, by node; none named, none asked for."""
        found: dict[str, list[asyncpg.Record]] = {}
        for row in await self.rows(query, node_ids, *args) if node_ids else ():
            found.setdefault(row["node_id"], []).append(row)
        return found

    async def nodes_for_records(self, node_ids: Sequence[str]) -> dict[str, NodeForRecords]:
        """Returns all that taking reports' records needs of their nodes; the caller has locked the nodes."""
        health: dict[str, dict[str, GpuHealth]] = {}
        for node_id, uuids, *facts in await self.rows("health_of_nodes", node_ids):
            health.setdefault(node_id, {}).update(dict.fromkeys(uuids, GpuHealth(*facts)))
        found = {}
        for *facts, seq, digest, software in await self.rows("nodes_for_records", node_ids):
            facts[REGISTERED_COLUMN] = tuple(facts[REGISTERED_COLUMN])
            node = Node(*facts)
            gpus = health.get(node.node_id, {})
            live_ms = node.last_live_ms
            found[node.node_id] = NodeForRecords(node, seq, digest, gpus, node.boot_id, live_ms, software)
        return found

    async def save_metered(self, nodes: Iterable[NodeForRecords]) -> None:
        """Writes how far the meter has nodes' chains, and when they were heard live."""
        rows = [
            (each.node.node_id, each.metered_seq, each.metered_hash, each.boot_id, each.last_live_ms) for each in nodes
        ]
        await self.run("save_metered", *map(list, zip(*rows, strict=True)))

    async def insert_chain(self, node_id: str, chain: Chain) -> None:
        """Writes the chain of a new node."""
        await self.run("insert_chain", node_id, *astuple(chain))

    async def save_chain(self, node_id: str, chain: Chain) -> None:
        """Writes where the chain stands now."""
        await self.run("save_chain", node_id, *astuple(chain))


def node_of(row: asyncpg.Record) -> Node:
    """Reads a row of `node`."""
    facts = {name: row[name] for name in Node.__dataclass_fields__}
    return Node(**(facts | {"registered_gpus": tuple(row["registered_gpus"])}))


def _chain_of(row: asyncpg.Record) -> Chain:
    values = list(row.values())[1:]  # the columns after the node's id are the fields, in their order
    values[NONCES_COLUMN] = tuple(values[NONCES_COLUMN])
    return Chain(*values)


def _passport(row: asyncpg.Record, history: GpuHistory | None) -> GpuPassport:
    inventory = GpuInventory.model_validate_json(row["inventory"])
    enrolled = {name: getattr(inventory, name) for name in ("name", "memory_mib", "grade")}
    shown = {} if history is None else {name: getattr(history, name) for name in PASSPORT_FIELDS}
    shown |= {} if history is None else {"xids": xids_of(history)}
    return GpuPassport(
        uuid=row["uuid"],
        serial=row["serial"],
        serial_elsewhere=row["serial_elsewhere"],
        simulated=row["simulated"],
        **enrolled,
        **shown,
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
