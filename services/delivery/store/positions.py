"""Positions from their trade to their last receipt: what was sold, what the meter said, what parties may read."""

from collections.abc import Sequence

from schemas.delivery import Recall, TimeWindow
from schemas.events import Trade
from schemas.venue import DefineProduct
from services.delivery.leases import SoldPosition
from services.delivery.rows import Position, Product, Settlement, StoredReceipt
from services.delivery.store.statements import Statements


class Positions:
    """What is sold, and how it stands."""

    def __init__(self, statements: Statements):
        self._sql = statements

    async def put_product(self, terms: DefineProduct) -> None:
        """Writes a product's terms, in place of those before."""
        names = (terms.product, terms.grade, terms.hub, terms.currency)
        times_s = (terms.period_s, terms.gate_lead_s, terms.final_after_s)
        await self._sql.run("put_product", *names, *(1_000 * time_s for time_s in times_s))

    async def product(self, product: str) -> Product | None:
        """Returns a product."""
        return await self._sql.one(Product, "find_product", product)

    async def insert(self, trade: Trade, product: str, operator: str, start_ms: int, end_ms: int) -> None:
        """Writes what a trade sold."""
        parties = (trade.node, trade.buyer, operator, trade.qty, trade.block_id)
        times = (start_ms, end_ms, trade.ts_ms)
        await self._sql.run("insert_position", trade.position_id, trade.contract, product, *parties, *times)

    async def take_away(self, position_id: int, qty: int) -> None:
        """Takes what was resold off a position; of one that has nothing left there is none any more."""
        await self._sql.run("split_position", position_id, qty)

    async def forget(self, position_id: int) -> None:
        """Takes a position out that its buyer ended before its gate; its block's leases end as they are told."""
        await self._sql.run("forget_position", position_id)

    async def find(self, position_id: int) -> Position | None:
        """Returns a position, or None."""
        return await self._sql.one(Position, "find_position", position_id)

    async def last(self) -> int:
        """Returns the highest number of a position that was read of."""
        return await self._sql.value("last_position")

    async def of_contract(self, contract: str) -> list[SoldPosition]:
        """Returns what was sold of a contract."""
        return await self._sql.all(SoldPosition, "positions_of_contract", contract)

    async def of_block(self, block_id: int | None, node_id: str) -> list[SoldPosition]:
        """Returns the hours of a block on one node, in their order."""
        return await self._sql.all(SoldPosition, "positions_of_block", block_id, node_id)

    async def block_of_buyer(self, block_id: int, buyer: str) -> list[Position]:
        """Returns the hours of a buyer's block."""
        return await self._sql.all(Position, "block_of_buyer", block_id, buyer)

    async def sold_between(self, node_id: str, start_ms: int, end_ms: int) -> int | None:
        """Returns a position of the node that is to be served in a window, or None."""
        return await self._sql.value("sold_in_window", node_id, start_ms, end_ms)

    async def lock(self, position_id: int, gpus: Sequence[str], lease_id: str, offered_ms: int) -> None:
        """Binds a position to its GPUs and its lease, which is offered from a time on."""
        await self._sql.run("lock_position", position_id, list(gpus), lease_id, offered_ms)

    async def offer_at(self, lease_id: str, offered_ms: int) -> None:
        """Notes from when on a lease was offered."""
        await self._sql.run("offer_at", lease_id, offered_ms)

    async def offer_anew(self, lease_id: str | None, offered_ms: int) -> None:
        """Notes that a lease that waits is offered no sooner than that."""
        await self._sql.run("offer_anew", lease_id, offered_ms)

    # -- settling

    async def note_over(self, contract: str, at_ms: int, wait_ms: int) -> None:
        """Notes that a contract's time is over: its positions are due so much later."""
        await self._sql.run("note_metered", contract, at_ms, wait_ms)

    async def note_due(self, now_ms: int) -> None:
        """Notes of positions that are due which report their meter has to reach."""
        await self._sql.run("note_due", now_ms)

    async def to_settle(self, now_ms: int, limit: int) -> list[Position]:
        """Returns positions that are due."""
        return await self._sql.all(Position, "positions_to_settle", now_ms, limit)

    async def to_correct(self, until_ms: int, limit: int) -> list[Position]:
        """Returns settled positions for which something came until then."""
        return await self._sql.all(Position, "positions_to_correct", until_ms, limit)

    async def note_change(self, node_id: str, from_ms: int, to_ms: int, at_ms: int) -> None:
        """Notes that something came at a moment that may change what a node's hours in a window are worth."""
        await self._sql.run("note_change", node_id, from_ms, to_ms, at_ms)

    async def note_change_of(self, position_ids: Sequence[int], at_ms: int) -> None:
        """The same, of positions."""
        await self._sql.run("note_change_of", list(position_ids), at_ms)

    async def note_change_everywhere(self, from_ms: int, to_ms: int, at_ms: int) -> None:
        """The same, of all hours in a window."""
        await self._sql.run("note_change_everywhere", from_ms, to_ms, at_ms)

    async def note_no_change(self, position_id: int, changed_ms: int) -> None:
        """Notes that what came until then has been looked at."""
        await self._sql.run("note_no_change", position_id, changed_ms)

    async def note_reported(self, position_id: int) -> None:
        """Notes that a revision is on its way to the engine."""
        await self._sql.run("set_position_state", position_id, "reported")

    async def note_revision(self, position_id: int, revision: int) -> None:
        """Notes which revision the engine settled."""
        await self._sql.run("note_revision", position_id, revision)

    async def note_final(self, position_id: int) -> None:
        """Notes that nothing changes any more."""
        await self._sql.run("note_final", position_id)

    async def insert_settlement(self, position_id: int, settlement: Settlement) -> None:
        """Writes what is sent to the engine."""
        documents = (settlement.digest, settlement.inputs, settlement.outcome)
        disputed = (settlement.disputed_gpu_s, settlement.disputed_used_gpu_s)
        others = (settlement.noticed, settlement.recalled_gpus, *disputed)
        await self._sql.run("insert_settlement", position_id, settlement.revision, *documents, *others)

    async def settlement(self, position_id: int, revision: int | None = None) -> Settlement | None:
        """Returns a revision of a position's settlement, the last one unless it is named; or None."""
        return await self._sql.one(Settlement, "find_settlement", position_id, revision)

    # -- receipts

    async def insert_receipt(self, position_id: int, revision: int, buyer: str, operator: str, document: bytes) -> None:
        """Writes a revision's receipt, unless it is there."""
        await self._sql.run("insert_receipt", position_id, revision, buyer, operator, document)

    async def rewrite_receipt(self, position_id: int, revision: int, document: bytes) -> None:
        """Writes a receipt in place of what stands for its revision."""
        await self._sql.run("rewrite_receipt", position_id, revision, document)

    async def receipt(self, position_id: int, revision: int | None = None) -> StoredReceipt | None:
        """Returns the receipt of a revision, the last one unless it is named; or None."""
        return await self._sql.one(StoredReceipt, "find_receipt", position_id, revision)

    async def receipt_revisions(self, position_id: int) -> list[StoredReceipt]:
        """Returns all receipts of a position, the first revision first."""
        return await self._sql.all(StoredReceipt, "receipt_revisions", [position_id])

    async def receipts_page(self, party: str, before: int, limit: int) -> list[StoredReceipt]:
        """Returns the last receipts of a party's positions, the newest position first, from below a number."""
        return await self._sql.all(StoredReceipt, "receipts_page", party, before, limit)

    async def all_receipts_of(self, position_ids: Sequence[int]) -> list[StoredReceipt]:
        """Returns all receipts of positions, the newest position first, its first revision first."""
        return await self._sql.all(StoredReceipt, "receipt_revisions", list(position_ids))

    # -- what is excused, and taken back

    async def outages(self, from_ms: int, to_ms: int) -> list[tuple[int, int]]:
        """Returns when the venue was away in a window."""
        return [(row["from_ms"], row["to_ms"]) for row in await self._sql.rows("outages_between", from_ms, to_ms)]

    async def maintenance(self, position: Position) -> tuple[TimeWindow, ...]:
        """Returns the maintenance of a position's node in its hour that was declared before the trade."""
        window = (position.node, position.start_ms, position.end_ms, position.traded_ms or 0)
        return tuple(TimeWindow(**row) for row in await self._sql.rows("maintenance_of", *window))

    async def recalls(self, position_id: int) -> tuple[Recall, ...]:
        """Returns what the operator takes back of a position."""
        rows = await self._sql.rows("recalls_of", position_id)
        return tuple(Recall(**(dict(row) | {"gpus": tuple(row["gpus"])})) for row in rows)
