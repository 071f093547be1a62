"""Every kind of random log by its name: what drives the engines, the oracle and the hunts for seeded bugs."""

from tests.engine.all_kinds import AllKinds
from tests.engine.clockwork import Clockwork
from tests.engine.flavours import (
    BlockAuctions,
    ChangingStates,
    Conditions,
    DeadCancels,
    Dust,
    Haste,
    ShrinkingNodes,
    Storm,
    Supply,
    Ties,
)
from tests.engine.random_log import RandomLog
from tests.engine.small_world import SmallWorld, Vouchers

LOGS: dict[str, type[RandomLog]] = {
    "all kinds": AllKinds,
    "block auctions": BlockAuctions,
    "clockwork": Clockwork,
    "small world": SmallWorld,
    "vouchers": Vouchers,
    "everything": RandomLog,
    "ties": Ties,
    "dust": Dust,
    "storm": Storm,
    "dead cancels": DeadCancels,
    "shrinking nodes": ShrinkingNodes,
    "supply": Supply,
    "changing states": ChangingStates,
    "haste": Haste,
    "conditions": Conditions,
}
