"""Accounts over HTTP: strangers open their own, administrators open any, and the topic alone keeps them."""

import asyncio

import asyncpg
import httpx

from clients.http import Credentials, new_credentials, open_async_client
from infra.topics import create_topics
from schemas.topics import KEYS_EVENTS
from tests.fixtures.command_log import consume, produce
from tests.fixtures.keys import first_key
from tests.fixtures.servers import delete_topics, wait_led
from tests.integration.gateway.conftest import Trading
from tests.integration.gateway.test_order_entry import bid

TAKEN, NO_NAME = (409, "conflict"), (403, "scope_missing")


def form_of(key: Credentials, account: str, **more: str) -> dict:
    return {"account": account, "public_key": key.public_key, "key_id": account} | more


async def open_account(venue: Trading, key: Credentials, form: dict) -> httpx.Response:
    async with open_async_client(venue.url, key) as client:
        return await client.post("/v1/accounts", json=form)


async def drop_tables(venue: Trading) -> None:
    connection = await asyncpg.connect(venue.settings.database_url)
    await connection.execute("drop schema gateway cascade")
    await connection.close()


async def put_back(kafka: str, records: list[bytes]) -> None:
    """Puts the topic of keys back to an older copy."""
    await delete_topics(kafka, KEYS_EVENTS.name)
    await create_topics(kafka, [KEYS_EVENTS])
    await wait_led(kafka, [KEYS_EVENTS])
    await produce(kafka, KEYS_EVENTS.name, *records)


async def code(answer) -> tuple[int, str]:
    answer = await answer
    return answer.status_code, answer.json().get("code")


async def test_a_stranger_opens_an_account_with_the_key_that_signs_and_goes_on_from_there(venue: Trading):
    key = new_credentials("newcomer")
    opened = await open_account(venue, key, form_of(key, "newcomer"))
    again = await open_account(venue, key, form_of(key, "newcomer"))
    assert (opened.status_code, again.status_code) == (201, 200)
    assert opened.json() == again.json() | {"account": "newcomer", "key_id": "newcomer"}
    assert "location" not in opened.headers, "there is no route that reads an account"
    second = new_credentials("newcomer-2")
    form = {"account": "newcomer", "public_key": second.public_key, "key_id": "newcomer-2"}
    async with open_async_client(venue.url, key) as client, open_async_client(venue.url, second) as other:
        assert (await client.get("/v1/balances")).json()["items"] == []
        refused = await client.post("/v1/orders", json=bid(1, "1.00"))
        assert (refused.status_code, refused.json()["code"]) == (422, "insufficient_funds")
        assert await code(client.post("/v1/keys", json=form | {"scopes": ["read", "withdraw"]})) == NO_NAME
        assert (await client.post("/v1/keys", json=form | {"scopes": ["read", "trade"]})).status_code == 201
        assert (await other.delete("/v1/keys/newcomer")).json()["revoked"] is True
        assert await code(client.get("/v1/balances")) == (401, "unknown_key")
        keys = (await other.get("/v1/keys")).json()["items"]
    assert [(row["key_id"], row["revoked"]) for row in keys] == [("newcomer", True), ("newcomer-2", False)]


async def test_no_stranger_gets_an_account_that_is_not_his_to_open(venue: Trading):
    alice = await venue.join("alice", "read", "trade")
    await venue.admin.post("/v1/accounts", json={"account": "keyless"})
    key, other = new_credentials("eve"), new_credentials("eve")
    plain = Credentials("eve", key.private_key)
    asked = {
        "an account with keys": open_account(venue, Credentials("alice", key.private_key), form_of(key, "alice")),
        "one without": open_account(venue, Credentials("keyless", key.private_key), form_of(key, "keyless")),
        "the venue's": open_account(venue, Credentials("venue-fees", key.private_key), form_of(key, "venue-fees")),
        "another id": open_account(venue, plain, form_of(key, "eve", key_id="admin-2")),
        "more than a first key may": open_account(venue, plain, form_of(key, "eve", scopes="admin")),
        "with another's public key": open_account(venue, plain, form_of(other, "eve")),
        "signed by alice": alice.post("/v1/accounts", json=form_of(key, "eve")),
        "without a key": open_account(venue, plain, {"account": "eve"}),
        "by alice for others": alice.post("/v1/accounts", json={"account": "eve"}),
    }
    assert {what: await code(answer) for what, answer in asked.items()} == {
        "an account with keys": TAKEN,
        "one without": TAKEN,
        "the venue's": NO_NAME,
        "another id": NO_NAME,
        "more than a first key may": (400, "malformed_request"),
        "with another's public key": (401, "bad_request_signature"),
        "signed by alice": (401, "bad_request_signature"),
        "without a key": (401, "unknown_key"),
        "by alice for others": NO_NAME,
    }
    async with open_async_client(venue.url, plain) as client:
        assert await code(client.get("/v1/balances")) == (401, "unknown_key")


async def test_one_of_many_who_want_a_name_at_once_has_it(venue: Trading):
    keys = [new_credentials("popular") for _ in range(8)]
    answers = await asyncio.gather(*(code(open_account(venue, key, form_of(key, "popular"))) for key in keys))
    assert sorted(answers, key=str) == [(201, None)] + [TAKEN] * 7
    winner = keys[answers.index((201, None))]
    async with open_async_client(venue.url, winner) as client:
        assert (await client.get("/v1/balances")).status_code == 200
    told = await venue.admin.post("/v1/accounts", json={"account": "popular"})
    assert (told.status_code, told.json()["code"]) == TAKEN, "the administrator learns that it is somebody's"


async def test_a_request_that_opens_an_account_counts_once_and_fresh(venue: Trading):
    key = new_credentials("replayed")
    proof = first_key(key, "replayed").proof
    headers = key.sign("POST", "/v1/accounts", body=proof.body.encode())
    answers = []
    async with httpx.AsyncClient(base_url=venue.url) as client:
        for _ in range(2):
            answer = client.post(
                "/v1/accounts", content=proof.body, headers=headers | {"Content-Type": "application/json"}
            )
            answers.append(await code(answer))
    assert answers == [(201, None), (401, "nonce_used")]


async def test_an_address_and_the_venue_open_so_many_accounts_and_a_closed_venue_none(quiet_venue: Trading):
    bounds = {"sign_ups_per_hour": 3, "sign_ups_per_hour_of_all": 100}
    venue, names = quiet_venue, ("one", "two", "three")
    keys = {name: new_credentials(name) for name in names}
    venue.settings = venue.settings.model_copy(update=bounds)
    async with venue.matching(), venue.gateway():
        thief = new_credentials("venue")
        assert await code(open_account(venue, thief, form_of(thief, "venue"))) == NO_NAME, "which costs an attempt"
        first = [await code(open_account(venue, key, form_of(key, name))) for name, key in keys.items()]
    venue.settings = venue.settings.model_copy(update=bounds | {"open_sign_up": False})
    async with venue.matching(), venue.gateway():
        closed = await open_account(venue, keys["three"], form_of(keys["three"], "three"))
        assert (await venue.admin.post("/v1/accounts", json={"account": "three"})).status_code == 201
        async with open_async_client(venue.url, keys["one"]) as client:
            assert (await client.get("/v1/balances")).status_code == 200, "what is open stays open"
    venue.settings = venue.settings.model_copy(update={"sign_ups_per_hour_of_all": 1, "open_sign_up": True})
    async with venue.matching(), venue.gateway():
        late = {name: new_credentials(name) for name in ("taken-too-late", "refused")}
        of_all = [await code(open_account(venue, key, form_of(key, name))) for name, key in late.items()]
    assert of_all == [(201, None), (429, "too_many_requests")]
    assert first == [(201, None), (201, None), (429, "too_many_requests")]
    assert (closed.status_code, closed.json()["code"]) == (403, "sign_up_closed")
    assert closed.json()["detail"] == "this venue opens accounts by its administrator alone"


async def test_nothing_revives_a_key_when_the_topic_is_an_older_copy_or_the_tables_are_lost(quiet_venue: Trading):
    venue, newcomer, kafka = quiet_venue, new_credentials("newcomer"), quiet_venue.settings.kafka
    async with venue.matching(), venue.gateway():
        alice = await venue.join("alice", "read")
        older = len(await consume(kafka, KEYS_EVENTS.name))
        assert (await venue.admin.delete("/v1/keys/key-alice")).json()["revoked"] is True
        assert len(await consume(kafka, KEYS_EVENTS.name)) == older + 1, "what is answered is on the topic"
        assert (await open_account(venue, newcomer, form_of(newcomer, "newcomer"))).status_code == 201
        await venue.admin.post("/v1/accounts", json={"account": "keyless"})
        whole = await consume(kafka, KEYS_EVENTS.name)
    await put_back(kafka, whole[:older])
    async with venue.matching(), venue.gateway(), open_async_client(venue.url, newcomer) as client:
        assert await code(alice.get("/v1/keys")) == (401, "unknown_key")
        assert (await client.get("/v1/keys")).status_code == 200
        assert (await venue.admin.post("/v1/accounts", json={"account": "keyless"})).status_code == 200
    assert await consume(kafka, KEYS_EVENTS.name) == whole, "for every reader"
    await drop_tables(venue)
    for _ in range(2):  # once from the topic, which fills the copy again
        async with venue.matching(), venue.gateway():
            assert await code(alice.get("/v1/keys")) == (401, "unknown_key")
    connection = await asyncpg.connect(venue.settings.database_url)
    kept = [row["record"] for row in await connection.fetch("select record from gateway.key_records order by number")]
    await connection.close()
    assert kept == whole


async def test_a_key_that_ended_since_a_backup_stays_ended_where_both_stores_are_put_back(quiet_venue: Trading):
    venue, newcomer, kafka = quiet_venue, new_credentials("newcomer"), quiet_venue.settings.kafka
    async with venue.matching(), venue.gateway():
        alice = await venue.join("alice", "read")
        older = await consume(kafka, KEYS_EVENTS.name)
        assert (await venue.admin.delete("/v1/keys/key-alice")).json()["revoked"] is True
        assert (await open_account(venue, newcomer, form_of(newcomer, "newcomer"))).status_code == 201
        whole = await consume(kafka, KEYS_EVENTS.name)
    await put_back(kafka, older)
    await drop_tables(venue)
    async with venue.matching(), venue.gateway(), open_async_client(venue.url, newcomer) as client:
        assert await code(alice.get("/v1/keys")) == (401, "unknown_key")
        assert (await client.get("/v1/keys")).status_code == 200
    assert await consume(kafka, KEYS_EVENTS.name) == whole, "for every reader"


async def test_accounts_with_keys_and_without_are_there_again_when_the_tables_are_lost(quiet_venue: Trading):
    venue, key = quiet_venue, new_credentials("newcomer")
    async with venue.matching(), venue.gateway():
        await venue.join("alice", "read")
        await venue.admin.post("/v1/accounts", json={"account": "keyless"})
        opened = (await open_account(venue, key, form_of(key, "newcomer"))).json()
        made = {
            name: (await venue.admin.post("/v1/accounts", json={"account": name})).json()
            for name in ("alice", "keyless")
        }
    await drop_tables(venue)
    async with venue.matching(), venue.gateway():
        for name, view in made.items():
            again = await venue.admin.post("/v1/accounts", json={"account": name})
            assert (again.status_code, again.json()) == (200, view)
        late = new_credentials("late")
        form = {"account": "keyless", "public_key": late.public_key, "key_id": "late", "scopes": ["read"]}
        assert (await venue.admin.post("/v1/keys", json=form)).status_code == 201
        again = await open_account(venue, key, form_of(key, "newcomer"))
        assert (again.status_code, again.json()) == (200, opened)
        thief = new_credentials("keyless")
        assert await code(open_account(venue, thief, form_of(thief, "keyless"))) == TAKEN


async def test_what_was_asked_under_a_key_is_known_when_the_tables_are_lost_and_the_key_has_ended(quiet_venue: Trading):
    venue, own, other = quiet_venue, new_credentials("own"), new_credentials("other")
    form = {"account": "alice", "public_key": own.public_key, "key_id": "own", "scopes": ["read"]}
    async with venue.matching(), venue.gateway():
        alice = await venue.join("alice", "read", "operate", "trade")
        asked = {
            "/v1/keys": (alice, form, form | {"public_key": other.public_key}),
            "/v1/enrolment-tokens": (alice, {"nodes": 2}, {"nodes": 3}),
            "/v1/accounts": (venue.admin, {"account": "keyless"}, {"account": "another"}),
        }

        async def post(path: str, place: int) -> httpx.Response:
            client, *forms = asked[path]
            return await client.post(path, json=forms[place], headers={"Idempotency-Key": f"once{path}"})

        firsts = {path: await post(path, 0) for path in asked}
        assert {answer.status_code for answer in firsts.values()} == {201}
        assert (await alice.delete("/v1/keys/own")).status_code == 200

        async def are_known() -> None:
            for path, first in firsts.items():
                again = await post(path, 0)
                assert (again.json(), again.headers["idempotent-replayed"]) == (first.json(), "true"), path
                assert await code(post(path, 1)) == (409, "conflict"), path

        await are_known()
    await drop_tables(venue)
    async with venue.matching(), venue.gateway():
        await are_known()
        listed = {key["key_id"]: key["revoked"] for key in (await alice.get("/v1/keys")).json()["items"]}
    assert listed == {"key-alice": False, "own": True}
