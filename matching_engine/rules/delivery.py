"""Before delivery: which GPUs serve which positions, and the index that settlement will read."""

from matching_engine.rules import deadlines, products
from matching_engine.rules.market import Market
from matching_engine.rules.refusals import RuleBroken, require
from matching_engine.rules.state import Position
from schemas.events import GpusNominated, IndexSet
from schemas.venue import IndexFixed, NominateGpus, Nomination


def nominate_gpus(market: Market, command: NominateGpus) -> None:
    """Names the GPUs behind positions of a locked contract; a position may be named anew until delivery ends. [D-2]"""
    products.find_contract(market, command.contract)
    known = market.state.contracts.get(command.contract)
    require(known is not None and known.state in ("LOCKED", "DELIVERING"), "wrong_state")
    require(command.node in market.state.nodes, "unknown_node")
    positions = [named_position(market, command, each) for each in command.nominations]
    named = {position.id for position in positions}
    require(0 < len(positions) == len(named), "bad_nomination")
    taken = taken_gpus(market, command.node, known.start_s, named)
    for nomination in command.nominations:
        for uuid in nomination.gpus:
            require_nominable(market, command.node, uuid)
            require(uuid not in taken, "bad_nomination")
            taken.add(uuid)
    for position, nomination in zip(positions, command.nominations, strict=True):
        position.gpus = list(nomination.gpus)
    market.emit(GpusNominated, contract=command.contract, node=command.node, nominations=command.nominations)


def named_position(market: Market, command: NominateGpus, nomination: Nomination) -> Position:
    position = market.state.positions.get(nomination.position_id)
    if position is None:
        raise RuleBroken("unknown_position")
    require((position.contract, position.node) == (command.contract, command.node), "bad_nomination")
    require(len(nomination.gpus) == position.qty, "bad_nomination")
    return position


def require_nominable(market: Market, node: str, uuid: str) -> None:
    require(market.gpu_nodes.get(uuid) == node, "unknown_gpu")
    require(uuid not in market.state.for_sale, "gpu_not_free")


def taken_gpus(market: Market, node: str, start_s: int, except_for: set[int]) -> set[str]:
    """The GPUs of a node that serve other positions in the same period: unique per UUID and hour."""
    return {
        uuid
        for position in market.state.positions.values()
        if position.node == node
        and position.id not in except_for
        and market.state.contracts[position.contract].start_s == start_s
        for uuid in position.gpus
    }


def fix_index(market: Market, command: IndexFixed) -> None:
    """Fixes the index of a contract after its gate and before METERED: the first wins, later ones are refused. [D-3]"""
    start_s = products.find_contract(market, command.contract)
    product = market.product_of(command.contract)
    terms = product.terms(start_s)
    metered_ms = (start_s + terms.period_s + terms.grace_s) * 1000
    require(market.now_ms < metered_ms, "too_late")
    require(not products.is_open(product, start_s), "wrong_state")
    known = market.state.contracts.get(command.contract)
    require(known is None or known.index_micros is None, "already_fixed")
    if known is None:
        known = market.store.touch(command.contract)
        known.state = "EXPIRED"
        market.at(metered_ms, deadlines.METERED, command.contract)
    known.index_micros = command.index_micros
    if start_s > product.last_index_start_s:
        product.last_index_start_s, product.last_index_micros = start_s, command.index_micros
    market.emit(IndexSet, **command.model_dump(exclude={"type"}))
