"""Whatever the engine says, every view takes it, survives restarts, and holds what the engine holds.

`python -m tests.property.services.followers --inputs N` goes on for N events.
"""

import pytest

from tests.engine.all_kinds import AllKinds
from tests.engine.random_log import RandomLog
from tests.property.services.followers import follow

EVENTS = 1_200


@pytest.mark.parametrize("kind", [AllKinds, RandomLog])
@pytest.mark.parametrize("seed", range(2))
def test_every_view_holds_what_the_engine_holds(kind, seed):
    assert follow(kind(seed), EVENTS, seed) >= EVENTS
