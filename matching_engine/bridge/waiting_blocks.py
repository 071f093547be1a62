"""The blocks that wait, by their ids as the state has them, and by account."""

from collections.abc import Callable
from copy import copy
from typing import Any, Protocol

from matching_engine.rules.state import Block, State

PERIODS_MAX, QTY_MAX, NAME_SIZE_MAX = 1_000, 1_000_000, 64
PRICE_MAX_MICROS, AMOUNT_MAX_MICROS = 10**12, 4 * 10**18


class BlockRecords(Protocol):
    """The compiled engine's records of blocks that wait."""

    def slot_of(self, block_id: int) -> int | None: ...
    def fields(self, slot: int) -> dict[str, Any]: ...
    def get(self, slot: int, field: str) -> int: ...
    def set(self, slot: int, field: str, value: int) -> None: ...
    def drop(self, slot: int) -> None: ...


CHANGING = ("start_s", "latest_s", "left", "hold_unit_micros", "hold_micros", "spent_micros")


def changing(field: str) -> Any:
    """A field that stands in the structs as long as the block waits."""

    def read(block: "StoredBlock") -> int:
        return block.own[field] if block.slot is None else block.records.get(block.slot, field)

    def write(block: "StoredBlock", value: int) -> None:
        if block.slot is None:
            block.own[field] = value
        else:
            block.records.set(block.slot, field, value)

    return property(read, write)


class StoredBlock(Block):
    """A block of which the structs have what changes. One that is over goes on as a record of its own."""

    __slots__ = ("own", "records", "slot")

    start_s, latest_s, left = changing("start_s"), changing("latest_s"), changing("left")
    hold_unit_micros, hold_micros = changing("hold_unit_micros"), changing("hold_micros")
    spent_micros = changing("spent_micros")

    def __init__(self, records: BlockRecords, slot: int, fields: dict[str, Any]):
        self.records, self.slot, self.own = records, slot, {}
        for name, value in fields.items():
            setattr(self, name, value)

    def detach(self) -> None:
        """The structs are about to forget the block."""
        self.own = {field: self.records.get(self.slot, field) for field in CHANGING}
        self.slot = None

    def plain(self) -> Block:
        """The block as the rules make it."""
        return Block(**{field: getattr(self, field) for field in Block.__dataclass_fields__})


class WaitingBlocks(dict[int, Block]):
    """A dictionary that also finds what an account has in it. `keep` puts a block of the rules among the records."""

    def __init__(self, records: BlockRecords, keep: Callable[[Block], None]):
        super().__init__()
        self.records, self.keep = records, keep
        self.accounts: dict[str, dict[int, Block]] = {}

    def __setitem__(self, block_id: int, block: Block) -> None:
        """A block of the rules waits from now on."""
        self.keep(block)
        self.hear(block_id)

    def hear(self, block_id: int) -> None:
        """A block waits, unless it is over already."""
        slot = self.records.slot_of(block_id)
        if slot is not None:
            block = StoredBlock(self.records, slot, self.records.fields(slot))
            super().__setitem__(block_id, block)
            self.accounts.setdefault(block.account, {})[block_id] = block

    def pop(self, block_id: int, otherwise: Block | None = None) -> Block | None:
        """The rules end a block."""
        block = self.forget(block_id)
        if block is None:
            return otherwise
        slot = block.slot
        block.detach()
        self.records.drop(slot)
        return block

    def forget(self, block_id: int) -> StoredBlock | None:
        """A block is over."""
        block = super().pop(block_id, None)
        if block is not None:
            self.accounts[block.account].pop(block_id, None)
            if not self.accounts[block.account]:
                del self.accounts[block.account]
        return block

    def of_account(self, account: str) -> list[Block]:
        """The account's blocks, oldest first."""
        return [block for _, block in sorted(self.accounts.get(account, {}).items())]

    def plain(self) -> dict[int, Block]:
        """The blocks as the rules make them."""
        return {block_id: block.plain() for block_id, block in self.items()}


def check_block(state: State, block_id: int, block: Block) -> None:
    """A block of a snapshot is one that the rules can have made. Raises LookupError or ValueError."""
    terms = state.products[block.product].newest
    amounts = (block.hold_unit_micros, block.hold_micros, block.spent_micros, block.max_cost_micros or 0)
    holds = (
        0 < block_id == block.id <= state.last_order_id,
        block.start_s <= block.latest_s and (block.latest_s - block.start_s) % terms.period_s == 0,
        1 <= block.periods <= PERIODS_MAX,
        0 < block.left <= block.qty <= QTY_MAX and 0 <= block.min_qty <= QTY_MAX,
        block.left % terms.lot == 0,
        all(1 <= len(name) <= NAME_SIZE_MAX and name.isascii() for name in (block.account, block.client_order_id)),
        0 < block.limit_price_micros <= PRICE_MAX_MICROS,
        all(0 <= amount <= AMOUNT_MAX_MICROS for amount in amounts),
    )
    if not all(holds):
        raise ValueError("a block waits that the rules cannot have made")


def load_blocks(store: Any) -> None:
    """Puts a snapshot's blocks where they wait. Raises LookupError, ValueError or OverflowError."""
    state = store.state
    for block_id, block in sorted(store.blocks_to_come.items()):
        check_block(state, block_id, block)
        state.blocks[block_id] = block
    store.blocks_to_come = {}
    for name, pending in state.pending_blocks.items():
        if pending != sorted(set(pending)) or any(state.blocks[each].product != name for each in pending):
            raise ValueError("blocks are to be tried that do not wait there")


def with_plain_blocks(state: State) -> State:
    """The same state, its blocks as the rules make them."""
    plain = copy(state)
    plain.blocks = state.blocks.plain()
    return plain
