"""Which asks of each capacity order rest, found without being told of those that the compiled rules take out."""

from collections.abc import Collection, Container


class CapacityOrders:
    """The asks of capacity orders that rest, by the capacity order's id."""

    def __init__(self, orders: Container[int]):
        self.orders = orders
        self.parts: dict[int, set[int] | range] = {}

    def add_all(self, parent_id: int, asks: int) -> None:
        """The compiled rules took a capacity order; its asks have the ids behind its own."""
        self.parts[parent_id] = range(parent_id + 1, parent_id + 1 + asks)

    def add(self, parent_id: int, order_id: int) -> None:
        """An ask came to rest. The compiled rules take asks out silently, so the dead are found when looked for."""
        asks = self.parts.setdefault(parent_id, set())
        if order_id not in asks:
            asks.add(order_id)

    def get(self, parent_id: int) -> Collection[int]:
        """The ids of the asks that rest."""
        if parent_id not in self.parts:
            return ()
        live = {order_id for order_id in self.parts[parent_id] if order_id in self.orders}
        if live:
            self.parts[parent_id] = live
        else:
            del self.parts[parent_id]
        return live

    def __contains__(self, parent_id: int) -> bool:
        return bool(self.get(parent_id))

    def forget_dead(self) -> None:
        """Asks died at a gate."""
        for parent_id in list(self.parts):
            self.get(parent_id)
