"""Leases: prepared at a gate, handed out, opened and closed by the node's hook, tried at their doors."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

from schemas.nodes import DoorTried
from services.delivery.leases import Admission, Lease, SoldPosition
from services.delivery.store.statements import Statements, read_row


@dataclass(frozen=True)
class HookAnswer:
    """What a node's hook answered for a lease that a lost database does not have any more."""

    action: str
    received_ms: int
    ok: bool
    endpoint: str
    host_key: str


@dataclass(frozen=True)
class RestoredState:
    """How a lease stands by what the hook answered before the database was lost."""

    state: str
    access_ms: int | None
    released_ms: int | None
    endpoint: str
    reason: str
    host_key: str


@dataclass(frozen=True)
class Door:
    """The door of a lease that runs, and the period of its product."""

    lease_id: str
    node: str
    endpoint: str
    host_key: str
    period_ms: int


@dataclass(frozen=True)
class DoorTry:
    """A try at a door."""

    at_ms: int
    reachable: bool


class Leases:
    """Leases by their ids, their nodes and what is due with them."""

    def __init__(self, statements: Statements):
        self._sql = statements

    async def insert(self, lease_id: str, position: SoldPosition, gpus: Sequence[str], told_ends_ms: int) -> None:
        """Writes a lease that waits for its node; it serves a position, and the node is told that it goes on."""
        parties = (position.node, position.contract, position.buyer, position.block_id)
        times = (position.start_ms, position.end_ms, told_ends_ms)
        await self._sql.run("insert_lease", lease_id, *parties, list(gpus), [position.position_id], *times)

    async def find(self, lease_id: str | None) -> Lease | None:
        """Returns a lease, or None."""
        return await self._sql.one(Lease, "find_lease", lease_id)

    async def before(self, position: SoldPosition, own: Sequence[int]) -> list[Lease]:
        """Returns the leases that served a position's block until its start, but for those of positions of its hour."""
        place = (position.block_id, position.node, position.start_ms)
        return await self._sql.all(Lease, "lease_of_block", *place, list(own))

    async def of_node(self, node_id: str) -> list[tuple[Lease, Admission]]:
        """Returns the leases that a node has to do with, and who gets in."""
        return (await self.of_nodes([node_id])).get(node_id, [])

    async def of_nodes(self, node_ids: Sequence[str]) -> dict[str, list[tuple[Lease, Admission]]]:
        """Returns the same of several nodes; one without any is missing."""
        found: dict[str, list[tuple[Lease, Admission]]] = {}
        for row in await self._sql.rows("leases_of_nodes", node_ids) if node_ids else ():
            found.setdefault(row["node_id"], []).append((read_row(Lease, row), read_row(Admission, row)))
        return found

    async def of_void(self, contract: str, now_ms: int) -> list[Lease]:
        """Returns the leases that a void contract leaves nothing of, locked."""
        return await self._sql.all(Lease, "leases_of_void", contract, now_ms)

    async def overdue(self, now_ms: int) -> list[Lease]:
        """Returns the leases whose time is over, locked."""
        return await self._sql.all(Lease, "overdue_leases", now_ms)

    async def recalled(self, now_ms: int) -> list[Lease]:
        """Returns the leases of which everything has been taken back, locked."""
        return await self._sql.all(Lease, "recalled_leases", now_ms)

    async def running(self, now_ms: int) -> list[tuple[Lease, int | None, int | None]]:
        """Returns the leases that run, locked; when their nodes were heard last, and their shortest period."""
        rows = await self._sql.rows("silent_leases", now_ms)
        return [(read_row(Lease, row), row["last_live_ms"], row["period_ms"]) for row in rows]

    async def extend(self, lease_id: str, position: SoldPosition) -> None:
        """Lets a lease go on with its block's next hour."""
        await self._sql.run("extend_lease", lease_id, position.position_id, position.end_ms)

    async def shorten(self, block_id: int | None) -> None:
        """Lets the leases of a block end with the hours that they have."""
        await self._sql.run("shorten_leases", block_id)

    async def set_state(self, lease_id: str, state: str, reason: str = "") -> None:
        """Writes how a lease stands."""
        await self._sql.run("set_lease_state", lease_id, state, reason)

    async def make_ready(self, lease_id: str, at_ms: int) -> None:
        """Hands a lease out: its node has proven the GPUs."""
        await self._sql.run("make_lease_ready", lease_id, at_ms)

    async def open_access(self, lease_id: str, at_ms: int) -> None:
        """Notes that the buyer is in."""
        await self._sql.run("open_access", lease_id, at_ms)

    async def close_access(self, lease_id: str, at_ms: int) -> None:
        """Notes that the buyer is out; how he got in is forgotten."""
        await self._sql.run("close_access", lease_id, at_ms)

    async def answer_start(
        self, lease_id: str, at_ms: int, endpoint: str, credential: bytes | None, host_key: str
    ) -> bool:
        """Writes what the hook answered to the start, once; says whether this was the first answer."""
        row = (lease_id, at_ms, endpoint, credential, host_key)
        return await self._sql.value("answer_start", *row) is not None

    async def answer_stop(self, lease_id: str, at_ms: int) -> bool:
        """Writes that the hook answered the stop, once; says whether this was the first answer."""
        return await self._sql.value("answer_stop", lease_id, at_ms) is not None

    # -- what a lost database has again

    async def keep_answer(self, lease_id: str, node_id: str, answer: HookAnswer) -> None:
        """Keeps an answer until its lease comes again with the event log."""
        row = (answer.received_ms, answer.ok, answer.endpoint, answer.host_key)
        await self._sql.run("keep_lease_answer", lease_id, answer.action, node_id, *row)

    async def kept_answers(self, lease_id: str, node_id: str) -> Mapping[str, HookAnswer]:
        """Returns the answers that were kept of a node's lease, by what they answered."""
        answers = await self._sql.all(HookAnswer, "lease_answers", lease_id, node_id)
        return {answer.action: answer for answer in answers}

    async def restore(self, lease_id: str, restored: RestoredState) -> None:
        """Writes a lease as it stood before the database was lost."""
        await self._sql.run("take_answers", lease_id, *astuple(restored))

    # -- doors

    async def doors(self, now_ms: int) -> list[Door]:
        """Returns the doors of the leases that run."""
        return await self._sql.all(Door, "leases_with_doors", now_ms)

    async def insert_try(self, record: DoorTried) -> bool:
        """Writes a try at a door; says whether it was not there."""
        row = (record.lease_id, record.received_ms, record.reachable, record.reason)
        return await self._sql.value("insert_door_probe", *row) is not None

    async def tries(self, lease_id: str) -> list[DoorTry]:
        """Returns all tries at a lease's door."""
        return await self._sql.all(DoorTry, "door_probes", lease_id)
