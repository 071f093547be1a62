"""What market_data tells everyone: the rows of its REST answers, the messages of its feed, a reader's requests.

Prices and quantities are decimal strings, times RFC 3339 with a `ts_ns` integer string beside them. No message names an
account. Absent means none: a member that would be null is left out, but for the `cursor` of a page.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from schemas.base import Model
from schemas.events import ContractState
from schemas.ids import Asset, Contract, Digest, Grade, Hub, Identifier, Product, Tier
from schemas.money import DecimalString
from schemas.orders import Side
from schemas.trading_rules import ScheduledState
from schemas.venue import ProductState

Seq = Annotated[int, Field(ge=0)]
Quantity = Annotated[str, Field(pattern=r"^[0-9]{1,18}$")]
Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")]
Nanoseconds = Annotated[str, Field(pattern=r"^[0-9]{1,19}$")]
Checksum = Annotated[int, Field(ge=0, le=0xFFFFFFFF)]
Level = tuple[DecimalString, Quantity]
Symbol = Annotated[str, Field(pattern=r"^(\*|[A-Z0-9]{2,24}\.[A-Z]{2,4}\.[FIM](-([0-9]{8}|[0-9]{12}))?)$")]
Interval = Annotated[str, Field(pattern=r"^[0-9]{1,3}[smhd]$")]
Channel = Literal["book", "trades", "ticker", "candles", "curve", "index", "delivery", "listings", "status", "auction"]


class PublicModel(Model):
    """A message or a row for everyone."""

    def wire(self) -> bytes:
        """Returns the JSON text as it goes out, without members that would be null."""
        return self.model_dump_json(exclude_none=True).encode()


# -- rows --------------------------------------------------------------------------------------------------------------


class RulesRow(PublicModel):
    """What a product may trade, and when; a rule that is off is left out."""

    schedule: tuple[ScheduledState, ...] | None = None
    max_order_qty: int | None = None
    max_order_notional: DecimalString | None = None
    price_band_permille: int | None = None
    velocity_permille: int | None = None
    velocity_window_s: int | None = None
    velocity_auction_s: int | None = None
    auction_block_rounds: int | None = None


class ProductRow(PublicModel):
    """A product's terms, rules and trading state; `opens` is when its auction ends by itself."""

    product: Product
    grade: Grade
    hub: Hub
    tier: Tier
    currency: Asset
    lot: int
    tick: DecimalString
    period_s: int
    horizon_periods: int
    gate_lead_s: int
    maker_fee_bps: int
    taker_fee_bps: int
    settlement_fee_bps: int
    state: ProductState
    opens: Time | None = None
    rules: RulesRow


class ContractRow(PublicModel):
    """A contract: when it delivers, when its gate closes, how it stands."""

    contract: Contract
    product: Product
    state: ContractState
    start: Time
    end: Time
    gate: Time
    positions: int
    index: DecimalString | None = None


class TradeRow(PublicModel):
    """A fill at the maker's price; in an auction at the auction's, and without a `taker_side`."""

    trade_id: int
    seq: Seq
    contract: Contract
    price: DecimalString
    qty: Quantity
    taker_side: Side | None = None
    time: Time
    ts_ns: Nanoseconds


class CandleRow(PublicModel):
    """Prices of one span of log time; `final` once log time has passed its end. `vwap` is rounded down."""

    interval: Interval
    start: Time
    open: DecimalString
    high: DecimalString
    low: DecimalString
    close: DecimalString
    vwap: DecimalString
    qty: Quantity
    trades: int
    seq: Seq
    final: bool


class AuctionRow(PublicModel):
    """What a contract's auction would come to now (`indicated`; without a price nothing would trade), or came to.

    `surplus_qty` GPUs of `surplus_side` find nobody at the price; `reference` is what it was to be near to.
    """

    contract: Contract
    event: Literal["indicated", "uncrossed"]
    price: DecimalString | None = None
    qty: Quantity
    surplus_qty: Quantity
    surplus_side: Side | None = None
    reference: DecimalString | None = None
    seq: Seq
    time: Time


class TickerRow(PublicModel):
    """A contract's best prices (`doubted_since` as in its book), its trades, what an auction would come to."""

    contract: Contract
    state: ContractState
    bid: DecimalString | None = None
    bid_qty: Quantity | None = None
    ask: DecimalString | None = None
    ask_qty: Quantity | None = None
    last: DecimalString | None = None
    last_qty: Quantity | None = None
    open: DecimalString | None = None
    high: DecimalString | None = None
    low: DecimalString | None = None
    qty: Quantity
    trades: int
    index: DecimalString | None = None
    auction: AuctionRow | None = None
    doubted_since: Seq | None = None


class CurvePoint(PublicModel):
    """One delivery period of a product's forward curve; `doubted_since` is that of its book."""

    contract: Contract
    start: Time
    state: ContractState
    bid: DecimalString | None = None
    bid_qty: Quantity | None = None
    ask: DecimalString | None = None
    ask_qty: Quantity | None = None
    last: DecimalString | None = None
    doubted_since: Seq | None = None


class IndexRow(PublicModel):
    """HBX of one contract: value, level of evidence (1 best; 5 is stale), method, digest of the inputs."""

    contract: Contract
    start: Time
    index: DecimalString
    level: Annotated[int, Field(ge=1, le=5)]
    stale: bool
    method: Identifier
    inputs_digest: Digest
    seq: Seq
    time: Time


class StatusRow(PublicModel):
    """A product's or a contract's state changed, or contracts from `start` to `end` were listed."""

    seq: Seq
    product: Product
    contract: Contract | None = None
    event: Literal["product_defined", "product_state", "contracts_listed", "contract_state"]
    state: str | None = None
    reason: Identifier | None = None
    start: Time | None = None
    end: Time | None = None
    opens: Time | None = None
    time: Time


class ProductList(PublicModel):
    """GET /v1/products."""

    items: tuple[ProductRow, ...]
    seq: Seq


class PublicPage(PublicModel):
    """A page of a list: `cursor` asks for the next one and is null on the last, as in every list of the exchange."""

    cursor: str | None

    def wire(self) -> bytes:
        """Returns the JSON text; of the members that may be null only `cursor` is always there."""
        shown = self.model_dump(mode="json", exclude_none=True) | {"cursor": self.cursor}
        return json.dumps(shown, separators=(",", ":")).encode()


class ContractPage(PublicPage):
    """GET /v1/contracts."""

    items: tuple[ContractRow, ...]
    seq: Seq


class TickerList(PublicModel):
    """GET /v1/ticker."""

    items: tuple[TickerRow, ...]
    seq: Seq


class Curve(PublicModel):
    """GET /v1/curve/{product}: earliest period first."""

    product: Product
    currency: Asset
    points: tuple[CurvePoint, ...]
    seq: Seq


class TradePage(PublicPage):
    """GET /v1/trades, newest first."""

    items: tuple[TradeRow, ...]
    seq: Seq


class CandlePage(PublicModel):
    """GET /v1/candles, newest first."""

    sym: Symbol
    items: tuple[CandleRow, ...]
    seq: Seq


class IndexPage(PublicPage):
    """GET /v1/index, latest delivery first."""

    items: tuple[IndexRow, ...]
    seq: Seq


class AuctionList(PublicModel):
    """GET /v1/auctions: what auctions would come to now, by contract, and the last results, newest first."""

    product: Product
    indicated: tuple[AuctionRow, ...]
    results: tuple[AuctionRow, ...]
    seq: Seq


# -- feed: what comes --------------------------------------------------------------------------------------------------


class Resumable(PublicModel):
    """A message that stands at a sequence.

    `resync` marks a snapshot sent because `from_seq` was too long ago, `conflated` one sent in place of messages that a
    slow reader who asked for it did not take.
    """

    seq: Seq
    resync: Literal[True] | None = None
    conflated: Literal[True] | None = None


class BookSnapshot(Resumable):
    """Every level of a book, best first; not to be trusted since event `doubted_since`, which did not fit the view."""

    ch: Literal["book"] = "book"
    sym: Contract
    type: Literal["snapshot"] = "snapshot"
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    crc: Checksum
    doubted_since: Seq | None = None


class BookDelta(PublicModel):
    """The levels that one command changed; quantity "0" removes one. `crc` is that of the ten best levels after it.

    `doubted_since` is that of the book as it stands then; a doubt that changes no level comes without levels.
    """

    ch: Literal["book"] = "book"
    sym: Contract
    type: Literal["delta"] = "delta"
    prev_seq: Seq
    seq: Seq
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    crc: Checksum
    doubted_since: Seq | None = None


class TradesSnapshot(Resumable):
    """The last trades of a contract or a product, newest first."""

    ch: Literal["trades"] = "trades"
    sym: Symbol
    type: Literal["snapshot"] = "snapshot"
    trades: tuple[TradeRow, ...]


class TradeUpdate(PublicModel):
    """One trade."""

    ch: Literal["trades"] = "trades"
    sym: Symbol
    type: Literal["trade"] = "trade"
    seq: Seq
    trade: TradeRow


class TickerSnapshot(Resumable):
    """A contract's ticker, whole every time."""

    ch: Literal["ticker"] = "ticker"
    sym: Symbol
    type: Literal["snapshot", "update"]
    ticker: TickerRow


class CandlesSnapshot(Resumable):
    """The last candles of one interval, oldest first, the running one last."""

    ch: Literal["candles"] = "candles"
    sym: Symbol
    interval: Interval
    type: Literal["snapshot"] = "snapshot"
    candles: tuple[CandleRow, ...]


class CandleUpdate(PublicModel):
    """A candle as it stands: after a trade, or final."""

    ch: Literal["candles"] = "candles"
    sym: Symbol
    interval: Interval
    type: Literal["update"] = "update"
    seq: Seq
    candle: CandleRow


class CurveSnapshot(Resumable):
    """Best bid, best ask and last price of every listed period of a product, earliest first."""

    ch: Literal["curve"] = "curve"
    sym: Product
    type: Literal["snapshot"] = "snapshot"
    points: tuple[CurvePoint, ...]


class CurveUpdate(PublicModel):
    """The periods that one command changed or listed."""

    ch: Literal["curve"] = "curve"
    sym: Product
    type: Literal["update"] = "update"
    seq: Seq
    points: tuple[CurvePoint, ...]


class IndexSnapshot(Resumable):
    """The last values of a product's index, newest first."""

    ch: Literal["index"] = "index"
    sym: Product
    type: Literal["snapshot"] = "snapshot"
    values: tuple[IndexRow, ...]


class IndexUpdate(PublicModel):
    """The index of one more contract is fixed."""

    ch: Literal["index"] = "index"
    sym: Product
    type: Literal["update"] = "update"
    seq: Seq
    value: IndexRow


class AuctionSnapshot(Resumable):
    """What a product's auctions would come to now, by contract, and the last results, newest first."""

    ch: Literal["auction"] = "auction"
    sym: Product
    type: Literal["snapshot"] = "snapshot"
    indicated: tuple[AuctionRow, ...]
    results: tuple[AuctionRow, ...]


class AuctionUpdate(PublicModel):
    """An auction would end otherwise now, or has ended. Leaving AUCTION without a result ends what was indicated."""

    ch: Literal["auction"] = "auction"
    sym: Product
    type: Literal["update"] = "update"
    seq: Seq
    auction: AuctionRow


class StatusSnapshot(Resumable):
    """The trading state of a product, or of all (`*`)."""

    ch: Literal["status"] = "status"
    sym: Symbol
    type: Literal["snapshot"] = "snapshot"
    products: tuple[ProductRow, ...]


class StatusUpdate(PublicModel):
    """Something opened, halted, locked or ended."""

    ch: Literal["status"] = "status"
    sym: Symbol
    type: Literal["update"] = "update"
    seq: Seq
    status: StatusRow


class RelaySnapshot(Resumable):
    """The latest public facts of the hardware board or of deliveries; `seq` is the channel's own."""

    ch: Literal["listings", "delivery"]
    sym: Literal["*"] = "*"
    type: Literal["snapshot"] = "snapshot"
    items: tuple[dict[str, Any], ...]


class RelayUpdate(PublicModel):
    """One public fact of the hardware board or of a delivery."""

    ch: Literal["listings", "delivery"]
    sym: Literal["*"] = "*"
    type: Literal["update"] = "update"
    seq: Seq
    item: dict[str, Any]


class Heartbeat(PublicModel):
    """Every second, also when nothing happens: the last sequence of each book this reader follows, and of the shard."""

    ch: Literal["hb"] = "hb"
    seq: dict[str, Seq]
    last_seq: Seq
    ts_ns: Nanoseconds


class Acknowledged(PublicModel):
    """A request that carried an `id` was carried out."""

    ch: Literal["ack"] = "ack"
    id: str
    op: Literal["subscribe", "unsubscribe"]


class FeedProblem(PublicModel):
    """A request that could not be carried out, or why the socket is being closed, with the last sequence sent."""

    ch: Literal["error"] = "error"
    id: str | None = None
    code: Literal["malformed_request", "unknown_symbol", "unknown_interval", "too_many_streams", "slow_reader"]
    detail: str
    seq: Seq | None = None


FeedMessage = Annotated[
    BookSnapshot
    | BookDelta
    | TradesSnapshot
    | TradeUpdate
    | TickerSnapshot
    | CandlesSnapshot
    | CandleUpdate
    | CurveSnapshot
    | CurveUpdate
    | IndexSnapshot
    | IndexUpdate
    | AuctionSnapshot
    | AuctionUpdate
    | StatusSnapshot
    | StatusUpdate
    | RelaySnapshot
    | RelayUpdate
    | Heartbeat
    | Acknowledged
    | FeedProblem,
    Field(),
]
FEED_MESSAGE: TypeAdapter[FeedMessage] = TypeAdapter(FeedMessage)


# -- feed: what a reader sends -----------------------------------------------------------------------------------------


class FeedRequest(Model):
    """Subscribe to one channel of some symbols, or leave it. `from_seq`: all after it, or a snapshot with `resync`.

    Symbols: a contract (book, trades, ticker, candles), a product (trades, candles, curve, index, auction, status) or
    `*` (status, listings, delivery). `conflate` holds for the socket: a reader too slow gets snapshots, not closed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)

    op: Literal["subscribe", "unsubscribe"]
    ch: Channel
    syms: Annotated[tuple[Symbol, ...], Field(min_length=1, max_length=1_000)] = ("*",)
    interval: Interval = "1m"
    from_seq: Seq | None = None
    conflate: bool = False
    id: Annotated[str, Field(max_length=64)] | None = None
