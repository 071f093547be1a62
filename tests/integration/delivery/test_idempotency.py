"""Every POST that a key signs counts once under an `Idempotency-Key`, over restarts, and another request is refused."""

from collections import Counter

from tests.fixtures.delivery import TestNode
from tests.fixtures.node_agent import PlayedAgent
from tests.integration.delivery.conftest import Venue

SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{} mine"
FAR_MS = 4_000_000_000_000


def ssh_key(letter: str) -> str:
    """A public key that is well formed."""
    return SSH_KEY.format(letter * 43)


async def test_f15_every_post_is_carried_out_once_under_its_key_over_restarts(quiet_venue: Venue):
    venue, node = quiet_venue, TestNode(seed=5)
    path = f"/v1/nodes/{node.node_id}"
    digest = {"driver_version": "990.10", "library_sha256": "a" * 64, "source": "the maker's page"}
    audit = {"reason": "visit", "valid_until_ms": FAR_MS}
    posts = {
        "/v1/inspections/nonces": ("user", None, None, 201),
        "/v1/ssh-keys": ("user", {"public_key": ssh_key("A")}, {"public_key": ssh_key("B")}, 201),
        "/v1/driver-digests": ("admin", digest, digest | {"source": "a forum"}, 201),
        f"{path}/audits": ("admin", audit, audit | {"reason": "call"}, 200),
        f"{path}/review": ("admin", {"decision": "ban", "reason": "cheat"}, {"decision": "ban", "reason": "no"}, 200),
    }
    firsts = {}
    async with venue.delivery():
        clients = {"user": await venue.join("user", "read", "trade"), "admin": await venue.join("boss", "admin")}
        await PlayedAgent(node, venue.http).enrol(await venue.token("ops", "token-5"))

        async def post(where: str, form: dict | None, key: str = "mine"):
            headers = {"Idempotency-Key": f"{key}{where}"} if key else {}
            return await clients[posts[where][0]].post(where, json=form, headers=headers)

        for where, (_, form, _, status) in posts.items():
            firsts[where] = await post(where, form)
            assert (firsts[where].status_code, "idempotent-replayed" in firsts[where].headers) == (status, False), where
    async with venue.delivery():
        for where, (_, form, other, status) in posts.items():
            again = await post(where, form)
            assert (again.status_code, again.content) == (status, firsts[where].content), where
            assert again.headers["idempotent-replayed"] == "true", where
            if other is not None:
                refused = await post(where, other)
                assert (refused.status_code, refused.json()["code"]) == (409, "conflict"), where
        assert (await post("/v1/inspections/nonces", None, "")).json() != firsts["/v1/inspections/nonces"].json()
    told = Counter(event.type for event in await venue.delivery_events())
    assert (told["driver_digest_added"], told["node_audited"]) == (1, 1)
