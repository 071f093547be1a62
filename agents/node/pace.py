"""Bounds how often orders are repriced: so many in any span as long as a delivery period, whatever the market does."""

from collections import deque


class Pace:
    """A budget per product; times are seconds of one clock."""

    def __init__(self) -> None:
        self._spent: dict[str, deque[float]] = {}

    def allows(self, product: str, most: int, span_s: float, now_s: float) -> bool:
        """Spends one reprice where fewer than `most` were spent in the last `span_s`; tells whether it did."""
        spent = self._spent.setdefault(product, deque())
        while spent and spent[0] <= now_s - span_s:
            spent.popleft()
        if len(spent) >= most:
            return False
        spent.append(now_s)
        return True
