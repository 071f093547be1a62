"""Random logs as Hypothesis draws them: a seed for each move, so that a failing log shrinks to those that matter."""

from hypothesis import strategies as st

from matching_engine.rules import Engine
from schemas.venue import NEWEST_RULESET
from tests.engine.random_log import RandomLog, Record
from tests.engine.small_world import SmallWorld, Vouchers

LOOK_EVERY = 16  # moves


@st.composite
def command_logs(
    draw: st.DrawFn, moves_max: int = 160, worlds: tuple[type[RandomLog], ...] = (SmallWorld, Vouchers)
) -> list[Record]:
    """A whole log under the newest ruleset, from genesis on; the generator looks at what came of it now and then."""
    log = draw(st.sampled_from(worlds))(draw(st.integers(0, 2**16)), NEWEST_RULESET)
    watched, records = Engine(), []
    seeds = draw(st.lists(st.integers(0, 2**64 - 1), min_size=moves_max // 2, max_size=moves_max))
    for place, seed in enumerate(seeds):
        log.move(seed)
        if place % LOOK_EVERY == 0:
            fresh = log.take(0)
            watched.apply(fresh)
            log.look(watched)
            records += fresh
    return records + log.take(0)
