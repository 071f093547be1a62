"""Honest agents by the thousand, with the spread and the mishaps of honest machines: at most one in quarantine.

CI tier (`slow`): 100 of them in half a minute; `./hourbook test zoo --honest 10000` for all.
"""

import asyncio
import json
import sys
from collections import Counter
from dataclasses import asdict

import pytest

from infra.places import REPOSITORY
from tests.integration.delivery.conftest import Venue
from tests.zoo.honest import Crowd

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7_200)]
AT_ONCE, SEED = 16, 12
QUARANTINED_MAX, TOLD_EVERY = 1, 500
LINE_BYTES_MAX, HOUR_MS = 2**27, 3_600_000


async def test_of_ten_thousand_honest_agents_at_most_one_is_quarantined(zoo: Venue, request: pytest.FixtureRequest):
    wanted = request.config.getoption("--honest")
    names = {f"honest-{number}": f"t-honest-{number}" for number in range(1, wanted + 1)}
    await zoo.issue(names)
    tokens = {account.removeprefix("honest-"): await zoo.token(account, name) for account, name in names.items()}
    states: Counter[str] = Counter()
    told: Counter[str] = Counter()
    nodes, lost = [], 0
    zoo.settings = zoo.settings.model_copy(update={"idle_challenge_ms_floor": HOUR_MS})  # none lives that long
    async with zoo.delivery():
        command = (sys.executable, "-m", "tests.zoo.honest")
        crowd = await asyncio.create_subprocess_exec(
            *command, cwd=REPOSITORY, stdin=-1, stdout=-1, limit=LINE_BYTES_MAX
        )
        crowd.stdin.write(json.dumps(asdict(Crowd(zoo.url, tokens, AT_ONCE, SEED))).encode() + b"\n")
        async for line in crowd.stdout:
            life = json.loads(line)
            nodes.append(life["node_id"])
            told.update(life["words"])
            lost += life["lost"]
            if len(nodes) % TOLD_EVERY == 0:
                print(f"{len(nodes)} agents: {dict(told)}", flush=True)
        assert await crowd.wait() == 0
        for node_id in nodes:
            states[await settled_state(zoo, node_id)] += 1
    print(f"{dict(states)}\n{dict(told)}\n{lost} requests or answers were lost")
    quarantined = {state: count for state, count in states.items() if state.startswith("quarantined")}
    assert sum(quarantined.values()) <= QUARANTINED_MAX, quarantined
    assert states.total() == wanted
    assert states["active challenge_passed"] >= 0.99 * wanted, (states, told)


async def settled_state(zoo: Venue, node_id: str) -> str:
    """Returns a node's state and reason once its first proof has been taken."""

    async def known() -> str:
        facts = await zoo.node(node_id)
        return "" if facts["reason"] == "challenge_pending" else f"{facts['state']} {facts['reason']}"

    return await zoo.wait_for(known)
