"""Split nodes: a whole X8 node also stands in the single-GPU book, and what one book sells the other no longer has.

Never up, and never sold twice: both asks stand for the same GPUs of the node. Each holds its own bond while it stands.
"""

from matching_engine.rules import cancels, counts, products
from matching_engine.rules.market import Market
from matching_engine.rules.refusals import require
from matching_engine.rules.state import Order

WHOLE_NODE = "X8"


def single_product(name: str) -> str:
    """The product of the same hub and tier in which a whole node's GPUs are sold one by one."""
    grade, _, rest = name.partition(".")
    return f"{grade.removesuffix(WHOLE_NODE)}.{rest}"


def require_splittable(market: Market, name: str) -> None:
    """Refuses unless the product is of whole nodes and its single one has the same periods and currency."""
    require(name.partition(".")[0].endswith(WHOLE_NODE), "bad_terms")
    single = market.state.products.get(single_product(name))
    require(single is not None, "unknown_product")
    whole = market.state.products[name].newest
    same = (single.newest.period_s, single.newest.currency) == (whole.period_s, whole.currency)
    require(same, "bad_terms")
    products.require_trading(single)


def pair_asks(market: Market, ask: Order, twin: Order) -> Order:
    """Makes the second ask of a pair: for what the first one has left."""
    lot = market.terms_of(twin.contract).lot
    twin.qty = twin.left = ask.left // lot * lot
    twin.hold_micros = twin.left * twin.hold_unit_micros
    twin.parent_id, twin.twin_id = ask.parent_id, ask.id
    return twin


def shrink_twin(market: Market, ask: Order, qty: int) -> None:
    """An ask has just sold GPUs: its twin offers only what is left of both, in whole lots. [M-26]"""
    twin = counts.twin_of(market, ask)
    if twin is None:
        return
    node, start_s = market.state.nodes[ask.node], market.state.contracts[ask.contract].start_s
    pool = max(ask.left + qty, twin.left) - qty
    lot = market.terms_of(twin.contract).lot
    keep = min(twin.left, pool // lot * lot)
    counts.commit(node, start_s, max(ask.left, keep) - pool)
    if keep < twin.left:
        counts.commit(node, start_s, counts.given_back(market, twin, twin.left - keep))
        cancels.reduce_order(market, twin, twin.left - keep, "split_sold")
