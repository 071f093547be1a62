"""The demo's proof: what the exchange's own books and logs say of its promises, with figures."""

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from clients.actors import Actor
from clients.http import result_of
from console.demo.story import DemoFailed
from infra.places import REPOSITORY


@dataclass(frozen=True)
class Check:
    """One promise, whether it held, and the figures that show it."""

    name: str
    held: bool
    figures: str


def replay(environment: dict[str, str]) -> dict[str, Any]:
    """Replays the command log from its start in a fresh engine, in a process of its own, beside the event log."""
    command = [sys.executable, "-m", "console", "admin", "replay", "--json"]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    if not done.stdout.strip():
        raise DemoFailed(f"the replay answered nothing: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


def run_checks(admin: Actor, replayed: dict[str, Any], trial: dict[str, Any]) -> list[Check]:
    """Returns every check; the ledger is asked for its balances at the sequence that the replay ended at."""
    ledger = result_of(admin.ledger.get("/v1/ledger/balances", params={"seq": replayed["seq"]}))
    engine_balances = {(row["account"], row["asset"]): row for row in replayed["balances"]}
    ledger_balances = {(row["account"], row["asset"]): row for row in ledger["balances"]}
    same = _moneyed(engine_balances) == _moneyed(ledger_balances)
    lowest = min((min(row["available_micros"], row["held_micros"]) for row in replayed["balances"]), default=0)
    totals = ", ".join(f"{row['asset']} {row['debits']:,} = {row['credits']:,}" for row in trial["assets"])
    return [
        Check("debits = credits", all(row["debits"] == row["credits"] for row in trial["assets"]), totals),
        Check(
            "engine = ledger",
            same,
            f"{len(_moneyed(engine_balances))} balances at seq {replayed['seq']}",
        ),
        Check(
            "replay gives the same bytes",
            replayed["identical"],
            f"{replayed['commands']:,} commands, {replayed['events']:,} events, link {replayed['link'][:16]}…",
        ),
        Check("no negative balance", lowest >= 0, f"the lowest is {lowest}"),
    ]


def _moneyed(balances: dict[tuple[str, str], dict[str, Any]]) -> dict[tuple[str, str], tuple[int, int]]:
    """Leaves out accounts that have nothing, which one side may list and the other not."""
    amounts = {key: (row["available_micros"], row["held_micros"]) for key, row in balances.items()}
    return {key: both for key, both in amounts.items() if any(both)}
