"""Disputes in the tables; each is read with what its position says of its parties."""

from dataclasses import astuple, dataclass

from schemas.disputes import DisputeState
from schemas.nodes import DisputeRecorded
from services.delivery.rows import Dispute
from services.delivery.store.statements import Statements

RECORDED = tuple(name for name in DisputeRecorded.model_fields if name not in ("type", "node_id", "received_ms"))


@dataclass(frozen=True)
class NewDispute:
    """What is written of a dispute when it is opened, behind a revision of its position."""

    dispute_id: str
    position_id: int
    side: str
    account: str
    idempotency_key: str
    reason: str
    evidence: str
    opened_ms: int
    deadline_ms: int
    revision: int


@dataclass(frozen=True)
class Ending:
    """How a dispute ends: who decided it, when, why, what came of it, and the revision that stands then."""

    state: str
    decided_by: str
    decided_ms: int
    reason: str
    outcome: str
    revision: int


class Disputes:
    """Disputes by their ids, their positions, and what is to be done about them."""

    def __init__(self, statements: Statements):
        self._sql = statements

    async def insert(self, dispute: NewDispute) -> Dispute:
        """Opens a dispute; returns it."""
        await self._sql.run("insert_dispute", *astuple(dispute))
        return await self.find(dispute.dispute_id)

    async def find(self, dispute_id: str) -> Dispute | None:
        """Returns a dispute, or None."""
        return await self._sql.one(Dispute, "find_dispute", dispute_id)

    async def of_position(self, position_id: int) -> list[Dispute]:
        """Returns all disputes of a position, locked."""
        return await self._sql.all(Dispute, "disputes_of_position", position_id)

    async def open_of_position(self, position_id: int) -> list[Dispute]:
        """Returns the open disputes of a position, locked."""
        return await self._sql.all(Dispute, "open_disputes_of", position_id)

    async def to_rule(self, limit: int) -> list[Dispute]:
        """Returns disputes that rules have not looked at, locked: the engine has them and their last revision."""
        return await self._sql.all(Dispute, "disputes_to_rule", limit)

    async def overdue(self, now_ms: int, limit: int) -> list[Dispute]:
        """Returns disputes that nobody has decided by their deadline, locked."""
        return await self._sql.all(Dispute, "disputes_overdue", now_ms, limit)

    async def page(
        self, account: str | None, state: DisputeState | None, limit: int, before_ms: int, after_id: str
    ) -> list[Dispute]:
        """Returns disputes, of a party and in a state where these are named, the newest first, behind a place."""
        return await self._sql.all(Dispute, "disputes_page", account, state, limit, before_ms, after_id)

    async def note_engine_has(self, position_id: int) -> None:
        """Notes that the engine has opened a position's dispute."""
        await self._sql.run("note_disputed", position_id)

    async def note_ruled(self, dispute_id: str) -> None:
        """Notes that rules have looked at a dispute."""
        await self._sql.run("note_ruled", dispute_id)

    async def set_inputs(self, dispute_id: str, inputs: bytes) -> None:
        """Writes what was found; it stands for what is on record from now on."""
        await self._sql.run("set_dispute_inputs", dispute_id, inputs.decode())

    async def inputs_of(self, position_id: int) -> list[str]:
        """Returns what was found in a position's disputes, the last finding last."""
        return [row["inputs"] for row in await self._sql.rows("inputs_of_arbiter", position_id)]

    async def end(self, dispute_id: str, ending: Ending) -> Dispute:
        """Ends a dispute; returns it."""
        await self._sql.run("end_dispute", dispute_id, *astuple(ending))
        return await self.find(dispute_id)

    async def restore(self, record: DisputeRecorded) -> None:
        """Writes a dispute as a record told of it; what is over stays as it is."""
        await self._sql.run("put_dispute", *(getattr(record, name) for name in RECORDED))
