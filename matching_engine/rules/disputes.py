"""Disputes: while one is open a settled position does not become final. What comes of it is a revision, or nothing."""

from matching_engine.rules import rulesets, settling
from matching_engine.rules.market import Market
from matching_engine.rules.refusals import require
from schemas.events import DisputeClosed, DisputeOpened
from schemas.venue import CloseDispute, OpenDispute


def open_dispute(market: Market, command: OpenDispute) -> None:
    """Keeps a position from becoming final; one dispute at a time, and none once it was due to be final. [D-11]"""
    require(rulesets.knows_disputes(market), "not_permitted")
    position = settling.find_position(market, command.position_id)
    require(position.revision > 0, "not_settled")
    require(not position.disputed, "already_disputed")
    require(not position.final_due, "too_late")
    position.disputed = True
    market.emit(DisputeOpened, revision=position.revision, **command.model_dump(exclude={"type"}))


def close_dispute(market: Market, command: CloseDispute) -> None:
    """Lets the position become final. What two meters differ about has to be decided by a revision before."""
    require(rulesets.knows_disputes(market), "not_permitted")
    position = settling.find_position(market, command.position_id)
    require(position.disputed, "not_disputed")
    require(not position.held_micros, "difference_held")
    position.disputed = False
    market.emit(DisputeClosed, revision=position.revision, **command.model_dump(exclude={"type"}))
    settling.finalize_if_due(market, position)
