"""The rest of a block after a long outage: its buyer may end it, and owes nothing for the hours whose gate is open.

Whether there was such an outage the meter says, on what is on record now: a stretch of one GPU's time in which nothing
was delivered and nothing was excused.
"""

from collections.abc import Iterable

from schemas.delivery import MeterInterval
from schemas.venue import EndBlock
from services.delivery.domain import DeliveryError
from services.delivery.settings import Settings
from services.delivery.settling import measure_position
from services.delivery.store import Store


class NoOutage(DeliveryError):
    """The block was not interrupted for as long as it takes to end it."""

    code, status = "no_outage", 409


class NothingLeft(DeliveryError):
    """The gates of all the block's hours have passed, or it was ended before."""

    code, status = "gate_closed", 409


class UnknownBlock(DeliveryError):
    """The caller has no such block."""

    code, status = "not_found", 404


async def end_block(store: Store, settings: Settings, block_id: int, account: str, now_ms: int) -> tuple[int, str]:
    """Asks the engine to end what is left of a block; returns the longest outage, and the block's first node.

    Raises UnknownBlock, NothingLeft or NoOutage.
    """
    hours = await store.positions.block_of_buyer(block_id, account)
    if not hours:
        raise UnknownBlock(f"you have no block {block_id}")
    if all(hour.state != "open" for hour in hours):
        raise NothingLeft(f"block {block_id} has no hour left whose gate is open")
    longest_ms = 0
    for hour in hours:
        if hour.start_ms < now_ms and hour.gpus:
            measured = await measure_position(store, settings, hour)
            longest_ms = max(longest_ms, longest_outage_ms(measured.outcome.intervals, now_ms))
    limit_ms = settings.block_outage_ms(hours[0].period_ms)
    if longest_ms < limit_ms:
        raise NoOutage(f"the longest outage of block {block_id} is {longest_ms} ms; from {limit_ms} ms on it may end")
    await store.command(EndBlock(block_id=block_id, account=account, reason="outage"))
    return longest_ms, hours[0].node


def longest_outage_ms(intervals: Iterable[MeterInterval], now_ms: int) -> int:
    """Returns the longest time without delivery of one GPU until now, leaving out what is excused."""
    longest_ms, running_ms, gpu, end_ms = 0, 0, None, None
    for interval in intervals:
        is_out = not interval.conforming and not interval.excused
        goes_on = (interval.gpu, interval.start_ms) == (gpu, end_ms)
        span_ms = max(0, min(interval.end_ms, now_ms) - interval.start_ms)
        running_ms = ((running_ms if goes_on else 0) + span_ms) if is_out else 0
        longest_ms, gpu, end_ms = max(longest_ms, running_ms), interval.gpu, interval.end_ms
    return longest_ms
