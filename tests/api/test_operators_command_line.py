"""The command line of the administrator, of those who read the market, and of sellers: real answers of an exchange."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import pytest

from agents.node.config import AgentConfig
from agents.node.hooks.readiness import problem_of
from agents.node.policy import PolicyFile
from tests.api.conftest import PRODUCT, bid, contract_in
from tests.fixtures.event_log import terms


@dataclass(frozen=True)
class Hourbook:
    """Runs a command with a data folder; returns its status, its output and what it said on standard error."""

    data: Path

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "console", *arguments]
        environment = os.environ | {"HOURBOOK_DATA": str(self.data)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout, done.stderr

    def at(self, data: Path) -> "Hourbook":
        """The same on a machine with another data folder."""
        return replace(self, data=data)


@pytest.fixture
def hourbook(exchange, users) -> Hourbook:
    return Hourbook(exchange.data)


def answer(hourbook: Hourbook, *arguments: str):
    """The document that a command prints with --json; it must succeed."""
    status, output, words = hourbook(*arguments, "--json")
    assert (status, words) == (0, ""), words
    return json.loads(output)


# -- the administrator -------------------------------------------------------------------------------------------------


def test_products_of_a_file_are_defined_and_then_traded(hourbook, tmp_path):
    product = f"CLI{uuid4().hex[:6].upper()}.CNE.F"
    file = tmp_path / "products.json"
    file.write_text(f"[{terms(product, horizon_periods=48).model_dump_json()}]")
    assert answer(hourbook, "admin", "products", str(file)) == [
        {"product": product, "currency": "CNY", "period_s": 3600}
    ]
    (shown,) = [row for row in answer(hourbook, "products") if row["product"] == product]
    assert (shown["tick"], shown["lot"], shown["period_s"]) == ("0.01", 1, 3600)


def test_a_file_that_is_no_list_of_products_is_named(hourbook, tmp_path):
    file = tmp_path / "products.json"
    file.write_text('[{"product": "X"}]')
    status, output, words = hourbook("admin", "products", str(file))
    assert (status, output, words.startswith(f"hourbook: {file}: ")) == (1, "", True)


@pytest.fixture
def own_product(hourbook, tmp_path) -> str:
    product = f"OWN{uuid4().hex[:6].upper()}.CNE.F"
    file = tmp_path / "own.json"
    file.write_text(f"[{terms(product, horizon_periods=48).model_dump_json()}]")
    answer(hourbook, "admin", "products", str(file))
    answer(hourbook, "admin", "resume", product)
    return product


def test_trading_in_one_product_is_halted_restricted_and_opened_again(hourbook, own_product, trader):
    form = bid(contract=contract_in(30, own_product))
    for command, state in (("halt", "HALTED"), ("cancel-only", "CANCEL_ONLY"), ("resume", "OPEN")):
        told = answer(hourbook, "admin", command, own_product, "--reason", "drill")
        assert told == [{"product": own_product, "state": state, "reason": "drill"}]
        status = trader.client.post("/v1/orders", json=form).status_code
        assert status == (201 if state == "OPEN" else 422)
    assert trader.client.post("/v1/orders", json=bid()).status_code == 201
    answer(hourbook, "order", "cancel", "--all", "--product", own_product)


def test_an_unknown_product_cannot_be_halted(hourbook):
    status, _, words = hourbook("admin", "halt", "NOBODY80.CNE.F")
    assert (status, words) == (1, "hourbook: refused: unknown_product\n")


def test_a_deposit_is_paid_in_once_under_one_key(hourbook):
    account = f"cli-{uuid4().hex[:6]}"
    answer(hourbook, "keys", "create", account)
    first = answer(hourbook, "admin", "deposit", account, "CNY", "12.5", "--key", account)
    again = answer(hourbook, "admin", "deposit", account, "CNY", "12.5", "--key", account)
    assert (first, again["state"]) == (again, "posted")
    (balance,) = answer(hourbook, "balance", "--key", account)
    assert (balance["asset"], balance["available"], balance["held"]) == ("CNY", "12.50", "0.00")
    (line,) = answer(hourbook, "statement", "--key", account)
    assert [line[name] for name in ("cause", "side", "amount", "asset")] == ["credited", "credit", "12.50", "CNY"]
    shown = hourbook("statement", "--key", account)[1].splitlines()
    assert (shown[0].split(), shown[1].split()[-1]) == (
        ["time", "cause", "reference", "asset", "bucket", "amount"],
        "+12.50",
    )


@pytest.mark.parametrize("amount", ["-1", "1.1234567", "much"])
def test_an_amount_that_is_none_is_refused_in_words(hourbook, amount):
    status, output, words = hourbook("admin", "deposit", "nobody", "CNY", f"--amount={amount}")
    assert (status, output) == (1, "")
    assert "decimal number with at most six decimals, like 12.84" in words


def test_the_replay_of_the_running_exchange_gives_the_same_bytes(hourbook):
    told = answer(hourbook, "admin", "replay", "--no-balances")
    assert (told["identical"], told["events"] > 0, told["commands"] > 0) == (True, True, True)


# -- who reads the market ----------------------------------------------------------------------------------------------


def test_the_contracts_of_a_product_are_listed_earliest_first_with_their_best_prices(hourbook, trader):
    rows = answer(hourbook, "contracts", PRODUCT, "--limit", "300")
    assert [row["contract"] for row in rows] == sorted(row["contract"] for row in rows)
    (row,) = [row for row in rows if row["contract"] == contract_in(30)]
    assert (row["state"], row["bid"], row["ask"]) == ("OPEN", "0.50", None)
    assert answer(hourbook, "contracts", PRODUCT, "--state", "METERED") == []


def test_a_product_that_is_none_is_refused_in_words(hourbook):
    status, _, words = hourbook("contracts", "nonsense")
    assert status == 1
    assert words == "hourbook: malformed_request: product: should be a product like H100SXM80.CNE.F\n"


def test_nothing_traded_is_nothing_to_show(hourbook):
    for command in ("trades", "candles", "index"):
        assert hourbook(command, PRODUCT)[:2] == (0, "nothing to show\n")
        assert answer(hourbook, command, PRODUCT)["items"] == []


def test_the_book_shows_what_rests(hourbook, trader):
    shown = [line.split() for line in hourbook("book", contract_in(30))[1].splitlines()]
    assert shown[0] == ["bid", "qty", "bid", "ask", "ask", "qty"]
    assert shown[1][1] == "0.50"


def test_the_feed_is_followed_line_by_line(exchange, users):
    command = [sys.executable, "-m", "console", "watch", contract_in(30), "book", "--json"]
    environment = os.environ | {"HOURBOOK_DATA": str(exchange.data), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as following:
        messages = map(json.loads, following.stdout)
        snapshot = next(message for message in messages if message.get("type") == "snapshot")
        following.terminate()
    assert (snapshot["ch"], snapshot["sym"]) == ("book", contract_in(30))


# -- traders and sellers -----------------------------------------------------------------------------------------------


def test_who_has_traded_nothing_has_no_fills_receipts_or_claims(hourbook):
    account = f"cli-{uuid4().hex[:6]}"
    answer(hourbook, "keys", "create", account)
    for command in ("fills", "receipts", "claims", "statement"):
        assert answer(hourbook, command, "--key", account) == []
    for command in (("receipts", "1"), ("access", "1")):
        status, _, words = hourbook(*command, "--key", account)
        assert (status, words.startswith("hourbook: not_found: you have no ")) == (1, True)


def test_a_sale_needs_an_inspection_the_scope_and_a_listing(hourbook):
    account = f"cli-{uuid4().hex[:6]}"
    answer(hourbook, "keys", "create", account, "--scopes", "read", "--scopes", "sell_hw")
    offer = ("sale", "offer", "2 x H100", "378000", "0" * 64, "--hub", "CNS", "--key", account)
    assert hourbook(*offer)[2].startswith("hourbook: bad_inspection: ")
    assert hourbook("sale", "buy", "nothing", "--key", account)[2].startswith("hourbook: scope_missing: ")
    assert hourbook("sale", "see", "nothing", "--key", account)[2] == "hourbook: not_found: no listing nothing\n"


# -- operators -------------------------------------------------------------------------------------------------------


def test_an_agents_files_are_written_once_and_the_agent_reads_them(hourbook, tmp_path):
    account, folder = f"cli-{uuid4().hex[:6]}", tmp_path / "shanghai-1"
    answer(hourbook, "keys", "create", account, "--scopes", "read", "--scopes", "operate")
    init = ("agent", "init", str(folder), "--hub", "CNE", "--floor", "12.84", "--key", account)
    written = answer(hourbook, *init)
    config = AgentConfig.load(folder / "agent.toml")
    policy = PolicyFile(config.policy).current
    assert written["config"] == str(folder / "agent.toml")
    assert (policy.label, policy.hub, policy.price.floor) == ("shanghai-1", "CNE", "12.84")
    assert json.loads(config.read_token())["account"] == account
    assert (policy.hooks.kind in ("shell", "container"), policy.hooks.listen) == (True, "127.0.0.1")
    assert problem_of(policy.hooks) == written.get("lacking", "")
    status, _, words = hourbook(*init)
    assert (status, words) == (1, f"hourbook: {folder / 'agent.toml'} already exists\n")
    assert answer(hourbook, "agent", "nodes", "--account", account) == []
    nothing = {"nodes": 0, "troubles": 0, "gpus": 0, "fit": 0, "offered": 0, "sold": 0, "delivering": 0, "settled": 0}
    assert answer(hourbook, "fleet", "status", "--key", account) == {"nodes": [], "sums": nothing | {"earned": ""}}
    assert answer(hourbook, "fleet", "waves", "--key", account) == {"waves": [], "later": {}}


def test_every_nodes_policy_is_made_of_one_file_or_none_is(hourbook, tmp_path):
    file, into = tmp_path / "fleet.toml", tmp_path / "made"
    hooks = 'start = ["true"]\nstop = ["true"]'
    file.write_text(f'nodes = ["gpu[1-3]"]\n[policy]\nhub = "CNE"\nprice.floor = "12.84"\n[policy.hooks]\n{hooks}\n')
    made = {"written": ["gpu1", "gpu2", "gpu3"], "unchanged": [], "left_over": []}
    assert answer(hourbook, "fleet", "render", str(file), "--into", str(into), "--dry-run") == made
    assert not into.exists()
    assert answer(hourbook, "fleet", "render", str(file), "--into", str(into)) == made
    policy = PolicyFile(into / "gpu2" / "policy.toml").current
    assert (policy.label, policy.price.floor) == ("gpu2", "12.84")
    file.write_text(file.read_text().replace('"12.84"', '"0"'))
    status, output, words = hourbook("fleet", "render", str(file), "--into", str(into))
    assert (status, output) == (1, "")
    assert words.startswith("hourbook: no file is written: gpu1 and 2 more: price.floor: should be more than 0")
    assert len(words.splitlines()) == 1


# -- a stranger --------------------------------------------------------------------------------------------------------


def test_a_newcomer_opens_an_account_from_a_machine_that_has_nothing_of_the_venue(hourbook, exchange, tmp_path):
    there = ("--url", exchange.addresses["gateway"])
    name, other = (f"new{uuid4().hex[:8]}" for _ in range(2))
    with_own_keys = hourbook.at(tmp_path)
    opened = answer(with_own_keys, "account", "open", name, *there)
    assert (opened["account"], opened["key_id"], answer(with_own_keys, "account", "open", name, *there)) == (
        name,
        name,
        opened,
    )
    assert answer(with_own_keys, "balance", "--key", name, *there) == []
    more = ("keys", "create", name, "--key-id", other, "--existing", "--key", name, *there)
    assert answer(with_own_keys, *more)["scopes"] == ["read", "trade"]
    assert answer(with_own_keys, "keys", "revoke", name, "--key", other, *there)["revoked"] is True
    status, _, words = with_own_keys("balance", "--key", name, *there)
    assert (status, words) == (1, "hourbook: unknown_key: no such key\n")
    status, _, words = with_own_keys("account", "open", "venue", *there)
    assert (status, words.startswith("hourbook: scope_missing: only an administrator opens accounts")) == (1, True)
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == sorted(
        f"{each}-api.ed25519" for each in (name, other)
    )
