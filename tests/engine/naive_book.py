"""The plainest order book that can be right: one list of orders, searched and sorted at every command."""

from dataclasses import dataclass, field

from benchmarks.harness.book import Fill, PriceLevel, RestingOrder

BID, ASK = 0, 1


@dataclass
class NaiveOrder:
    order_id: int
    side: int
    price: int
    quantity: int


@dataclass
class NaiveBook:
    """Orders in order of arrival."""

    arrivals: list[NaiveOrder] = field(default_factory=list)

    def side(self, side: int) -> list[NaiveOrder]:
        """The orders of a side in priority order: Python's sort keeps the order of arrival."""
        better_first = -1 if side == BID else 1
        return sorted((order for order in self.arrivals if order.side == side), key=lambda o: better_first * o.price)

    def add(self, order_id: int, side: int, price: int, quantity: int, immediate: bool = False) -> list[Fill]:
        fills = []
        for maker in self.side(1 - side):
            crosses = maker.price <= price if side == BID else maker.price >= price
            if quantity == 0 or not crosses:
                break
            traded = min(quantity, maker.quantity)
            quantity -= traded
            maker.quantity -= traded
            fills.append(Fill(maker.order_id, maker.price, traded))
        self.arrivals = [order for order in self.arrivals if order.quantity > 0]
        if quantity > 0 and not immediate:
            self.arrivals.append(NaiveOrder(order_id, side, price, quantity))
        return fills

    def find(self, order_id: int) -> NaiveOrder | None:
        return next((order for order in self.arrivals if order.order_id == order_id), None)

    def cancel(self, order_id: int) -> int:
        order = self.find(order_id)
        self.arrivals.remove(order)
        return order.quantity

    def move(self, order_id: int, price: int, quantity: int) -> list[Fill]:
        side = self.find(order_id).side
        self.cancel(order_id)
        return self.add(order_id, side, price, quantity)

    def orders(self, side: int) -> list[RestingOrder]:
        return [RestingOrder(o.order_id, o.price, o.quantity, 0) for o in self.side(side)]

    def depth(self, side: int) -> list[PriceLevel]:
        levels: dict[int, list[int]] = {}
        for order in self.side(side):
            levels.setdefault(order.price, []).append(order.quantity)
        return [PriceLevel(price, sum(quantities), len(quantities)) for price, quantities in levels.items()]
