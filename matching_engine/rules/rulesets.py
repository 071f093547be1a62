"""What the log's ruleset changes: behaviour moves with it alone, so that an old log replays to its old result for ever.

Genesis names the first one, `set_ruleset` a newer one. Whatever differs asks here; what a ruleset once did stays.
"""

from matching_engine.rules.market import Market


def bounds_market_orders(market: Market) -> bool:
    """Since 2: a market order trades no further from the reference than a limit order may be priced. Under 1 only its
    `max_cost` stops it.
    """
    return market.state.ruleset >= 2


def keeps_own_orders_apart(market: Market) -> bool:
    """Since 2: an order that a velocity halt stops meets its account's own orders behind the one that stopped it, as in
    any auction, so that no two of them rest crossed. Under 1 it did not.
    """
    return market.state.ruleset >= 2


def knows_disputes(market: Market) -> bool:
    """Since 3: disputes, differences held, blocks that their buyer ends. Under an older one their commands are refused,
    whatever engine reads the log.
    """
    return market.state.ruleset >= 3


def delays_payout(market: Market) -> bool:
    """Since 4: what a position earns on a node that is of level T0 at the gate stays held until the position is final.
    Under an older one it is paid with the provisional settlement.
    """
    return market.state.ruleset >= 4


def tells_parts_of_a_resale(market: Market) -> bool:
    """Since 4: each part of an auction's resale tells what it left of the bid. Before, all told what the last left."""
    return market.state.ruleset >= 4


def keeps_resales_to_what_was_named(market: Market) -> bool:
    """Since 4: an ask that resells a named position or block grows into nothing else of its account. Before, it did."""
    return market.state.ruleset >= 4


def keeps_moved_deadlines_in_order(market: Market) -> bool:
    """Since 5: a deadline that was moved happens in the order of its new time. Before, it happened at the place of its
    first one where log time had passed both.
    """
    return market.state.ruleset >= 5


def watches_from_acceptance(market: Market) -> bool:
    """Since 5: trades count for an account's throttle from its first order in a product on. Before, from when that
    order was done: what it traded at once counted for nothing, nor did the second book of a split node.
    """
    return market.state.ruleset >= 5


def forgets_prices_without_a_halt(market: Market) -> bool:
    """Since 5: a product without a velocity halt remembers no prices. Before, those from earlier stayed."""
    return market.state.ruleset >= 5
