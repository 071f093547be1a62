"""Every POST that a key signs counts once under an `Idempotency-Key`, over restarts and a lost database, and another
request is refused. What is left out here is in test_rebuilding.
"""

import time
from collections import Counter

from tests.fixtures.delivery import TestNode, gpu_uuid
from tests.fixtures.node_agent import PlayedAgent
from tests.integration.delivery.conftest import Venue, make_database

SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{} mine"
FAR_MS = 4_000_000_000_000


def ssh_key(letter: str) -> str:
    """A public key that is well formed."""
    return SSH_KEY.format(letter * 43)


async def test_f15_every_post_is_carried_out_once_under_its_key_over_restarts(quiet_venue: Venue):
    venue, node, old = quiet_venue, TestNode(seed=5), TestNode(seed=6, gpus=(gpu_uuid(20),))
    path, start_ms = f"/v1/nodes/{node.node_id}", int(time.time() * 1000) + 3_600_000
    digest = {"driver_version": "990.10", "library_sha256": "a" * 64, "source": "the maker's page"}
    audit = {"reason": "visit", "valid_until_ms": FAR_MS}
    window = {"start_ms": start_ms, "end_ms": start_ms + 1_000}
    posts = {
        "/v1/inspections/nonces": ("user", None, None, 201),
        "/v1/ssh-keys": ("user", {"public_key": ssh_key("A")}, {"public_key": ssh_key("B")}, 201),
        "/v1/driver-digests": ("admin", digest, digest | {"source": "a forum"}, 201),
        f"{path}/audits": ("admin", audit, audit | {"reason": "call"}, 200),
        f"{path}/maintenance": ("ops", window, window | {"end_ms": start_ms + 2_000}, 201),
        f"{path}/review": ("admin", {"decision": "ban", "reason": "cheat"}, {"decision": "ban", "reason": "no"}, 200),
        f"/v1/nodes/{old.node_id}/retire": ("ops", {}, {"release_to": "west"}, 200),
    }
    by_nature = {"/v1/inspections/nonces", "/v1/ssh-keys", "/v1/driver-digests"}  # done twice, they are done once
    firsts = {}
    async with venue.delivery():
        clients = {"user": await venue.join("user", "read", "trade"), "admin": await venue.join("boss", "admin")}
        clients["ops"] = await venue.join("ops", "read", "operate")
        for each in (node, old):
            await PlayedAgent(each, venue.http).enrol(await venue.token("ops", f"token-{each.seed}"))

        async def post(where: str, form: dict | None, key: str = "mine"):
            headers = {"Idempotency-Key": f"{key}{where}"} if key else {}
            return await clients[posts[where][0]].post(where, json=form, headers=headers)

        async def is_remembered(where: str) -> None:
            _, form, other, status = posts[where]
            again = await post(where, form)
            assert (again.status_code, again.content) == (status, firsts[where].content), where
            assert again.headers["idempotent-replayed"] == "true", where
            if other is not None:
                refused = await post(where, other)
                assert (refused.status_code, refused.json()["code"]) == (409, "conflict"), where

        for where, (_, form, _, status) in posts.items():
            firsts[where] = await post(where, form)
            assert (firsts[where].status_code, "idempotent-replayed" in firsts[where].headers) == (status, False), where
        review = {"decision": "release", "reason": "looked_again"}
        assert (await post(f"{path}/review", review, "")).json()["state"] == "enrolled"
    async with venue.delivery():
        for where in posts:
            await is_remembered(where)
        assert (await post("/v1/inspections/nonces", None, "")).json() != firsts["/v1/inspections/nonces"].json()
    empty = await make_database(venue.settings.database_url)
    venue.settings = venue.settings.model_copy(update={"database_url": empty})
    async with venue.delivery():
        for where in posts.keys() - by_nature:
            await is_remembered(where)
        answers = {where: await post(where, posts[where][1]) for where in by_nature}
        assert {answer.status_code for answer in answers.values()} == {201}
        assert answers["/v1/driver-digests"].json() == firsts["/v1/driver-digests"].json()
        assert answers["/v1/ssh-keys"].json()["key_id"] == firsts["/v1/ssh-keys"].json()["key_id"]
        assert answers["/v1/inspections/nonces"].json()["nonce"] != firsts["/v1/inspections/nonces"].json()["nonce"]
        assert (await venue.node(node.node_id))["state"] != "banned", "the ban is not carried out again"
    told = Counter(event.type for event in await venue.delivery_events())
    assert (told["driver_digest_added"], told["node_audited"], told["maintenance_declared"]) == (1, 1, 1)
