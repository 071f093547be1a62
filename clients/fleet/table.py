"""One row for each node of an account, from what the venue lists: state, what is offered, sold and earned, troubles."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.ids import contract_start_s
from schemas.money import format_micros, parse_micros

SOLD = frozenset({"OPEN", "DELIVERING"})
SETTLED = frozenset({"SETTLED_PROVISIONAL", "DISPUTED", "SETTLED_FINAL"})
SILENT_S = 120


@dataclass
class Trade:
    """What a node has in the market: GPU-periods offered and sold ahead, positions it delivers, and its earnings."""

    offered: int = 0
    sold: int = 0
    delivering: int = 0
    settled: int = 0
    next_start_s: int | None = None
    net_micros: dict[str, int] = field(default_factory=dict)


def trades_of(
    orders: Iterable[Mapping[str, Any]], positions: Iterable[Mapping[str, Any]], since_s: int
) -> dict[str, Trade]:
    """Adds up an operator's open capacity orders and his positions by node; earnings of hours from `since_s` on."""
    trades: dict[str, Trade] = {}
    for order in orders:
        if order["kind"] == "capacity" and order["node"]:
            trades.setdefault(order["node"], Trade()).offered += order["remaining_qty"]
    for position in positions:
        trade, start_s = trades.setdefault(position["node"], Trade()), contract_start_s(position["contract"])
        if position["state"] == "OPEN":
            trade.sold += position["qty"]
            trade.next_start_s = start_s if trade.next_start_s is None else min(start_s, trade.next_start_s)
        elif position["state"] == "DELIVERING":
            trade.delivering += 1
        elif position["state"] in SETTLED and position["net"] is not None and start_s >= since_s:
            trade.settled += 1
            currency = position["currency"] or ""
            trade.net_micros[currency] = trade.net_micros.get(currency, 0) + parse_micros(position["net"])
    return trades


def row_of(node: Mapping[str, Any], trade: Trade, now_ms: int) -> dict[str, Any]:
    """Returns a node's row; `trouble` is the first thing that keeps it from earning, "" where there is none."""
    return {
        "node": node["node"],
        "grade": node["grade"],
        "hub": node["hub"],
        "state": node["state"],
        "level": node["level"],
        "gpus": len(node["gpus"]),
        "fit": len(node["fit_gpus"]),
        "offered": trade.offered,
        "sold": trade.sold,
        "delivering": trade.delivering,
        "settled": trade.settled,
        "earned": " ".join(f"{format_micros(micros)} {asset}" for asset, micros in sorted(trade.net_micros.items())),
        "trouble": trouble_of(node, trade, now_ms),
    }


def trouble_of(node: Mapping[str, Any], trade: Trade, now_ms: int) -> str:
    """Says in a few words what is wrong with a node."""
    silent_s = (now_ms - (node["last_report_ms"] or 0)) // 1000
    if node["state"] == "retired":
        return ""
    if node["state"] != "active":
        return f"{node['state']}: {node['reason']}" if node["reason"] else node["state"]
    if silent_s > SILENT_S:
        return f"no report for {silent_s} s"
    if lost := len(node["gpus"]) - len(node["fit_gpus"]):
        return f"{lost} of {len(node['gpus'])} GPUs not fit"
    if held := [hold["reason"] for hold in node.get("level_held") or ()]:
        return f"level held: {', '.join(held)}"
    if not (trade.offered or trade.sold or trade.delivering):
        return "offers nothing"
    return ""


def sums_of(rows: Iterable[Mapping[str, Any]], trades: Iterable[Trade]) -> dict[str, Any]:
    """Returns the fleet's sums."""
    rows, net = list(rows), {}
    for trade in trades:
        for asset, micros in trade.net_micros.items():
            net[asset] = net.get(asset, 0) + micros
    sums = {
        name: sum(row[name] for row in rows) for name in ("gpus", "fit", "offered", "sold", "delivering", "settled")
    }
    earned = " ".join(f"{format_micros(micros)} {asset}" for asset, micros in sorted(net.items()))
    return {"nodes": len(rows), "troubles": sum(bool(row["trouble"]) for row in rows)} | sums | {"earned": earned}
