"""Rows for the public, made from what the view knows: decimal strings, RFC 3339 times, no account."""

from collections.abc import Mapping
from datetime import UTC, datetime

from schemas.events import (
    AuctionIndicated,
    AuctionUncrossed,
    ContractsListed,
    ContractStateChanged,
    IndexSet,
    ProductDefined,
    ProductStateChanged,
    Trade,
)
from schemas.ids import contract_start_s, product_of
from schemas.market_data import (
    AuctionRow,
    CandleRow,
    ContractRow,
    CurvePoint,
    IndexRow,
    Level,
    ProductRow,
    RulesRow,
    StatusRow,
    TickerRow,
    TradeRow,
)
from schemas.trading_rules import TradingRules
from services.kit.rows import show_rows
from services.market_data.books import price_text
from services.market_data.candles import Candle
from services.market_data.contracts import ContractView, ProductView
from services.market_data.domain import StatusEvent
from services.market_data.history import PastIndex, PastTrade

STALE_LEVEL = 5


def time_text(ts_ms: int) -> str:
    """Write Unix milliseconds as RFC 3339 UTC."""
    seconds, ms = divmod(ts_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03d}Z"


def levels(pairs: list[tuple[int, int]]) -> tuple[Level, ...]:
    """Write (price, GPUs) as decimal strings."""
    return tuple((price_text(price_micros), str(gpus)) for price_micros, gpus in pairs)


def product_row(view: ProductView) -> ProductRow:
    terms = view.terms
    return ProductRow(
        product=terms.product,
        grade=terms.grade,
        hub=terms.hub,
        tier=terms.tier,
        currency=terms.currency,
        lot=terms.lot,
        tick=price_text(terms.tick_micros),
        period_s=terms.period_s,
        horizon_periods=terms.horizon_periods,
        gate_lead_s=terms.gate_lead_s,
        maker_fee_bps=terms.maker_fee_bps,
        taker_fee_bps=terms.taker_fee_bps,
        settlement_fee_bps=terms.settlement_fee_bps,
        state=view.state,
        opens=_time(view.opens_ms),
        rules=rules_row(terms.trading),
    )


def rules_row(rules: TradingRules) -> RulesRow:
    in_force = {name: value for name, value in rules if value}
    notional_micros = in_force.pop("max_order_notional_micros", None)
    return RulesRow(**in_force, max_order_notional=_price(notional_micros))


def auction_row(event: AuctionIndicated | AuctionUncrossed) -> AuctionRow:
    return AuctionRow(
        contract=event.contract,
        event="indicated" if isinstance(event, AuctionIndicated) else "uncrossed",
        price=_price(event.price_micros),
        qty=str(event.qty),
        surplus_qty=str(event.surplus_qty),
        surplus_side=event.surplus_side,
        reference=_price(event.reference_micros),
        seq=event.seq,
        time=time_text(event.ts_ms),
    )


def auction_rows(view: ProductView) -> tuple[tuple[AuctionRow, ...], tuple[AuctionRow, ...]]:
    """What a product's auctions would come to now, and the last results, newest first."""
    return show_rows(view.indicated(), auction_row), show_rows(reversed(view.auctions), auction_row)


def contract_row(view: ContractView) -> ContractRow:
    return ContractRow(
        contract=view.contract,
        product=view.product,
        state=view.state,
        start=time_text(view.start_s * 1000),
        end=time_text(view.end_s * 1000),
        gate=time_text(view.gate_ms),
        positions=view.positions,
        index=price_text(view.index.index_micros) if view.index else None,
    )


def trade_row(trade: Trade | PastTrade) -> TradeRow:
    return TradeRow(
        trade_id=trade.trade_id,
        seq=trade.seq,
        contract=trade.contract,
        price=price_text(trade.price_micros),
        qty=str(trade.qty),
        taker_side=trade.taker_side,
        time=time_text(trade.ts_ms),
        ts_ns=str(trade.ts_ms * 1_000_000),
    )


def candle_row(candle: Candle) -> CandleRow:
    return CandleRow(
        interval=candle.interval,
        start=time_text(candle.start_ms),
        open=price_text(candle.open_micros),
        high=price_text(candle.high_micros),
        low=price_text(candle.low_micros),
        close=price_text(candle.close_micros),
        vwap=price_text(candle.turnover // candle.qty),
        qty=str(candle.qty),
        trades=candle.trades,
        seq=candle.seq,
        final=candle.final,
    )


def ticker_row(view: ContractView, doubted: Mapping[str, int]) -> TickerRow:
    return TickerRow(
        contract=view.contract,
        state=view.state,
        **_best(view),
        last_qty=str(view.last.qty) if view.last else None,
        open=_price(view.open_micros),
        high=_price(view.high_micros),
        low=_price(view.low_micros),
        qty=str(view.qty),
        trades=view.trades,
        index=price_text(view.index.index_micros) if view.index else None,
        auction=auction_row(view.indicated) if view.indicated else None,
        doubted_since=doubted.get(view.contract),
    )


def curve_point(view: ContractView, doubted: Mapping[str, int]) -> CurvePoint:
    return CurvePoint(
        contract=view.contract,
        start=time_text(view.start_s * 1000),
        state=view.state,
        **_best(view),
        doubted_since=doubted.get(view.contract),
    )


def index_row(event: IndexSet | PastIndex) -> IndexRow:
    return IndexRow(
        contract=event.contract,
        start=time_text(contract_start_s(event.contract) * 1000),
        index=price_text(event.index_micros),
        level=event.level,
        stale=event.level == STALE_LEVEL,
        method=event.method,
        inputs_digest=event.inputs_digest,
        seq=event.seq,
        time=time_text(event.ts_ms),
    )


def status_row(event: StatusEvent) -> StatusRow:
    head = {"seq": event.seq, "time": time_text(event.ts_ms)}
    match event:
        case ProductDefined():
            return StatusRow(**head, product=event.terms.product, event="product_defined")
        case ProductStateChanged():
            return StatusRow(
                **head,
                product=event.product,
                event="product_state",
                state=event.state,
                reason=event.reason,
                opens=_time(event.opens_ms),
            )
        case ContractsListed():
            start, end = time_text(event.first_start_s * 1000), time_text((event.last_start_s + event.period_s) * 1000)
            return StatusRow(**head, product=event.product, event="contracts_listed", start=start, end=end)
        case ContractStateChanged():
            product = product_of(event.contract)
            return StatusRow(
                **head, product=product, contract=event.contract, event="contract_state", state=event.state
            )


def _best(view: ContractView) -> dict[str, str | None]:
    bid, ask = view.book.bids.best(), view.book.asks.best()
    return {
        "bid": price_text(bid[0]) if bid else None,
        "bid_qty": str(bid[1]) if bid else None,
        "ask": price_text(ask[0]) if ask else None,
        "ask_qty": str(ask[1]) if ask else None,
        "last": price_text(view.last.price_micros) if view.last else None,
    }


def _time(ts_ms: int | None) -> str | None:
    return None if ts_ms is None else time_text(ts_ms)


def _price(micros: int | None) -> str | None:
    return None if micros is None else price_text(micros)
