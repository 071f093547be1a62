"""Snapshots of the view: the newest that fits is taken, a damaged one is passed over, and old ones go."""

import time
from pathlib import Path

import pytest

from services.market_data import view_snapshots
from services.market_data.domain import Market
from services.market_data.view_snapshots import DamagedSnapshot, ViewSnapshots, read_snapshot, write_snapshot
from tests.fixtures.event_log import EventLog, accepted, traded

P = 12_840_000
FOREVER_MS = 10**15


@pytest.fixture
def log() -> EventLog:
    log = EventLog()
    log.open_market()
    for order in range(1, 9, 2):
        log.command(accepted(order, "sell", 4, P), ts_ms=log.ts_ms + 1_000)
        taken = traded(order, order + 1, 3, P, left=(1, 0))
        log.command(accepted(order + 1, "buy", 3, P), taken, ts_ms=log.ts_ms + 1_000)
    return log


def market_of(log: EventLog, commands: int) -> Market:
    market = Market()
    for command in log.commands[:commands]:
        market.apply(command)
    return market


def files(folder: Path) -> ViewSnapshots:
    return ViewSnapshots(folder, every_events=1, every_s=1e9)


def test_what_is_read_goes_on_as_what_was_written(log, tmp_path):
    whole = market_of(log, len(log.commands))
    for cut in range(1, len(log.commands)):
        found = read_snapshot(write_snapshot(tmp_path, market_of(log, cut), next_offset=cut))
        market = Market()
        market.restore(found.state)
        for command in log.commands[cut:]:
            market.apply(command)
        assert write_snapshot(tmp_path, market, 0).read_bytes() == write_snapshot(tmp_path, whole, 0).read_bytes()


def test_the_newest_that_the_tables_and_the_feed_allow_is_taken(log, tmp_path):
    markets = [market_of(log, cut) for cut in (4, 6, 8)]
    for market in markets:
        write_snapshot(tmp_path, market, next_offset=market.seq)
    first, second, third = markets
    assert files(tmp_path).newest(10**9, FOREVER_MS).seq == third.seq
    assert files(tmp_path).newest(third.seq - 1, FOREVER_MS).seq == second.seq
    assert files(tmp_path).newest(10**9, second.log_ms - 1).seq == first.seq
    assert files(tmp_path).newest(first.seq - 1, FOREVER_MS) is None


def test_a_damaged_snapshot_is_passed_over_for_the_one_before(log, tmp_path):
    older, newer = (write_snapshot(tmp_path, market_of(log, cut), next_offset=cut) for cut in (4, 6))
    newer.write_bytes(newer.read_bytes()[:-10])
    with pytest.raises(DamagedSnapshot, match="checksum"):
        read_snapshot(newer)
    assert files(tmp_path).newest(10**9, FOREVER_MS).next_offset == 4
    older.write_bytes(b"")
    assert files(tmp_path).newest(10**9, FOREVER_MS) is None


def test_a_snapshot_of_other_code_is_not_used(log, tmp_path, monkeypatch):
    path = write_snapshot(tmp_path, market_of(log, 4), next_offset=4)
    monkeypatch.setattr(view_snapshots, "version", lambda: "of another day")
    with pytest.raises(DamagedSnapshot, match="another version"):
        read_snapshot(path)


def test_it_is_written_beside_the_live_view_when_it_is_time_and_only_the_last_few_stay(log, tmp_path):
    writer = ViewSnapshots(tmp_path, every_events=1, every_s=1e9)
    market = Market()
    for offset, command in enumerate(log.commands):
        market.apply(command)
        writer.offer(market, next_offset=offset + 1)
        wait_for_child(writer)
    found = ViewSnapshots(tmp_path, 1, 1e9).newest(10**9, FOREVER_MS)
    assert (found.seq, found.next_offset) == (market.seq, len(log.commands))
    assert len(list(tmp_path.iterdir())) == view_snapshots.KEPT


def test_nothing_new_is_not_written_again(log, tmp_path):
    writer = ViewSnapshots(tmp_path, every_events=10**6, every_s=0)
    market = market_of(log, 4)
    writer.offer(market, 4)
    wait_for_child(writer)
    (path,) = tmp_path.iterdir()
    path.unlink()
    writer.offer(market, 4)
    wait_for_child(writer)
    assert list(tmp_path.iterdir()) == []


def wait_for_child(writer: ViewSnapshots) -> None:
    give_up_s = time.monotonic() + 20
    while writer.busy():
        assert time.monotonic() < give_up_s
        time.sleep(0.01)
