"""Traders' notes against the event log: nothing acknowledged is lost, nothing is executed twice."""

from collections import Counter, defaultdict
from dataclasses import dataclass

from schemas.events import BlockAccepted, OrderAccepted, OrderCanceled, OrderExpired, OrderReplaced, Trade
from tests.faults.audit.log import EventLog
from tests.faults.load.traders import Notes


@dataclass
class Told:
    """What the log says of one order: how much traded with its own command, how much in all, how it ended."""

    order_id: int
    qty: int
    in_offset: int
    traded_at_once: int = 0
    traded: int = 0
    end: str | None = None

    @property
    def status(self) -> str:
        """The status that a view must show."""
        if self.traded >= self.qty:
            return "filled"
        return self.end or ("partially_filled" if self.traded else "new")


def told_by(log: EventLog) -> tuple[dict[int, Told], dict[tuple[str, str], int], list[str]]:
    """Returns the log's orders by id, the ids by (account, client id), and orders that were taken twice."""
    orders: dict[int, Told] = {}
    ids: dict[tuple[str, str], int] = {}
    taken: Counter[tuple[str, str]] = Counter()
    fills: defaultdict[tuple[int, int], int] = defaultdict(int)
    for event in log.events:
        if isinstance(event, OrderAccepted | BlockAccepted):
            orders[event.order_id] = Told(event.order_id, event.qty, event.in_offset)
            if event.client_order_id and getattr(event, "parent_id", None) is None:
                ids[event.account, event.client_order_id] = event.order_id
                taken[event.account, event.client_order_id] += 1
        elif isinstance(event, Trade):
            for order_id in (event.maker_order_id, event.taker_order_id):
                fills[order_id, event.in_offset] += event.qty
        elif isinstance(event, OrderCanceled | OrderExpired):
            orders[event.order_id].end = "canceled" if isinstance(event, OrderCanceled) else "expired"
    for (order_id, in_offset), qty in fills.items():
        order = orders[order_id]
        order.traded += qty
        order.traded_at_once += qty if in_offset == order.in_offset else 0
    return orders, ids, [f"{key} was taken {count} times" for key, count in taken.items() if count > 1]


def check_orders(log: EventLog, notes: dict[str, Notes]) -> list[str]:
    """What was acknowledged stands in the log as it was acknowledged, what was refused does not."""
    orders, ids, faults = told_by(log)
    canceled = {event.order_id for event in log.of(OrderCanceled)}
    for account, noted in notes.items():
        for client_order_id, order in noted.orders.items():
            told = orders.get(ids.get((account, client_order_id), 0))
            if told is None:
                faults.append(f"{client_order_id} was acknowledged and is not in the log")
            elif (told.order_id, told.qty) != (order["order_id"], order["qty"]):
                faults.append(f"{client_order_id}: acknowledged {order}, in the log {told}")
            elif order["kind"] != "block" and told.traded_at_once != order["filled_qty"]:
                faults.append(f"{client_order_id}: acknowledged {order['filled_qty']} filled, in the log {told}")
        faults += [
            f"order {each}: its cancel was acknowledged and is not in the log" for each in noted.canceled - canceled
        ]
        faults += [f"{each} was refused and taken" for each in noted.refused if (account, each) in ids]
        faults += noted.contradictions
    return faults


def check_trades(log: EventLog) -> list[str]:
    """No order trades more than its quantity (a block: in each period) or after its end; ids count from one."""
    faults, qty, ended = [], {}, set()
    traded: Counter[tuple[int, str]] = Counter()
    for event in log.events:
        if isinstance(event, OrderAccepted | BlockAccepted | OrderReplaced):
            qty[event.order_id] = event.qty
        elif isinstance(event, OrderCanceled | OrderExpired):
            ended.add(event.order_id)
        elif isinstance(event, Trade):
            for order_id in (event.maker_order_id, event.taker_order_id):
                traded[order_id, event.contract] += event.qty
                if traded[order_id, event.contract] > qty[order_id] or order_id in ended:
                    faults.append(f"order {order_id} traded too much, or after its end: {event}")
    for name in ("trade_id", "position_id"):
        ids = [getattr(event, name) for event in log.of(Trade)]
        faults += [] if ids == list(range(1, len(ids) + 1)) else [f"{name} has holes or repeats: {ids}"]
    return faults
