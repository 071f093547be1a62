"""The engine's tools: replay of a log file, what a snapshot holds, how two differ."""

import json
import time
from pathlib import Path

import pytest

from benchmarks.order_flow import PRODUCT, OrderFlow
from clients.cli.output import CommandError
from console.commands import engine as tools
from console.commands import snapshots
from matching_engine import Engine

FLOW = 60


class Recorded:
    """A log of orders, and the engine that applied it."""

    def __init__(self, folder: Path):
        flow = OrderFlow(folder / "keys")
        records = [*flow.opening(), *flow.flow(FLOW)]
        self.log, self.events, self.snapshot = folder / "log", folder / "events", folder / "snapshot"
        began_ms = time.time_ns() // 1_000_000
        stamped = [(offset, began_ms + offset, record) for offset, record in enumerate(records)]
        lines = [json.dumps({"offset": at, "ts_ms": ts, "value": value.decode()}) for at, ts, value in stamped]
        self.log.write_text("\n".join(lines) + "\n")
        self.engine = Engine()
        self.events.write_bytes(b"".join(event + b"\n" for event in self.engine.apply(stamped)))
        self.snapshot.write_bytes(self.engine.snapshot())
        self.next = (len(stamped), began_ms + len(stamped))


@pytest.fixture
def recorded(tmp_path) -> Recorded:
    return Recorded(tmp_path)


def shown(capsys):
    return json.loads(capsys.readouterr().out)


def test_a_replay_is_held_against_the_recorded_events_and_the_reference_engine(recorded, capsys):
    tools.replay(recorded.log, events=recorded.events, verify=True, json=True)
    printed = shown(capsys)
    assert printed == {
        "engine": printed["engine"],
        "next_offset": recorded.engine.next_offset,
        "seq": recorded.engine.seq,
        "link": recorded.engine.link.hex(),
        "balance_digest": recorded.engine.balance_digest(),
        "events": recorded.engine.seq,
        "same_as_file": True,
        "same_as_reference": True,
    }


def test_the_first_event_that_differs_is_named(recorded):
    events = recorded.events.read_bytes().splitlines()
    events[2] = events[2].replace(b'"shard":0', b'"shard":1')
    recorded.events.write_bytes(b"\n".join(events))
    with pytest.raises(CommandError, match=r"^event 3 differs: replayed b'.*', .*events has b'.*\"shard\":1"):
        tools.replay(recorded.log, events=recorded.events)


def test_a_snapshot_shows_its_books_as_ladders(recorded, capsys):
    snapshots.inspect(recorded.snapshot, json=True)
    printed = shown(capsys)
    resting = [order for order in recorded.engine.orders() if order["contract"]]
    levels = [level for book in printed["books"].values() for side in book.values() for level in side]
    assert (printed["orders"], printed["seq"]) == (len(resting), recorded.engine.seq)
    assert sum(level["qty"] for level in levels) == sum(order["left"] for order in resting)
    assert sum(level["orders"] for level in levels) == len(resting)


def test_one_contract_is_printed_best_levels_first(recorded, capsys):
    orders = recorded.engine.orders()
    contract = next(order["contract"] for order in orders if order["side"] == "buy")
    snapshots.inspect(recorded.snapshot, contract=contract, depth=1)
    ours = [order for order in orders if order["contract"] == contract]
    best_bid = max(order["price_micros"] for order in ours if order["side"] == "buy")
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3] == contract
    assert snapshots.decimal(best_bid) in lines[-1].split()


def test_a_contract_without_orders_is_refused(recorded):
    with pytest.raises(CommandError, match=f"no resting order in {PRODUCT}-99010100"):
        snapshots.inspect(recorded.snapshot, contract=f"{PRODUCT}-99010100")


def test_a_damaged_snapshot_is_refused(recorded):
    recorded.snapshot.write_bytes(recorded.snapshot.read_bytes()[:-2])
    with pytest.raises(CommandError, match="snapshot"):
        snapshots.inspect(recorded.snapshot)


def test_the_same_state_has_no_differences(recorded, capsys):
    assert snapshots.diff(recorded.snapshot, recorded.snapshot) == 0
    assert capsys.readouterr().out == "the same state\n"


def test_every_value_that_differs_is_named_by_its_path(recorded, capsys, tmp_path):
    offset, ts_ms = recorded.next
    recorded.engine.apply([(offset, ts_ms, b'{"type":"tick"}')])
    later = tmp_path / "later"
    later.write_bytes(recorded.engine.snapshot())
    assert snapshots.diff(recorded.snapshot, later, json=True) == 1
    assert shown(capsys) == [
        {"what": "log_time_ms", "first": ts_ms - 1, "second": ts_ms},
        {"what": "next_offset", "first": offset, "second": offset + 1},
    ]
