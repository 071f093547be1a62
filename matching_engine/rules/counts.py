"""How many GPUs a node has promised in a period: one count per node and delivery start, for all its asks together."""

from matching_engine.rules.market import Market
from matching_engine.rules.refusals import RuleBroken
from matching_engine.rules.state import Node, Order, State


def find_node(market: Market, name: str | None) -> Node:
    """Returns a registered node."""
    if name is None or name not in market.state.nodes:
        raise RuleBroken("unknown_node")
    return market.state.nodes[name]


def rentable(state: State, node: Node) -> int:
    """How many GPUs the node has for rent: those that are not for sale."""
    return sum(uuid not in state.for_sale for uuid in node.gpus)


def commit(node: Node, start_s: int, gpus: int) -> None:
    """Counts GPUs that stand in asks or are sold in a period; negative: no longer."""
    change_count(node.committed, start_s, gpus)


def count_sold(node: Node, start_s: int, gpus: int) -> None:
    """Counts GPUs sold in a period; when they are needed no more, they are not committed either."""
    change_count(node.sold, start_s, gpus)
    if gpus < 0:
        commit(node, start_s, gpus)


def change_count(counts: dict[int, int], start_s: int, gpus: int) -> None:
    counts[start_s] = counts.get(start_s, 0) + gpus
    if not counts[start_s]:
        del counts[start_s]


# -- nodes that are split: one count per node and period backs both asks


def twin_of(market: Market, ask: Order) -> Order | None:
    """The resting ask of the same GPUs in the other book."""
    return None if ask.twin_id is None else market.state.orders.get(ask.twin_id)


def given_back(market: Market, ask: Order, qty: int) -> int:
    """How many GPUs a node need no longer promise when an ask shrinks: not those that its twin still offers."""
    twin = twin_of(market, ask)
    twin_left = 0 if twin is None else twin.left
    return max(ask.left, twin_left) - max(ask.left - qty, twin_left)
