"""Hardware that is for sale: which GPUs stand in a listing, who buys them, and inspections of their condition."""

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.nodes import InspectionReport
from services.delivery.store.statements import Statements


@dataclass(frozen=True)
class StoredInspection:
    """An inspection as it was reported, and whose it is."""

    account: str
    received_ms: int
    report: bytes


class Hardware:
    """Listings' GPUs, escrows and inspections."""

    def __init__(self, statements: Statements):
        self._sql = statements

    async def put_on_sale(self, listing_id: str, gpus: Sequence[str]) -> None:
        """Notes that GPUs stand in a listing."""
        await self._sql.run("list_hardware", listing_id, list(gpus))

    async def take_off_sale(self, listing_id: str) -> None:
        """Notes that a listing's GPUs are for rent again."""
        await self._sql.run("unlist_hardware", listing_id)

    async def open_escrow(self, escrow_id: str, listing_id: str, buyer: str) -> None:
        """Notes who buys a listing."""
        await self._sql.run("open_escrow", escrow_id, listing_id, buyer)

    async def sell(self, escrow_id: str) -> dict[str, set[str]]:
        """Notes that an escrow's buyer owns the GPUs now; returns them by the node that they were in."""
        sold: dict[str, set[str]] = {}
        for row in await self._sql.rows("sell_hardware", escrow_id):
            sold.setdefault(row["node_id"], set()).add(row["uuid"])
        return sold

    async def awaits_goods(self, account: str) -> bool:
        """Says whether an account buys GPUs that are still the seller's."""
        return await self._sql.value("awaits_goods", account)

    async def gpus_of_others(self, uuids: Sequence[str], node_id: str, account: str | None) -> list[str]:
        """Returns those of the GPUs that are neither a node's, nor were sold or are being sold to an account."""
        return [row["uuid"] for row in await self._sql.rows("gpus_of_others", list(uuids), node_id, account)]

    # -- inspections

    async def insert_nonce(self, nonce: str, account: str, expires_ms: int) -> None:
        """Writes a nonce that an account was given for an inspection."""
        await self._sql.run("insert_inspection_nonce", nonce, account, expires_ms)

    async def use_nonce(self, nonce: str, inspection_id: str, now_ms: int) -> str | None:
        """Binds a nonce to an inspection, and returns whose it is; None for one that is another's, over or unknown."""
        return await self._sql.value("use_inspection_nonce", nonce, inspection_id, now_ms)

    async def insert_inspection(
        self, inspection_id: str, account: str | None, received_ms: int, report: InspectionReport
    ) -> bool:
        """Writes an inspection; says whether it was not there."""
        row = (inspection_id, account, received_ms, report.canonical())
        return await self._sql.value("insert_inspection", *row) is not None

    async def publish_inspection(self, inspection_id: str) -> str | None:
        """Notes that an inspection is published, and returns whose it is; None where it was published before."""
        return await self._sql.value("publish_inspection", inspection_id)

    async def inspection(self, inspection_id: str) -> StoredInspection | None:
        """Returns an inspection, or None."""
        return await self._sql.one(StoredInspection, "find_inspection", inspection_id)
