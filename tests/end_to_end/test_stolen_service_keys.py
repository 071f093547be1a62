"""A running exchange attacked by who stole a service's private key and its logins, and by a local stranger without any.

CI tier (`slow`), a minute: an exchange of its own, with a real agent and an honest trader who go on all the while.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import ClusterAuthorizationFailedError, KafkaConnectionError, TopicAuthorizationFailedError

from clients import trading
from clients.actors import Actor, Registry
from clients.http import Credentials, new_credentials, open_client, result_of
from clients.trading import book_of, open_periods
from console.demo.checks import replay, run_checks
from console.demo.sites import AgentSite
from infra.database import role_of
from infra.exchange import RunningExchange
from infra.kafka_clients import started
from infra.reference.products import Timing
from schemas.accounts import ALL_SCOPES, ROOT, ApiKeySet, NodeKeyProof
from schemas.events import EVENT
from schemas.nodes import node_id_of
from schemas.rest import KeyForm
from schemas.signing import batch_text, node_key_text
from schemas.topics import COMMANDS, DELIVERY_EVENTS, EVENTS, KEYS_EVENTS, LISTINGS_EVENTS, METER_REPORTS, Topic
from schemas.venue import Credit, Privileged
from services.kit.kafka import login_options
from services.kit.key_requests import key_of, node_key
from services.kit.keys import load_private_key, sign_hex
from tests.end_to_end.test_the_whole_exchange import wait_for
from tests.fixtures.command_log import consume, produce
from tests.fixtures.delivery import TestNode, gpu_uuid, signed_token
from tests.fixtures.exchange import open_market
from tests.fixtures.keys import ended_key, first_key, issued, new_key

PERIOD_S = 10
PRODUCT, PRICE = "H100SXM80.CNE.F", "12.84"
FAR_MS = 4_000_000_000_000
UNKNOWN, FORGED, NO_TOKEN = "401 unknown_key", "401 bad_request_signature", "403 enrolment_token_refused"
REFUSED_BY_KAFKA = (TopicAuthorizationFailedError, ClusterAuthorizationFailedError, KafkaConnectionError)
# What each service shows to whoever signs with a key that reads.
READS = {"gateway": "/v1/keys", "ledger": "/v1/statements", "delivery": "/v1/receipts", "listings": "/v1/sales/1"}
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Venue:
    """A running exchange, its administrator, an operator with a site, and a trader."""

    exchange: RunningExchange
    registry: Registry
    operator: Actor
    trader: Actor
    site: AgentSite

    def ask(self, service: str, who: Credentials | None, method: str, path: str, **form) -> str:
        """Returns an answer's status and the code of its problem."""
        with open_client(self.exchange.addresses[service], who) as client:
            answer = client.request(method, path, **form)
        return f"{answer.status_code} {answer.json().get('code', '') if answer.content else ''}".strip()

    def buy(self, name: str) -> dict:
        """The trader buys a GPU of the site in the next period that can be had."""

        def offered() -> str | None:
            periods = open_periods(self.trader, PRODUCT, gate_in_s=3)
            return next((each.contract for each in periods if book_of(self.trader, each.contract)["asks"]), None)

        contract = wait_for("an ask of the agent", offered)
        return trading.place(self.trader, name, contract=contract, side="buy", qty=1, price="13.00")["order"]

    def tell_all(self, name: str) -> None:
        """Returns when each service has read the topic of keys up to now: an honest key is known everywhere."""
        marker = self.registry.open_account(name).credentials
        for service, path in READS.items():
            wait_for(service, lambda s=service, p=path: "401" not in self.ask(s, marker, "GET", p))


@dataclass(frozen=True)
class Thief:
    """Who has a service's private key, its login at Kafka, and its role and password at PostgreSQL."""

    service: str
    exchange: RunningExchange

    @property
    def keys(self) -> Path:
        return self.exchange.data / "keys"

    def as_key(self, key_id: str) -> Credentials:
        """The service's key under the id of somebody else's."""
        return Credentials(key_id, load_private_key(self.keys, self.service))

    def write(self, topic: Topic, *records: bytes) -> str:
        """Writes to a topic with the service's login."""
        login = login_options(self.exchange.addresses["kafka"], self.keys, self.service)
        try:
            asyncio.run(produce(self.exchange.addresses["kafka"], topic.name, *records, **login))
        except REFUSED_BY_KAFKA:
            return "refused"
        return "written"

    def query(self, statement: str) -> str:
        """Asks PostgreSQL as the service's role."""

        async def ask() -> None:
            password = (self.keys / self.service / "postgres.password").read_text().strip()
            place = self.exchange.addresses["postgres"]
            url = f"postgresql://{role_of(self.service)}:{password}@{place}"
            connection = await asyncpg.connect(url)
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        try:
            asyncio.run(ask())
        except asyncpg.InsufficientPrivilegeError:
            return "refused"
        return "done"

    def credit(self, source: str, number: int) -> bytes:
        """A batch that credits eve, in a service's name."""
        command = Credit(transfer_id=f"minted-by-{self.service}", account="eve", asset="CNY", amount_micros=10**12)
        array = b"[" + command.canonical() + b"]"
        signature = sign_hex(load_private_key(self.keys, self.service), batch_text(source, number, array))
        return Privileged(source=source, number=number, commands=(command,), signature=signature).canonical()

    def token(self, account: str, token_id: str, expires_ms: int, nodes: int) -> str:
        """An enrolment token that is signed with the service's key."""
        signed = signed_token(load_private_key(self.keys, self.service), account, token_id, expires_ms, nodes)
        return signed.canonical().decode()


@pytest.fixture(scope="module")
def venue(servers_folder: Path) -> Iterator[Venue]:
    with open_market(servers_folder / "stolen-keys", Timing.sandbox(PERIOD_S)) as (exchange, registry, sites):
        operator = registry.open_account("operator", "operate", CNY="1000.00")
        trader = registry.open_account("trader", "trade", CNY="1000.00")
        site = sites.start_agent(operator, "site", {"hub": "CNE", "periods_ahead": 12, "price": {"floor": PRICE}}, 2)
        yield Venue(exchange, registry, operator, trader, site)


def enrol(venue: Venue, seed: int, token: str) -> str:
    """Lets a node of a thief's come with a token."""
    node = TestNode(seed=seed, gpus=(gpu_uuid(seed),))
    with httpx.Client(base_url=venue.exchange.addresses["delivery"], timeout=30) as client:
        answer = client.post("/v1/nodes", content=node.enrolment(token).canonical())
    return f"{answer.status_code} {answer.json().get('code', '')}".strip()


def forged_keys(venue: Venue, thief: Thief) -> dict[str, tuple[Credentials, ApiKeySet]]:
    """Keys that a thief would have the services believe: what signs with each, and its record."""
    made = {what: new_credentials(f"minted-{place}") for place, what in enumerate(("trader", "admin", "node", "fresh"))}
    trader = Credentials("trader", made["trader"].private_key)
    fresh = Credentials("fresh", made["fresh"].private_key)
    node = Credentials(node_id_of(made["node"].public_key), made["node"].private_key)
    stolen = issued(thief.as_key("key-operator"), "operator", "stolen", FAR_MS, nodes=9)
    proof = NodeKeyProof(
        token_id=stolen.token_id,
        signature=sign_hex(node.private_key, node_key_text(stolen.token_id, node.public_key)),
    )
    return {
        "of the trader, as the trader's key": (
            made["trader"],
            new_key(thief.as_key("key-trader"), "trader", made["trader"], "read", "trade", "withdraw"),
        ),
        "of an administrator, as root": (
            made["admin"],
            new_key(thief.as_key(ROOT), "venue-admin", made["admin"], *ALL_SCOPES),
        ),
        "as the trader's account's first": (trader, first_key(trader, "trader")),
        "as a new account's first, which administers": (
            fresh,
            first_key(fresh, "fresh").model_copy(update={"scopes": ("read", "trade", "admin")}),
        ),
        "of a node of the operator's": (
            node,
            node_key("operator", node.public_key).model_copy(update={"proof": proof}),
        ),
    }


def attack_keys(venue: Venue, thief: Thief, forged: dict[str, tuple[Credentials, ApiKeySet]]) -> dict[str, set[str]]:
    """Writes forged keys, ends and a token; returns what each service answers to the keys when it has read them."""
    trader = venue.trader.credentials
    known = key_of(
        KeyForm(account="trader", public_key=trader.public_key, scopes=("read", "trade"), key_id=trader.key_id)
    )
    other = new_credentials(trader.key_id)
    records = [
        issued(thief.as_key("key-operator"), "operator", "stolen", FAR_MS, nodes=9),
        *(record for _, record in forged.values()),
        ended_key(thief.as_key("admin"), known),
        known.model_copy(update={"public_key": other.public_key}),
    ]
    assert thief.write(KEYS_EVENTS, *(record.canonical() for record in records)) == "written"
    venue.tell_all(f"told-{thief.service}")
    forged = forged | {"under the trader's key's id": (other, known)}
    return {
        what: {venue.ask(service, who, "GET", path) for service, path in READS.items()}
        for what, (who, _) in forged.items()
    }


def rejections(venue: Venue) -> tuple[set[tuple[str, str]], list[str]]:
    """What the engine refused of whose batches, and whom it credited."""

    async def read() -> list[bytes]:
        return await consume(venue.exchange.addresses["kafka"], EVENTS.name, **venue.exchange.kafka_options())

    events = [EVENT.validate_json(value) for value in asyncio.run(read())]
    refused = {(e.source, e.code) for e in events if e.type in ("record_rejected", "command_rejected")}
    return refused, sorted({event.account for event in events if event.type == "credited"})


def test_a_stolen_key_of_a_service_gives_nobody_elses_money_keys_or_nodes_and_honest_trade_goes_on(venue: Venue):
    gateway, delivery = Thief("gateway", venue.exchange), Thief("delivery", venue.exchange)
    assert venue.buy("before")["status"] == "filled"
    honest = result_of(venue.operator.gateway.post("/v1/enrolment-tokens", json={}))

    forged = forged_keys(venue, gateway)
    answers = attack_keys(venue, gateway, forged)
    assert answers == {what: {UNKNOWN} for what in answers} | {"under the trader's key's id": {FORGED}}
    minted, _ = forged["of an administrator, as root"]
    form = {"account": "trader", "asset": "CNY", "amount": "1000000.00"}
    assert venue.ask("ledger", minted, "POST", "/v1/deposits", json=form) == UNKNOWN
    assert enrol(venue, 31, gateway.token("operator", "enrol-minted", FAR_MS, 1)) == NO_TOKEN
    assert enrol(venue, 32, gateway.token("operator", honest["token_id"], honest["expires_ms"], 9)) == NO_TOKEN
    assert enrol(venue, 33, gateway.token("trader", honest["token_id"], honest["expires_ms"], 1)) == NO_TOKEN
    assert enrol(venue, 34, delivery.token("operator", honest["token_id"], honest["expires_ms"], 1)) == NO_TOKEN

    assert gateway.write(COMMANDS, gateway.credit("ledger", 1), gateway.credit("gateway", 1)) == "written"
    assert delivery.write(COMMANDS, delivery.credit("ledger", 1), delivery.credit("matching", 1)) == "written"
    others = {gateway: (EVENTS, DELIVERY_EVENTS, METER_REPORTS, LISTINGS_EVENTS)}
    others |= {delivery: (EVENTS, KEYS_EVENTS, LISTINGS_EVENTS)}
    written = {
        (thief.service, each.name): thief.write(each, b"{}") for thief, topics in others.items() for each in topics
    }
    assert set(written.values()) == {"refused"}, written
    tries = [(thief, schema) for thief in (gateway, delivery) for schema in ("ledger", "listings", "market_data")]
    tries += [(gateway, "delivery"), (delivery, "gateway")]
    read = {(thief.service, schema): thief.query(f"select * from {schema}.outbox") for thief, schema in tries}
    become = {thief.service: thief.query(f"set role {role_of('ledger')}") for thief in (gateway, delivery)}
    assert set((read | become).values()) == {"refused"}, read | become

    assert venue.buy("after")["status"] == "filled"
    refused, credited = rejections(venue)
    assert refused >= {("ledger", "bad_signature"), ("gateway", "not_permitted"), ("matching", "bad_signature")}
    assert credited == ["operator", "trader"]
    assert [node["node"] for node in result_of(venue.operator.delivery.get("/v1/nodes"))["items"]] == [
        venue.site.node_id
    ]
    keys = result_of(venue.registry.admin.gateway.get("/v1/keys", params={"account": "trader"}))["items"]
    assert [(key["key_id"], key["revoked"]) for key in keys] == [("key-trader", False)]
    replayed = replay(venue.exchange.environment)
    ledger = venue.registry.admin.ledger
    wait_for("the ledger", lambda: result_of(ledger.get("/v1/ledger/trial-balance"))["seq"] >= replayed["seq"])
    checks = run_checks(venue.registry.admin, replayed, result_of(ledger.get("/v1/ledger/trial-balance")))
    assert {check.name: check.held for check in checks} == dict.fromkeys((check.name for check in checks), True)


def test_a_local_stranger_without_any_key_reaches_nothing(venue: Venue):
    stranger, place = new_credentials("stranger"), venue.exchange.addresses
    as_trader = Credentials("trader", stranger.private_key)
    deposit = {"account": "trader", "asset": "CNY", "amount": "1.00"}
    first = {"account": "trader", "public_key": stranger.public_key, "key_id": "trader"}
    token = signed_token(stranger.private_key, "operator", "enrol-forged", FAR_MS).canonical().decode()

    async def log_in_to_kafka() -> str:
        with suppress(KafkaConnectionError):
            async with started(AIOKafkaConsumer(bootstrap_servers=place["kafka"], request_timeout_ms=3_000)):
                return "done"
        return "refused"

    async def log_in_to_postgres() -> str:
        with suppress(asyncpg.InvalidPasswordError):
            await asyncpg.connect(f"postgresql://{role_of('ledger')}:guess@{place['postgres']}")
            return "done"
        return "refused"

    done = {
        "a deposit that nobody signed": venue.ask("ledger", None, "POST", "/v1/deposits", json=deposit),
        "a deposit": venue.ask("ledger", stranger, "POST", "/v1/deposits", json=deposit),
        "the trader's account": venue.ask("gateway", as_trader, "POST", "/v1/accounts", json=first),
        "a node of the operator's": enrol(venue, 41, token),
        "Kafka": asyncio.run(log_in_to_kafka()),
        "PostgreSQL": asyncio.run(log_in_to_postgres()),
        "the public login": json.loads((venue.exchange.data / "run" / "exchange.json").read_text())["public"]["user"],
    }
    assert done == {
        "a deposit that nobody signed": "401 unsigned_request",
        "a deposit": UNKNOWN,
        "the trader's account": "409 conflict",
        "a node of the operator's": NO_TOKEN,
        "Kafka": "refused",
        "PostgreSQL": "refused",
        "the public login": "public",
    }
    assert venue.buy("undisturbed")["status"] == "filled"
