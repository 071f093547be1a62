"""Renters' meters: the key that a buyer registered for his lease, its chain and its reports."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

from schemas.nodes import RenterReported
from services.delivery.leases import Lease
from services.delivery.reports import Chain
from services.delivery.store.statements import Statements, read_row


@dataclass(frozen=True)
class RenterMeter:
    """A lease's meter: its key, and where its chain stands."""

    public_key: str
    chain: Chain


@dataclass(frozen=True)
class ProofsGiven:
    """How many proofs a lease has had from inside, and whether one is under way."""

    given: int
    open: bool


@dataclass(frozen=True)
class Rented:
    """A lease and its product's period, which decides how often its meter reports."""

    lease: Lease
    period_ms: int


class Renters:
    """Renters' meters by their leases."""

    def __init__(self, statements: Statements):
        self._sql = statements

    async def lease(self, lease_id: str) -> Rented | None:
        """Returns a lease and its product's period, or None."""
        row = await self._sql.row("lease_for_renter", lease_id)
        return None if row is None else Rented(read_row(Lease, row), row["period_ms"])

    async def meter(self, lease_id: str | None) -> RenterMeter | None:
        """Returns a lease's meter, locked; or None."""
        row = await self._sql.row("find_renter_meter", lease_id)
        return None if row is None else RenterMeter(row["public_key"], read_row(Chain, row))

    async def node_and_key(self, lease_id: str) -> tuple[str, str] | None:
        """Returns a lease's node and its meter's key, or None."""
        row = await self._sql.row("renter_of_lease", lease_id)
        return None if row is None else (row["node_id"], row["public_key"])

    async def insert(self, lease_id: str, public_key: str, chain: Chain) -> None:
        """Writes a meter."""
        await self._sql.run("insert_renter_meter", lease_id, public_key, *astuple(chain))

    async def save_chain(self, lease_id: str, chain: Chain) -> None:
        """Writes where a chain stands now."""
        await self._sql.run("save_renter_chain", lease_id, *astuple(chain))

    async def hash_of(self, lease_id: str, seq: int) -> str | None:
        """Returns the hash of a report that was taken, or None."""
        return await self._sql.value("renter_hash", lease_id, seq)

    async def insert_report(self, digest: str, record: RenterReported) -> None:
        """Writes a report."""
        place = (record.lease_id, record.report.seq)
        await self._sql.run("insert_renter_report", *place, digest, record.received_ms, record.canonical())

    async def reports_since(self, lease_id: str | None, since_ms: int) -> list[bytes]:
        """Returns the records of reports since a time, in their order."""
        return [row["record"] for row in await self._sql.rows("renter_reports", lease_id, since_ms)]

    async def reports(self, lease_id: str | None, seqs: Sequence[int]) -> tuple[RenterReported, ...]:
        """Returns the records of reports by their numbers."""
        rows = await self._sql.rows("renter_records_by_seq", lease_id, list(seqs))
        return tuple(RenterReported.model_validate_json(row["record"]) for row in rows)

    async def proofs(self, lease_id: str) -> ProofsGiven:
        """Returns what a lease has had of proofs from inside."""
        return await self._sql.one(ProofsGiven, "proofs_of_lease", lease_id)
