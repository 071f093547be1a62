"""Which requests a node pays for, and with how many at once; what is read of a message that it cannot pay for."""

import asyncio

import pytest

from services.delivery.node_guard import NodeGuard, sender_of
from services.delivery.settings import Settings

RATES = {"node_reports_per_s": 3, "node_messages_per_s": 3, "account_reports_per_s": 5, "node_burst_s": 1.0}
ATTACKER, HONEST = "192.0.2.1", "192.0.2.2"


class Asked:
    """A guard before an application that answers `status`, and counts how often it was asked."""

    def __init__(self, **changes):
        self.guard = NodeGuard(self._app, Settings(**RATES | changes))
        self.guard._accounts.update({"n-1": "acc", "n-2": "acc", "n-3": "other"})
        self.status, self.served, self.goes_on = 200, 0, asyncio.Event()
        self.goes_on.set()

    async def _app(self, scope, receive, send) -> None:
        self.served += 1
        await self.goes_on.wait()
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def ask(self, path: str, address: str = HONEST) -> int:
        told = []

        async def receive():
            raise AssertionError("nothing is read of it")

        async def send(message):
            told.append(message)

        scope = {"type": "http", "method": "POST", "path": path, "client": (address, 1), "headers": []}
        await self.guard(scope, receive, send)
        return told[0]["status"]

    async def times(self, count: int, path: str) -> list[int]:
        return [await self.ask(path) for _ in range(count)]


async def test_a_node_pays_for_what_its_key_proves_and_for_nothing_else():
    asked = Asked()
    for asked.status in (400, 401, 403, 404, 413, 503):
        assert await asked.times(5, "/v1/nodes/n-3/reports") == [asked.status] * 5
    asked.status = 409
    assert await asked.times(5, "/v1/nodes/n-3/reports") == [409] * 3 + [429] * 2
    asked.status = 200
    assert await asked.times(5, "/v1/nodes/n-3/challenges/c/open") == [200] * 3 + [429] * 2
    assert asked.served == 6 * 5 + 3 + 3


async def test_nodes_of_one_account_pay_together_and_others_are_served():
    asked = Asked()
    assert await asked.times(3, "/v1/nodes/n-1/reports") == [200] * 3
    assert await asked.times(3, "/v1/nodes/n-2/reports") == [200] * 2 + [429]
    assert await asked.times(3, "/v1/nodes/n-3/reports") == [200] * 3


async def test_so_many_requests_of_a_node_are_under_way_from_one_address():
    asked = Asked(node_requests_at_once_max=16)
    asked.goes_on.clear()
    under_way = [asyncio.create_task(asked.ask("/v1/nodes/n-1/challenges/next", ATTACKER)) for _ in range(20)]
    await asyncio.sleep(0)
    elsewhere = asyncio.create_task(asked.ask("/v1/nodes/n-1/reports"))
    await asyncio.sleep(0)
    asked.goes_on.set()
    assert sorted(await asyncio.gather(*under_way)) == [200] * 16 + [429] * 4
    assert await elsewhere == 200, "whoever takes all places of a node elsewhere takes none of its own"


@pytest.mark.parametrize(
    ("path", "sender"),
    [
        ("/v1/nodes/n/reports", "n"),
        ("/v1/nodes/n/leases/l", "n"),
        ("/v1/nodes/n/challenges/c/open", "n"),
        ("/v1/nodes/n/signed-recalls", "n"),
        ("/v1/nodes/n/retire", None),
        ("/v1/nodes/n", None),
        ("/v1/nodes", None),
        ("/v1/inspections", None),
    ],
)
def test_what_a_nodes_key_signs_is_told_from_what_its_operator_or_nobody_signs(path, sender):
    assert sender_of({"type": "http", "method": "POST", "path": path}) == sender
    assert sender_of({"type": "http", "method": "GET", "path": path}) is None
