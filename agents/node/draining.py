"""Draining: nothing new is offered, and when what was sold is delivered, the agent ends."""

import time
from collections.abc import Callable

from agents.node.leases import LeaseBook
from agents.node.seller import Seller
from agents.node.state import StateFolder

FILE = "drain"


def ask_to_drain(state: StateFolder) -> None:
    """Asks the agent that works on the folder, or the next one that starts on it, to drain."""
    state.write(FILE, {"asked_ms": time.time_ns() // 1_000_000})


def stop_draining(state: StateFolder) -> bool:
    """Takes the request back; tells whether there was one."""
    file = state.path / f"{FILE}.json"
    if not file.exists():
        return False
    file.unlink()
    return True


class Draining:
    """Follows the request, which lies in the state folder: a restart drains on."""

    def __init__(self, state: StateFolder, seller: Seller, book: LeaseBook, reports_waiting: Callable[[], int]) -> None:
        self._state, self._seller, self._book, self._reports_waiting = state, seller, book, reports_waiting
        self.left: tuple[str, ...] = ()

    def is_asked(self) -> bool:
        """Tells whether the node is to drain."""
        return (self._state.path / f"{FILE}.json").exists()

    async def is_over(self) -> bool:
        """Tells whether nothing is left to deliver, close, or report; `left` says what is. Then the request is done."""
        standing = self._seller.standing()["asks"]
        sold = sorted(await self._seller.undelivered())
        open_leases = self._book.unfinished()
        waiting = self._reports_waiting()
        self.left = (
            *((f"{standing} asks to withdraw",) if standing else ()),
            *((f"{len(sold)} positions to deliver, the last in {sold[-1]}",) if sold else ()),
            *((f"{len(open_leases)} leases to close",) if open_leases else ()),
            *((f"{waiting} reports for the venue to take",) if waiting else ()),
        )
        if self.left:
            return False
        stop_draining(self._state)
        return True
