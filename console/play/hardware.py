"""Used hardware on the board: when the played seller and buyer take their next step, and what they say and ask."""

from dataclasses import dataclass
from random import Random

BOARD_MAX = 4
LIST_ODDS = 0.5
TITLES = (
    "H100 SXM5 80 GB, 14 months of training",
    "H100 SXM5 80 GB, out of a cluster that closed",
    "H100 SXM5 80 GB, two years of inference",
    "H100 SXM5 80 GB, spare of a spare",
)
PRICES_CNY = (168_000, 214_000)
PRICE_STEP_CNY = 500
# Who takes which step in which state, and after how many seconds at the soonest and at the latest.
STEPS = {
    "LISTED": ("buyer", "buy", (40, 240)),
    "FUNDED": ("seller", "ship", (10, 40)),
    "SHIPPED": ("buyer", "receive", (15, 60)),
    "INSPECTING": ("buyer", "accept", (10, 40)),
}
OVER = frozenset({"REFUSED", "RELEASED", "REFUNDED", "WITHDRAWN"})


@dataclass(frozen=True)
class Step:
    """One step of a sale: whose it is, and its name at the listings service."""

    role: str
    name: str


def next_step(state: str, age_s: float, chance: Random) -> Step | None:
    """Returns the step that is due in a state that is `age_s` old; `chance` is the sale's own stream for the state."""
    if state not in STEPS:
        return None
    role, name, (soonest_s, latest_s) = STEPS[state]
    return Step(role, name) if age_s >= chance.uniform(soonest_s, latest_s) else None


def offer_text(chance: Random) -> tuple[str, str]:
    """Returns the title and the price of a new offer, in CNY as the listings service takes it."""
    low, high = PRICES_CNY
    return chance.choice(TITLES), f"{chance.randrange(low, high, PRICE_STEP_CNY)}.00"
