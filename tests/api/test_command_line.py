"""The command line against a running exchange: what it prints is what the gateway answers."""

import json
import os
import subprocess
import sys
from uuid import uuid4

import pytest

from schemas.venue import NEWEST_RULESET
from tests.api.conftest import contract_in


@pytest.fixture
def hourbook(exchange, users):
    """Runs a command; returns its status, its output and what it said on standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "console", *arguments]
        environment = os.environ | {"HOURBOOK_DATA": str(exchange.data)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout, done.stderr

    return run


def test_a_new_account_gets_a_key_and_is_refused_an_order_that_it_cannot_pay(hourbook):
    account = f"cli-{uuid4().hex[:6]}"
    status, output, _ = hourbook("keys", "create", account, "--json")
    assert (status, json.loads(output)["scopes"]) == (0, ["read", "trade"])
    order = ("order", "place", contract_in(30), "buy", "1", "--price", "0.50", "--key", account)
    status, output, words = hourbook(*order)
    assert (status, output) == (1, "")
    assert words.startswith("hourbook: insufficient_funds: not enough money is available")
    assert hourbook("order", "list", "--key", account, "--json")[1].strip() == "[]"
    assert hourbook("balance", "--key", account)[1].strip() == "nothing to show"


def test_a_key_that_is_not_in_the_data_folder_is_said_so(hourbook):
    status, _, words = hourbook("positions", "--key", "nobody")
    assert (status, words.startswith("hourbook: no key `nobody`")) == (1, True)


def test_a_cancel_names_one_order_or_says_all(hourbook):
    status, _, words = hourbook("order", "cancel")
    assert (status, words.strip()) == (1, "hourbook: name one order, or pass --all")


def test_an_order_is_replaced_batched_timed_and_cancelled_by_the_venue(hourbook, users, tmp_path):
    account = f"cli-{uuid4().hex[:6]}"
    assert hourbook("keys", "create", account, "--json")[0] == 0
    assert hourbook("admin", "deposit", account, "CNY", "100.00", "--json")[0] == 0
    own = ("--key", account, "--json")
    place = ("order", "place", contract_in(30), "buy", "4", "--price", "0.50", "--display-qty", "2")
    status, output, _ = hourbook(*place, "--stp", "cancel_both", *own)
    order = json.loads(output)["order"]
    assert (status, order["display_qty"], order["stp"], order["tif"]) == (0, 2, "cancel_both", "GTG")
    status, output, _ = hourbook("order", "replace", str(order["order_id"]), "--qty", "3", *own)
    assert (status, json.loads(output)["priority_kept"]) == (0, True)
    members = [{"op": "cancel", "order_id": order["order_id"]}, {"op": "cancel", "order_id": order["order_id"]}]
    (tmp_path / "members.json").write_text(json.dumps(members))
    status, output, _ = hourbook("order", "batch", str(tmp_path / "members.json"), *own)
    assert (status, [each["status"] for each in json.loads(output)["results"]]) == (1, [200, 422])
    status, output, _ = hourbook("order", "cancel-all-after", "600", *own)
    assert (status, json.loads(output)["session"]) == (0, "rest")
    hourbook(*place, *own)
    status, output, _ = hourbook("admin", "cancel-orders", account, "--json")
    assert (status, json.loads(output)) == (0, [{"account": account, "canceled": 1, "reason": "administrator"}])


@pytest.mark.parametrize(
    ("ruleset", "words"),
    [
        (NEWEST_RULESET, f"the log already follows ruleset {NEWEST_RULESET} or a newer one, and cannot go back"),
        (NEWEST_RULESET + 1, f"ruleset {NEWEST_RULESET + 1} is unknown: the newest is {NEWEST_RULESET}"),
    ],
)
def test_a_ruleset_that_the_engine_cannot_go_on_by_is_refused_in_words(hourbook, ruleset: int, words: str):
    status, output, said = hourbook("admin", "set-ruleset", str(ruleset))
    assert (status, output, words in said) == (1, "", True)
