"""Records of keys: what a directory believes, whoever wrote them, and what it passes over."""

import asyncio
import json

import pytest

from clients.http import Credentials, new_credentials
from matching_engine.rules.money import RESERVED
from schemas.accounts import ALL_SCOPES, ApiKeySet, EnrolmentTokenIssued, NodeKeyProof
from schemas.nodes import node_id_of
from schemas.signing import node_key_text
from services.kit.key_directory import KeyDirectory
from services.kit.key_requests import UnprovenRecord, issued_token, node_key
from services.ledger.domain import EXTERNAL, IN_TRANSIT, ISSUED
from tests.fixtures.keys import ended_key, first_key, new_key, opened_account, revoked_token, signed_request

ROOT, ADMIN, ALICE, BOB = map(new_credentials, ("root", "admin", "alice", "bob"))
NODE, OTHER_NODE = new_credentials("node"), new_credentials("other")


def token_of(signer: Credentials, account: str, nodes: int = 1) -> EnrolmentTokenIssued:
    body = json.dumps({"nodes": nodes})
    return issued_token(signed_request(signer, "POST", "/v1/enrolment-tokens", "", body), account)


def key_by_token(token: EnrolmentTokenIssued, node: Credentials) -> ApiKeySet:
    signature = node.private_key.sign(node_key_text(token.token_id, node.public_key)).hex()
    proof = NodeKeyProof(token_id=token.token_id, signature=signature)
    return node_key(token.account, node.public_key).model_copy(update={"proof": proof})


@pytest.fixture
def directory() -> KeyDirectory:
    """One that knows an administrator, alice who trades and operates, and bob who reads."""
    made = KeyDirectory(ROOT.public_key)
    assert made.take(new_key(ROOT, "venue-admin", ADMIN, "read", "admin"))
    assert made.take(new_key(ADMIN, "alice", ALICE, "read", "trade", "operate"))
    assert made.take(new_key(ADMIN, "bob", BOB, "read"))
    return made


def test_an_accounts_own_key_gives_keys_that_reach_no_further(directory):
    assert directory.take(new_key(ALICE, "alice", new_credentials("a2"), "read"))
    assert directory.take(new_key(ALICE, "alice", new_credentials("a3"), "trade", expires="2030-01-01T00:00:00Z"))
    assert [key.key_id for key in directory.keys_of("alice")] == ["a2", "a3", "alice"]


@pytest.mark.parametrize(
    ("signer", "account", "scopes"),
    [
        (ALICE, "alice", ("withdraw",)),
        (ALICE, "bob", ("read",)),
        (ALICE, "venue-admin", ("read",)),
        (ALICE, "new", ("read",)),
        (BOB, "bob", ("read",)),  # a key that reads makes no other, which would outlive it
        (ADMIN, "alice", ("admin",)),
        (ADMIN, "venue-admin", ("read",)),
        (new_credentials("alice"), "alice", ("read",)),  # under alice's id, by another key
        (new_credentials("nobody"), "alice", ("read",)),
        (new_credentials("minted"), "venue-admin", ("admin",)),
        (new_credentials("root"), "venue-admin", ("admin",)),
    ],
)
def test_a_key_that_its_signer_may_not_give_is_not_believed(directory, signer, account, scopes):
    assert not directory.take(new_key(signer, account, new_credentials("minted"), *scopes))
    assert directory.get("minted") is None


def test_limits_of_a_key_hold_for_the_keys_that_it_gives(directory):
    limited = new_credentials("limited")
    directory.take(new_key(ADMIN, "alice", limited, "trade", order_limit="5.00"))
    assert not directory.take(new_key(limited, "alice", new_credentials("wide"), "trade"))
    assert directory.take(new_key(limited, "alice", new_credentials("like"), "trade", order_limit="5.00"))


@pytest.mark.parametrize(
    "changed",
    [
        {"proof": None},
        {"account": "bob"},
        {"public_key": BOB.public_key},
        {"scopes": ("read", "withdraw")},
        {"key_id": "another"},
        {"order_limit_micros": 1},
        {"revoked": True},
    ],
)
def test_a_record_that_is_not_what_was_signed_is_not_believed(directory, changed):
    record = new_key(ADMIN, "alice", new_credentials("a2"), "read")
    assert not directory.take(record.model_copy(update=changed))


def test_a_request_for_something_else_proves_no_key(directory):
    record = new_key(ADMIN, "alice", new_credentials("a2"), "read")
    elsewhere = signed_request(ADMIN, "POST", "/v1/orders", "", record.proof.body)
    assert not directory.take(record.model_copy(update={"proof": elsewhere}))


def test_a_key_ends_by_an_administrator_and_for_good(directory):
    key = directory.get("alice")
    assert not directory.take(ended_key(BOB, key))
    assert directory.take(ended_key(ADMIN, key))
    directory.take(new_key(ADMIN, "alice", ALICE, "read", "trade", "operate"))
    directory.take(new_key(ADMIN, "alice", new_credentials("alice"), "read"))
    assert directory.get("alice") == key.model_copy(update={"revoked": True})
    assert not directory.take(new_key(ALICE, "alice", new_credentials("late"), "read"))


def test_an_accounts_key_ends_itself_and_what_it_could_have_given(directory):
    trades, reads, withdraws = map(new_credentials, ("trades", "reads", "withdraws"))
    for key, scopes in ((trades, ("read", "trade")), (reads, ("read",)), (withdraws, ("withdraw",))):
        directory.take(new_key(ADMIN, "alice", key, *scopes))
    assert not directory.take(ended_key(trades, directory.get("withdraws"))), "it reaches further"
    assert not directory.take(ended_key(trades, directory.get("bob"))), "another account's"
    assert not directory.take(ended_key(reads, directory.get("trades")))
    assert directory.take(ended_key(trades, directory.get("reads")))
    assert directory.take(ended_key(trades, directory.get("trades")))
    assert not directory.take(ended_key(trades, directory.get("alice"))), "it has ended"
    assert [key.key_id for key in directory.keys_of("alice") if key.revoked] == ["reads", "trades"]


def test_a_new_accounts_first_key_signs_itself_and_reads_and_trades(directory):
    eve, second = new_credentials("eve"), new_credentials("eve-2")
    record = first_key(eve, "eve")
    assert directory.take(record)
    assert directory.take(record), "a record that comes twice is nothing to warn of"
    assert directory.get("eve") == record.model_copy(update={"proof": None})
    assert (directory.get("eve").scopes, directory.account("eve").by_itself) == (("read", "trade"), True)
    assert not directory.take(new_key(eve, "eve", second, "withdraw"))
    assert directory.take(new_key(eve, "eve", second, "read"))
    assert directory.take(ended_key(eve, directory.get("eve")))
    assert not directory.take(record), "nothing revives it"
    assert not directory.take(first_key(new_credentials("k"), "eve", key_id=None)), "the account is not free again"


def test_the_first_of_two_keys_for_one_name_wins_in_every_reader(directory):
    records = [first_key(new_credentials("eve"), "eve") for _ in range(2)]
    for each in (directory, late := KeyDirectory(ROOT.public_key)):
        assert [each.take(record) for record in records] == [True, False]
    assert directory.get("eve") == late.get("eve") == records[0].model_copy(update={"proof": None})


def test_no_stranger_opens_an_account_that_is_there_in_whatever_way(directory):
    assert directory.take(opened_account(ADMIN, "carol"))
    legacy = new_key(ADMIN, "dave", new_credentials("k-dave"), "read").model_copy(update={"proof": None})
    assert not directory.take(legacy)
    taken = {name: directory.take(first_key(new_credentials(name), name)) for name in ("alice", "bob", "carol", "dave")}
    assert taken == dict.fromkeys(taken, False)
    assert (directory.has_account("carol"), directory.has_account("dave")) == (True, False)


@pytest.mark.parametrize(
    "account",
    [*RESERVED, EXTERNAL, IN_TRANSIT, ISSUED, "Venue-fees", "venue-admin", "admin-2", "root", "node-1", "k-1"],
)
def test_no_stranger_takes_a_name_that_stands_for_the_venue_or_an_id(account):
    with pytest.raises(UnprovenRecord, match="only an administrator"):
        first_key(new_credentials(account), account)


@pytest.mark.parametrize(
    "changed",
    [
        {"scopes": ALL_SCOPES},
        {"scopes": ("read", "withdraw")},
        {"account": "mallory"},
        {"key_id": "admin-2"},
        {"public_key": BOB.public_key},
        {"order_limit_micros": 1},
        {"node": "node-1"},
        {"revoked": True},
    ],
)
def test_a_first_key_that_is_not_what_it_signed_is_not_believed(directory, changed):
    assert not directory.take(first_key(new_credentials("eve"), "eve").model_copy(update=changed))


def test_a_first_key_is_signed_by_itself_alone(directory):
    eve, mallory = new_credentials("eve"), new_credentials("eve")
    record = first_key(eve, "eve")
    for signer in (mallory, ALICE, ADMIN):
        stolen = signed_request(signer, "POST", "/v1/accounts", "", record.proof.body)
        assert not directory.take(record.model_copy(update={"proof": stolen}))


def test_only_an_administrator_opens_accounts_for_others(directory):
    assert [directory.take(opened_account(signer, "carol")) for signer in (ALICE, BOB, ADMIN)] == [False, False, True]
    assert not directory.take(opened_account(ADMIN, "erin").model_copy(update={"account": "frank"}))
    assert (directory.account("carol").by_itself, directory.account("erin")) == (False, None)


def test_root_makes_an_administrator_after_the_first_was_revoked(directory):
    directory.take(ended_key(ADMIN, directory.get("admin")))
    assert not directory.take(new_key(ADMIN, "eve", new_credentials("eve"), "read"))
    second = new_credentials("admin-2")
    assert directory.take(new_key(ROOT, "venue-admin", second, "admin"))
    assert directory.take(new_key(second, "eve", new_credentials("eve"), "read"))


def test_a_token_of_the_account_gives_as_many_node_keys_as_it_says_until_it_is_revoked(directory):
    token = token_of(ALICE, "alice")
    assert not directory.take(key_by_token(token, NODE)), "the token is not known yet"
    assert not directory.take(token_of(BOB, "alice")), "bob may not operate"
    assert directory.take(token)
    assert directory.take(key_by_token(token, NODE))
    assert not directory.take(key_by_token(token, OTHER_NODE))
    assert not directory.take(key_by_token(token, NODE).model_copy(update={"account": "bob"}))
    node_id = node_id_of(NODE.public_key)
    assert directory.get(node_id) == node_key("alice", NODE.public_key)
    assert not directory.take(revoked_token(BOB, "alice", token.token_id))
    assert directory.take(revoked_token(ALICE, "alice", token.token_id))
    assert directory.has_revoked_token("alice", token.token_id)
    assert directory.take(ended_key(ALICE, directory.get(node_id)))
    assert directory.get(node_id).revoked


def test_a_nodes_own_key_signs_no_other(directory):
    token = token_of(ALICE, "alice")
    directory.take(token)
    directory.take(key_by_token(token, NODE))
    node = Credentials(node_id_of(NODE.public_key), NODE.private_key)
    assert not directory.take(new_key(node, "alice", new_credentials("a2"), "read"))


def test_without_a_root_nothing_is_believed():
    assert not KeyDirectory().take(new_key(ROOT, "venue-admin", ADMIN, "admin"))


async def test_who_waits_for_a_keys_end_hears_of_it(directory):
    waiting = asyncio.create_task(directory.wait_for_end("alice"))
    await asyncio.sleep(0)
    directory.take(ended_key(ADMIN, directory.get("alice")))
    await asyncio.wait_for(waiting, 1)
