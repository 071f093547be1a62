"""What a product may trade, and when: its daily schedule, size limits, price band, velocity halt and auction."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Model
from schemas.money import PositiveAmount

ProductState = Literal["CLOSED", "AUCTION", "OPEN", "CANCEL_ONLY", "HALTED"]
WidePermille = Annotated[int, Field(ge=0, le=100_000)]
RuleSeconds = Annotated[int, Field(ge=0, le=1_000_000)]


class ScheduledState(Model):
    """From this second of every UTC day on the product is in this state."""

    at_s: Annotated[int, Field(ge=0, le=86_399)]
    state: ProductState


class TradingRules(Model):
    """Rules that count at once for every contract of a product. Zero, null and an empty schedule: no such rule.

    `price_band_permille`: how far a limit may lie from the contract's reference (last index, else its last trade).
    `velocity_permille`: a trade that lies further from any price of the last `velocity_window_s` does not happen; the
    product goes to AUCTION for `velocity_auction_s` instead. `auction_block_rounds`: blocks take part in auctions, and
    prices are found anew so often while one block is rejected at a time, then again as often with all that fail.
    """

    schedule: Annotated[tuple[ScheduledState, ...], Field(max_length=48)] = ()
    max_order_qty: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    max_order_notional_micros: PositiveAmount | None = None
    price_band_permille: WidePermille = 0
    velocity_permille: WidePermille = 0
    velocity_window_s: RuleSeconds = 0
    velocity_auction_s: RuleSeconds = 0
    auction_block_rounds: Annotated[int, Field(ge=0, le=10_000)] = 0
