"""Every page of docs/runbooks is done as it is written, on a real exchange with a node, money and a trade."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clients.actors import Registry
from clients.http import result_of
from console.demo.sites import Sites
from infra import exchange
from infra.exchange import free_ports
from infra.keys import INFRA
from infra.places import REPOSITORY
from infra.settings import SERVICES
from schemas.topics import DELIVERY_EVENTS
from services.kit.kafka import operator_options
from tests.fixtures.command_log import produce

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PAGES = REPOSITORY / "docs" / "runbooks"
FLAGS = re.MULTILINE | re.DOTALL
BLOCK = re.compile(r"^```sh\n(.*?)^```$", FLAGS)
HOURBOOK = "./hourbook"
UP = f"{HOURBOOK} up"
UP_WITHIN_S = 180
WORKS_WITHIN_S = 120
POLICY = {"hub": "CNE", "periods_ahead": 4, "price": {"floor": "12.50"}}
PRODUCT = "H100SXM80.CNE.F"


class Operator:
    """Types commands as the pages have them, in the checkout."""

    def __init__(self, folder: Path):
        self.folder, self.data = folder, folder / "data"
        self.environment = {
            **os.environ,
            **free_ports(),
            "HOURBOOK_DATA": str(self.data),
            "BACKUP": str(folder / "backup"),
        }
        self.output = ""
        self._up: subprocess.Popen[bytes] | None = None

    def do(self, page: str) -> None:
        """Types every command of a page, one after the other; each must succeed."""
        for line in commands_of(page):
            self.type(line)

    def type(self, line: str) -> None:
        """Types one command; `up` stays, and is waited for until the exchange is there."""
        if line == UP:
            self._start()
            return
        command = line.replace(HOURBOOK, f"{sys.executable} -P -m console")
        done = subprocess.run(
            ["bash", "-c", command], cwd=REPOSITORY, env=self.environment, capture_output=True, text=True, timeout=300
        )
        self.output = done.stdout
        assert done.returncode == 0, (line, done.stdout[-1_000:], done.stderr[-2_000:])

    def answer(self, line: str) -> tuple[int, str]:
        """Types one command that may fail; returns its status and what it said about it."""
        command = line.replace(HOURBOOK, f"{sys.executable} -P -m console")
        done = subprocess.run(
            ["bash", "-c", command], cwd=REPOSITORY, env=self.environment, capture_output=True, text=True, timeout=300
        )
        return done.returncode, done.stderr

    def _start(self) -> None:
        log = (self.folder / "up.log").open("ab")
        command = [sys.executable, "-P", "-m", "console", "up"]
        self._up = subprocess.Popen(
            command, cwd=REPOSITORY, env=self.environment, stdout=log, stderr=log, start_new_session=True
        )
        deadline = time.monotonic() + UP_WITHIN_S
        while exchange.addresses(self.data) is None:
            assert self._up.poll() is None, (self.folder / "up.log").read_text()[-2_000:]
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def addresses(self) -> dict[str, str]:
        """Where the exchange answers, which is to be up."""
        found = exchange.addresses(self.data)
        assert found is not None, (self._up and self._up.poll(), (self.folder / "up.log").read_text()[-3_000:])
        return found

    def end(self) -> None:
        """Stops what runs."""
        if self._up is not None and self._up.poll() is None:
            self._up.send_signal(signal.SIGTERM)
            self._up.wait(60)
        exchange.stop(self.data)


def commands_of(page: str) -> list[str]:
    """Returns the lines of a page's code blocks."""
    text = (PAGES / page).read_text()
    return [line for block in BLOCK.findall(text) for line in block.splitlines() if line and not line.startswith("#")]


def wait_until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WORKS_WITHIN_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


@pytest.fixture(scope="module")
def operator() -> Iterator[Operator]:
    folder = Path(tempfile.mkdtemp(prefix="hourbook-runbooks-"))
    folder.chmod(0o755)
    operator = Operator(folder)
    try:
        operator.type(UP)
        yield from _with_a_market(operator)
    finally:
        operator.end()
        shutil.rmtree(folder, ignore_errors=True)


def _with_a_market(operator: Operator) -> Iterator[Operator]:
    folder = operator.folder
    registry = Registry(exchange.addresses(operator.data), operator.data / "keys", folder / "actors")
    wait_until(lambda: bool(result_of(registry.admin.market_data.get("/v1/products"))["items"]), "products")
    sites = Sites(registry, folder / "sites", folder / "logs")
    try:
        seller = registry.open_account("north", "operate", CNY="500000.00")
        buyer = registry.open_account("alice", "trade", CNY="1000.00")
        registry.open_account("thief", "trade")
        sites.start_agent(seller, "north-01", POLICY, 1)
        wait_until(lambda: _buys(buyer), "a trade")
        yield operator
    finally:
        sites.stop()


def _buys(buyer) -> bool:
    params = {"product": PRODUCT, "state": "OPEN"}
    contracts = result_of(buyer.market_data.get("/v1/contracts", params=params))["items"]
    contract = sorted(row["contract"] for row in contracts)[1]
    order = {"contract": contract, "side": "buy", "qty": 1, "price": "13.00", "tif": "IOC"}
    answer = result_of(buyer.gateway.post("/v1/orders", json=order))
    return answer["order"]["filled_qty"] == 1


def state_of(operator: Operator) -> dict[str, object]:
    """What the exchange shows to everyone and to its administrator."""
    where = operator.addresses()
    admin = Registry(where, operator.data / "keys", operator.folder / "actors").admin
    nodes = result_of(admin.delivery.get("/v1/nodes"))["items"]
    return {
        "nodes": [(node["node"], node["account"], node["state"]) for node in nodes],
        "trades": [row["trade_id"] for row in result_of(admin.market_data.get("/v1/trades"))["items"]],
        "balances": {
            (row["account"], row["asset"]): (row["available_micros"] + row["held_micros"])
            for row in result_of(admin.ledger.get("/v1/ledger/balances"))["balances"]
            if row["account"] == "alice"
        },
    }


def is_as(operator: Operator, before: dict[str, object]) -> None:
    """The exchange shows what it showed; nodes come back as soon as their agents have reported."""
    wait_until(lambda: state_of(operator) == before, f"{state_of(operator)} is not {before}")


def test_backup(operator: Operator):
    """The exchange runs, and goes on."""
    before = state_of(operator)
    operator.do("backup.md")
    assert not list((operator.folder / "backup").rglob("root.ed25519"))
    is_as(operator, before)


def test_audit(operator: Operator):
    operator.do("audit.md")
    operator.type(f"{HOURBOOK} audit")
    assert re.search(r"trades of market data = topic +yes +[1-9]", operator.output), operator.output
    assert re.search(r"nodes of delivery = topic +yes +[1-9]", operator.output), operator.output


def test_snapshots_lost(operator: Operator):
    before = state_of(operator)
    operator.do("snapshots-lost.md")
    is_as(operator, before)


def test_postgresql_lost(operator: Operator):
    before = state_of(operator)
    operator.do("postgresql-lost.md")
    is_as(operator, before)


def test_kafka_lost(operator: Operator):
    """Needs the backup that the first test made. Every loss is refused by one line before anything is changed."""
    before, kafka, page = state_of(operator), operator.data / "kafka", "docs/runbooks/kafka-lost.md"
    operator.type(f"{HOURBOOK} admin deposit alice CNY 1.00")  # which the backup does not have
    operator.type(f"{HOURBOOK} keys revoke key-thief")
    operator.type(f"{HOURBOOK} down")
    kafka.rename(operator.data / "kafka.lost")
    gone = f"hourbook: the command log is gone; nothing was started, see {page}\n"
    assert operator.answer(UP) == (1, gone)
    shutil.copytree(operator.folder / "backup" / "data" / "kafka", kafka)
    status, said = operator.answer(UP)
    shorter = r"hourbook: the command log ends at record \d+, the engine has read up to \d+; nothing was started, see "
    assert status == 1 and re.fullmatch(f"{shorter}{page}\n", said), said
    shutil.rmtree(operator.data / "snapshots")
    status, said = operator.answer(UP)
    last = said.splitlines()[-1]
    short = r"the event log ends at record \d+, the database has event \d+ of it"
    other = r"event \d+ is not the one that the database has of that number"  # where the engine has gone on meanwhile
    newer = rf"hourbook: \w+: stopped: ({short}|{other}); see {page}"
    assert status == 1 and re.fullmatch(newer, last), said
    operator.do("kafka-lost.md")
    is_as(operator, before)
    operator.type(f"{HOURBOOK} keys list --account thief --json")
    assert {key["key_id"]: key["revoked"] for key in json.loads(operator.output)} == {"key-thief": True}


def test_foreign_record(operator: Operator):
    before = state_of(operator)
    where = operator.addresses()
    login = operator_options(where["kafka"], operator.data / "keys", INFRA)
    record = b'{"type":"node_state_changed","node":"mine"}'
    asyncio.run(produce(where["kafka"], DELIVERY_EVENTS.name, record, **login))
    logs = operator.data / "logs"
    wait_until(lambda: "a foreign record" in (logs / "market_data.log").read_text(), "the record is noticed")
    operator.do("foreign-record.md")
    assert "1 foreign records skipped" in operator.output
    is_as(operator, before)


def test_an_event_that_does_not_fit(operator: Operator):
    before = state_of(operator)
    operator.do("an-event-that-does-not-fit.md")
    is_as(operator, before)


def test_clock_jumped(operator: Operator):
    operator.do("clock-jumped.md")


def test_disk_full(operator: Operator):
    before = state_of(operator)
    operator.do("disk-full.md")
    assert all(re.search(rf"^{name} +runs ", operator.output, re.MULTILINE) for name in SERVICES)
    is_as(operator, before)


def test_root_key(operator: Operator):
    """Comes last: the administrator whom the other pages need is revoked."""
    operator.do("root-key.md")
    operator.type(f"{HOURBOOK} keys list --key admin-2 --json")
    assert {key["key_id"]: key["revoked"] for key in json.loads(operator.output)} == {"admin": True, "admin-2": False}


def test_every_page_with_commands_has_its_test_and_stands_in_the_index():
    pages = {path.name for path in PAGES.glob("*.md")} - {"README.md"}
    tested = {f"{name.removeprefix('test_').replace('_', '-')}.md" for name in globals() if name.startswith("test_")}
    assert pages <= tested
    assert [page for page in sorted(pages) if not commands_of(page)] == []
    assert pages == set(re.findall(r"\]\(([a-z-]+\.md)\)", (PAGES / "README.md").read_text()))
