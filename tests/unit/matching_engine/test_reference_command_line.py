"""`hourbook engine`: anyone can settle a bill or replay a log from files, without a venue."""

import json
from pathlib import Path

import pytest

from clients.cli.output import CommandError
from console.commands.engine import replay, settle
from matching_engine.rules import Engine
from tests.scenarios.venue import Venue

CASE = {"q": 8, "T": 3600, "P": 2_000_000, "I": 2_400_000, "E": 0, "r": 1000, "hi": 990, "lo": 800}
CASE |= {"bond": 8_000_000, "fee_bps": 100, "D": 24_000, "U": 24_000}


def written(path: Path, data: object) -> Path:
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def test_a_file_of_positions_is_settled_in_its_order(tmp_path: Path, capsys: pytest.CaptureFixture):
    settle(written(tmp_path / "cases.json", [{"in": CASE}, {"name": "none", "in": CASE | {"D": 0, "U": 0}}]), json=True)
    assert json.loads(capsys.readouterr().out) == [
        {
            "out": {
                "gross": 13_333_333,
                "ld": 2_732_163,
                "fee": 133_333,
                "buyer": -10_601_170,
                "operator": 10_467_837,
                "venue": 133_333,
            }
        },
        {"out": {"gross": 0, "ld": 8_000_000, "fee": 0, "buyer": 8_000_000, "operator": -8_000_000, "venue": 0}},
    ]


@pytest.mark.parametrize(
    ("cases", "reason"),
    [
        ({}, "is not a list"),
        ([{}], 'position 1 has no "in"'),
        ([{"in": CASE}, {"in": {**CASE, "D": 1.5}}], "position 2: D must be whole"),
        ([{"in": {**CASE, "D": True}}], "position 1: D must be whole"),
        ([{"in": {**CASE, "D": -1}}], "position 1: D must be whole"),
        ([{"in": {**CASE, "extra": 1}}], "position 1 has unknown extra"),
        ([{"in": {name: value for name, value in CASE.items() if name != "P"}}], "position 1 lacks P"),
        ([{"in": {**CASE, "lo": 990}}], "lo must be below hi"),
        ([{"in": {**CASE, "D": 28_801, "U": 0}}], "position 1: excused 0, delivered 28801"),
    ],
)
def test_a_position_that_cannot_be_is_refused_by_its_place(tmp_path: Path, cases: object, reason: str):
    with pytest.raises(CommandError, match=reason):
        settle(written(tmp_path / "cases.json", cases))


def test_a_missing_or_broken_file_is_refused_in_one_line(tmp_path: Path):
    with pytest.raises(CommandError, match="there is no file"):
        settle(tmp_path / "nothing.json")
    broken = tmp_path / "broken.json"
    broken.write_text("[", encoding="utf-8")
    with pytest.raises(CommandError, match="is not JSON"):
        settle(broken)


def test_a_replayed_log_gives_the_logged_events(tmp_path: Path, capsys: pytest.CaptureFixture):
    venue = Venue(Engine())
    venue.define()
    venue.send(b"\xff broken")
    venue.credit("alice", 5)
    log, events = tmp_path / "commands", tmp_path / "events"
    lines = [
        json.dumps({"offset": offset, "ts_ms": ts_ms, "value": value.decode("utf-8", "surrogateescape")})
        for offset, ts_ms, value in venue.records
    ]
    log.write_text("\n".join(lines), encoding="utf-8")
    events.write_bytes(b"\n".join(venue.events))
    replay(log, events=events, json=True)
    shown = json.loads(capsys.readouterr().out)
    assert shown.pop("engine") in ("reference", "cython")
    assert shown == {
        "next_offset": 4,
        "seq": venue.engine.seq,
        "link": venue.engine.link.hex(),
        "balance_digest": venue.engine.balance_digest(),
        "events": len(venue.events),
        "same_as_file": True,
        "same_as_reference": None,
    }
    events.write_bytes(b"\n".join([*venue.events[:-1], venue.events[-1].replace(b"alice", b"malloy")]))
    with pytest.raises(CommandError, match=f"event {venue.engine.seq} differs"):
        replay(log, events=events)
    log.write_text("\n".join(lines[1:]), encoding="utf-8")
    with pytest.raises(CommandError, match="cannot be replayed: record at offset 1, expected offset 0"):
        replay(log)
