"""The disk fills up under an exchange: it is told at once, nothing acknowledged is lost, and it comes back."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from clients.actors import Registry
from clients.http import ApiError, result_of
from infra.exchange import RunningExchange, free_ports, running
from infra.processes import end_of
from infra.settings import SERVICES
from tests.faults.audit.books import check_books

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DISK_MB = 700
NOTICED_WITHIN_S = 10
BACK_WITHIN_S = 120
TRIES = 12
POSTED = "posted"


@pytest.fixture
def disk() -> Iterator[Path]:
    """A small disk of its own, in memory."""
    folder = Path(tempfile.mkdtemp(prefix="hourbook-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=755", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        folder.rmdir()
        pytest.skip("NO SMALL DISK: only root can mount one, so a full disk is NOT tested here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
    folder.rmdir()


def fill(disk: Path) -> Path:
    """Writes a file that leaves nothing."""
    filler = disk / "filler"
    subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=64k"], capture_output=True)  # ends by the full disk
    return filler


def waiting_for(exchange: RunningExchange, service: str) -> list[str] | None:
    """What a service says that it waits for; None where it does not answer."""
    try:
        return httpx.get(f"{exchange.addresses[service]}/readyz", timeout=2).json()["waiting_for"]
    except httpx.TransportError:
        return None


def test_a_full_disk_is_told_at_once_and_what_was_acknowledged_outlives_it(disk: Path):
    with running(disk / "data", **free_ports()) as exchange:
        registry = Registry(exchange.addresses, exchange.data / "keys", disk / "actors")
        registry.open_account("alice", "trade", CNY="1.00")
        deposited = 1
        filler = fill(disk)
        deadline = time.monotonic() + NOTICED_WITHIN_S
        while any(waiting_for(exchange, name) == [] for name in SERVICES):
            assert time.monotonic() < deadline, {name: waiting_for(exchange, name) for name in SERVICES}
            time.sleep(0.2)
        told = {name: waiting_for(exchange, name) for name in SERVICES}
        assert "space on the disk" in told["terminal"]
        for number in range(TRIES - 5):  # each is acknowledged, or it is not there
            deposited += _deposit(registry, number) == POSTED
        filler.unlink()
        exchange.wait_ready(BACK_WITHIN_S)
        for number in range(TRIES - 5, TRIES):
            deadline = time.monotonic() + BACK_WITHIN_S
            while (said := _deposit(registry, number)) != POSTED:
                assert time.monotonic() < deadline, (said, _last_lines(exchange))
            deposited += 1
        faults = check_books(registry.admin, exchange.environment)
        rows = result_of(registry.admin.ledger.get("/v1/ledger/balances"))["balances"]
        (balance,) = (row["available_micros"] for row in rows if row["account"] == "alice")
    assert faults == []
    assert deposited <= balance // 1_000_000 <= 1 + TRIES


def _deposit(registry: Registry, number: int) -> str:
    """Pays 1 CNY in under a key of its own; returns what became of it."""
    form = {"account": "alice", "asset": "CNY", "amount": "1.00"}
    try:
        answer = registry.admin.ledger.post(
            "/v1/deposits", json=form, headers={"Idempotency-Key": f"full-{number}"}, timeout=10
        )
        return result_of(answer)["state"]
    except (ApiError, httpx.TransportError) as error:
        return repr(error)


def _last_lines(exchange: RunningExchange) -> str:
    logs = ("supervisor", "ledger", "matching", "kafka")
    return "\n".join(end_of(exchange.data / "logs" / f"{name}.log", 4) for name in logs)
