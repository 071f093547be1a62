"""Everything the engine remembers between two records, as plain data; whatever else it uses is derived from this."""

from dataclasses import dataclass, field
from typing import Literal

from schemas.events import ContractState
from schemas.measures import Level
from schemas.orders import BlockTimeInForce, SelfTradePrevention, Side, TimeInForce
from schemas.venue import DefineProduct, ProductState, SetAccountLimits
from schemas.vouchers import DefineProgramme

GENESIS_LINK = "00" * 32
DIGEST_BYTES = 16  # of a body: what tells two under one id apart; nobody else gains by a collision


@dataclass(slots=True)
class Balance:
    """Micro-units of one asset: what its owner may spend, and what is held for orders, positions and escrows."""

    available: int = 0
    held: int = 0


@dataclass(slots=True)
class Product:
    """A product: its terms in force from one delivery start on, its trading state, the contracts whose gate is open."""

    state: ProductState
    versions: list[tuple[int, DefineProduct]]
    windows: list[tuple[int, int]] = field(default_factory=list)
    listed_to_s: int = 0
    last_index_start_s: int = -1
    last_index_micros: int | None = None
    opens_ms: int | None = None
    schedule_ms: int | None = None
    watched: bool = False

    @property
    def newest(self) -> DefineProduct:
        """The terms of the contracts listed last."""
        return self.versions[-1][1]

    def terms(self, start_s: int) -> DefineProduct:
        """Returns the terms of the contract that starts at `start_s`."""
        return next(terms for from_s, terms in reversed(self.versions) if from_s <= start_s)


@dataclass(slots=True)
class Contract:
    """A contract in which an order was taken, or whose index is fixed.

    `indicated` is what was last told of its auction, `recent_trades` are the times and prices that a velocity halt
    looks at.
    """

    product: str
    start_s: int
    state: ContractState = "OPEN"
    positions: list[int] = field(default_factory=list)
    index_micros: int | None = None
    last_micros: int | None = None
    indicated: tuple[int, int, int, str | None] | None = None
    recent_trades: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class Conditions:
    """What makes an order more than an ordinary one. `shown` is what the book shows of an iceberg; `rank` is the place
    in time of an order that lost its first one (0: it never did).
    """

    expires_ms: int | None = None
    display_qty: int | None = None
    shown: int = 0
    rank: int = 0
    stp: SelfTradePrevention = "cancel_newest"


@dataclass(slots=True)
class Order:
    """A bid or an ask in the book of one contract. `hold_unit_micros` is held per GPU: cost and fee, or bond.

    `backing` has the positions behind a resale ask and the GPUs of each, oldest first; `resold_position_id` and
    `resold_block_id` are what it was to resell, where that was named; `twin_id` is the ask of the same GPUs in the
    other book of a node that is split.
    """

    id: int
    parent_id: int | None
    account: str
    client_order_id: str | None
    contract: str
    side: Side
    kind: Literal["limit", "market", "capacity"]
    price_micros: int | None
    max_cost_micros: int | None
    qty: int
    left: int
    tif: TimeInForce
    post_only: bool
    node: str | None
    hold_unit_micros: int
    hold_micros: int
    conditions: Conditions | None = None
    backing: list[tuple[int, int]] | None = None
    twin_id: int | None = None
    resold_position_id: int | None = None
    resold_block_id: int | None = None


@dataclass(slots=True)
class Block:
    """A bid for the same GPUs over consecutive periods. `spent_micros` counts escrows and fees of what has filled.

    It begins at `start_s`, a flex at any start until `latest_s`.
    """

    id: int
    account: str
    client_order_id: str
    product: str
    start_s: int
    latest_s: int
    periods: int
    qty: int
    min_qty: int
    left: int
    limit_price_micros: int
    max_cost_micros: int | None
    tif: BlockTimeInForce
    hold_unit_micros: int
    hold_micros: int
    spent_micros: int = 0


@dataclass(slots=True)
class Binding:
    """What became of a client's order id: its body's digest, where the result stands, until when it is kept."""

    body: str
    offset: int
    order_id: int | None
    until_ms: int


@dataclass(slots=True)
class Node:
    """A machine that stands behind asks: `committed` and `sold` count GPUs per delivery start."""

    account: str
    grade: str
    hub: str
    level: Level
    gpus: list[str]
    alive: bool = False
    until_ms: int = 0
    committed: dict[int, int] = field(default_factory=dict)
    sold: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Position:
    """One fill's claim on delivery and its money. `paid` is what settlement has moved: buyer, operator, venue;
    `fee_micros` is the fee of its trades, `held_micros` the buyer's money that two meters differ about; `final_due`
    says that only a dispute, or that, keeps it from being final. With `delays_payout` what the operator receives stays
    held until then, as `payout_held_micros`.
    """

    id: int
    contract: str
    buyer: str
    operator: str
    node: str
    qty: int
    price_micros: int
    block_id: int | None
    escrow_micros: int
    bond_micros: int
    bond_left_micros: int
    gpus: list[str] = field(default_factory=list)
    revision: int = 0
    paid: tuple[int, int, int] = (0, 0, 0)
    fee_micros: int = 0
    held_micros: int = 0
    disputed: bool = False
    final_due: bool = False
    delays_payout: bool = False
    payout_held_micros: int = 0


@dataclass(slots=True)
class Claim:
    """Money that a debtor owes a creditor after a correction; the debtor's next credits pay it."""

    id: int
    debtor: str
    creditor: str
    asset: str
    left_micros: int


@dataclass(slots=True)
class Listing:
    """GPUs for sale. A GPU named here is not for rent until the listing ends or its new owner enrols it."""

    account: str
    gpus: list[str]
    state: Literal["listed", "in_escrow", "sold", "unlocked"] = "listed"


@dataclass(slots=True)
class Escrow:
    """The buyer's money for a listing."""

    listing_id: str
    buyer: str
    asset: str
    amount_micros: int
    fee_micros: int
    state: Literal["open", "released", "refunded"] = "open"


@dataclass(slots=True)
class AccountLimits:
    """What an account may do at most, and its orders and trades in a window of the throttle."""

    terms: SetAccountLimits
    window: int = -1
    orders: int = 0
    trades: int = 0


@dataclass(slots=True)
class Protection:
    """A maker's protection in a product, and when how many of his resting GPUs traded."""

    qty: int
    window_ms: int
    fills: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class Programme:
    """A voucher programme and what every holder was issued in all."""

    terms: DefineProgramme
    issued: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class VoucherEscrow:
    """What of a position's escrow was vouchers, what of them is used up, and the gross that they were used up for."""

    parts: dict[str, int]
    used: dict[str, int] = field(default_factory=dict)
    gross_micros: int = 0


@dataclass(slots=True)
class State:
    """The whole engine. `offered` counts the GPUs of each position that stand in resale asks."""

    shard: int = 0
    ruleset: int = 0
    seq: int = 0
    next_offset: int = 0
    log_time_ms: int = 0
    link: str = GENESIS_LINK
    epoch: int = 0
    keys: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    last_order_id: int = 0
    last_trade_id: int = 0
    last_position_id: int = 0
    last_claim_id: int = 0
    timers: list[tuple[int, int, str | int]] = field(default_factory=list)
    products: dict[str, Product] = field(default_factory=dict)
    contracts: dict[str, Contract] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)
    blocks: dict[int, Block] = field(default_factory=dict)
    pending_blocks: dict[str, list[int]] = field(default_factory=dict)
    cancel_timers: dict[str, dict[str, int]] = field(default_factory=dict)
    bindings: dict[str, dict[str, Binding]] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    positions: dict[int, Position] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)
    balances: dict[str, dict[str, Balance]] = field(default_factory=dict)
    supply: dict[str, int] = field(default_factory=dict)
    transfers: dict[str, int] = field(default_factory=dict)
    offered: dict[int, int] = field(default_factory=dict)
    listings: dict[str, Listing] = field(default_factory=dict)
    for_sale: dict[str, str] = field(default_factory=dict)
    escrows: dict[str, Escrow] = field(default_factory=dict)
    limits: dict[str, AccountLimits] = field(default_factory=dict)
    protections: dict[str, dict[str, Protection]] = field(default_factory=dict)
    programmes: dict[str, Programme] = field(default_factory=dict)
    voucher_escrows: dict[int, VoucherEscrow] = field(default_factory=dict)
    affiliations: dict[str, str] = field(default_factory=dict)
