"""Trading states of products: which may follow which, changes by the day's schedule, auctions that end in time."""

from matching_engine.rules import auctions
from matching_engine.rules.market import Market
from matching_engine.rules.products import enter_state
from matching_engine.rules.refusals import require
from matching_engine.rules.trading_schedule import follow_schedule, scheduled_state
from schemas.venue import ProductState, SetProductState

# The same state may always be set again: an auction then ends anew.
FOLLOWING: dict[ProductState, tuple[ProductState, ...]] = {
    "CLOSED": ("AUCTION", "OPEN", "HALTED"),
    "AUCTION": ("OPEN", "CLOSED", "CANCEL_ONLY", "HALTED"),
    "OPEN": ("AUCTION", "CLOSED", "CANCEL_ONLY", "HALTED"),
    "CANCEL_ONLY": ("AUCTION", "OPEN", "CLOSED", "HALTED"),
    "HALTED": ("AUCTION", "OPEN", "CLOSED", "CANCEL_ONLY"),
}


def may_follow(state: ProductState, following: ProductState) -> bool:
    return following == state or following in FOLLOWING[state]


def set_product_state(market: Market, command: SetProductState) -> None:
    """Sets the state of one product, or of all that may follow; one alone that may not is refused. [M-46]"""
    require(command.opens_after_s is None or command.state == "AUCTION", "bad_terms")
    require(command.product is None or command.product in market.state.products, "unknown_product")
    names = [command.product] if command.product is not None else sorted(market.state.products)
    following = [name for name in names if may_follow(market.state.products[name].state, command.state)]
    require(following or command.product is None, "wrong_state")
    for name in following:
        change_state(market, name, command.state, command.reason, command.opens_after_s)


def change_state(market: Market, name: str, state: ProductState, reason: str, opens_after_s: int | None = None) -> None:
    """Changes the state. Whatever leads to OPEN uncrosses the books first: none is crossed where trading goes on."""
    product = market.state.products[name]
    if state == "OPEN" and product.state != "OPEN":
        auctions.uncross_product(market, name)
    if state != "AUCTION":
        auctions.forget_indications(market, name)
    enter_state(market, name, state, reason, opens_after_s)


def end_auction(market: Market, name: str) -> None:
    """The time of an auction that opens by itself is over, unless its state was set otherwise meanwhile."""
    product = market.state.products[name]
    if product.opens_ms is not None and product.opens_ms <= market.reached_ms:
        change_state(market, name, "OPEN", "auction_over")


def apply_schedule(market: Market, name: str) -> None:
    """A scheduled change is due. A halt stays until somebody lifts it. [M-7]"""
    product = market.state.products[name]
    due_ms = product.schedule_ms
    if due_ms is None or due_ms > market.reached_ms:
        return
    state = scheduled_state(product.newest, due_ms)
    if state != product.state != "HALTED" and may_follow(product.state, state):
        change_state(market, name, state, "schedule")
    follow_schedule(market, name, due_ms)
