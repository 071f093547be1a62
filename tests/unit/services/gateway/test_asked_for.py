"""What was asked for under idempotency keys, as the records of keys say it: the same is known, another is refused."""

import json

import pytest

from clients.http import new_credentials
from schemas.accounts import AnyKeyEvent, ApiKeySet
from schemas.rest import KeyForm
from services.gateway.keys.asked_for import KeysAskedFor
from services.kit.http import ProblemError
from services.kit.idempotency import Attempt, attempt
from services.kit.key_requests import key_of
from tests.fixtures.keys import first_key, signed_request

ALICE, OWN = new_credentials("alice"), new_credentials("own")
BODY = json.dumps({"account": "alice", "public_key": OWN.public_key, "key_id": "own", "scopes": ["read"]})


def asked_under(key: str, body: str = BODY, account: str = "alice") -> Attempt:
    return attempt(account, key, "POST /v1/keys", body.encode())


def record(key: str, body: str = BODY) -> ApiKeySet:
    request = signed_request(ALICE, "POST", "/v1/keys", "", body, idempotency_key=key)
    return key_of(KeyForm.model_validate_json(body)).model_copy(update={"proof": request})


def directory_of(*records: AnyKeyEvent) -> KeysAskedFor:
    made = KeysAskedFor()
    assert [made.take(each) for each in (first_key(ALICE, "alice"), *records)] == [True] * (1 + len(records))
    return made


def test_the_record_of_a_request_is_known_by_its_account_and_key_even_when_what_it_made_has_ended():
    made = record("once")
    end = signed_request(ALICE, "DELETE", "/v1/keys/own", idempotency_key="ends")
    directory = directory_of(made, made.model_copy(update={"revoked": True, "proof": end}))
    assert directory.get("own").revoked
    assert directory.first_under(asked_under("once")) == made
    for other in (asked_under("twice"), asked_under("once", account="bob"), asked_under("ends"), asked_under("")):
        assert directory.first_under(other) is None


def test_another_request_under_the_key_is_refused_and_the_first_one_stays():
    made = record("once")
    directory = directory_of(made, record("once", BODY.replace("own", "own-2")))
    with pytest.raises(ProblemError) as refused:
        directory.first_under(asked_under("once", BODY.replace("own", "own-2")))
    assert refused.value.code == "conflict"
    assert directory.first_under(asked_under("once")) == made


def test_a_record_that_changes_nothing_is_not_what_a_key_made():
    other = new_credentials("own")
    taken = BODY.replace(OWN.public_key, other.public_key)
    directory = directory_of(record("once"), record("later", taken))
    assert directory.get("own").public_key == OWN.public_key
    assert directory.first_under(asked_under("later", taken)) is None
