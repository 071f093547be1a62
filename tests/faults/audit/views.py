"""The views, each built across many restarts: what gateway and market data show is what the event log says."""

from clients.actors import Actor
from clients.http import pages, result_of
from schemas.events import PositionSettled, Trade
from schemas.ids import product_of
from schemas.money import format_micros
from tests.faults.audit.log import EventLog
from tests.faults.audit.orders import told_by


def check_gateway(log: EventLog, party: Actor) -> list[str]:
    """An account's orders, fills and positions, each once and as the log has it."""
    told, _, _ = told_by(log)
    faults = []
    orders = list(pages(party.gateway, "/v1/orders", limit=500))
    for order in orders:
        if order["kind"] in ("limit", "market") and order["status"] != told[order["order_id"]].status:
            faults.append(f"the gateway shows {order}, the log says {told[order['order_id']]}")
        if order["kind"] in ("limit", "market") and order["filled_qty"] != told[order["order_id"]].traded:
            faults.append(f"the gateway shows {order['filled_qty']} filled, the log says {told[order['order_id']]}")
    trades = [trade for trade in log.of(Trade) if party.account in (trade.buyer, trade.seller)]
    fills = [fill["trade_id"] for fill in pages(party.gateway, "/v1/fills", limit=500)]
    if fills[::-1] != [trade.trade_id for trade in trades]:
        faults.append(f"{party.account}: the gateway shows {len(fills)} fills of {len(trades)}")
    settled = {event.position_id: event for event in log.of(PositionSettled)}
    positions = {each["position_id"]: each for each in pages(party.gateway, "/v1/positions", limit=500)}
    if positions.keys() != {trade.position_id for trade in trades}:
        faults.append(f"{party.account}: the gateway shows {len(positions)} positions of {len(trades)}")
    for position_id, position in positions.items():
        event = settled.get(position_id)
        if event and (position["delivered_gpu_s"], position["gross"]) != (
            event.delivered_gpu_s,
            format_micros(event.gross_micros),
        ):
            faults.append(f"the gateway shows {position}, the log says {event}")
    return faults


def check_market_data(log: EventLog, reader: Actor, product: str, interval: str) -> list[str]:
    """A product's trades, each once, and candles that add up to them."""
    trades = [trade for trade in log.of(Trade) if product_of(trade.contract) == product]
    shown = [int(row["trade_id"]) for row in pages(reader.market_data, "/v1/trades", sym=product, limit=500)]
    faults = []
    if shown[::-1] != [trade.trade_id for trade in trades]:
        faults.append(f"market data shows {len(shown)} trades of {len(trades)}")
    params = {"sym": product, "interval": interval, "limit": 500}
    candles = result_of(reader.market_data.get("/v1/candles", params=params))["items"]
    added = (sum(int(candle["qty"]) for candle in candles), sum(candle["trades"] for candle in candles))
    if added != (sum(trade.qty for trade in trades), len(trades)):
        faults.append(f"candles add up to {added} GPUs and trades, the log has {len(trades)} trades")
    return faults
