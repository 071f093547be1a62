"""A fleet's table, its waves of restarts, and one file for all its policies."""

import tomllib
from pathlib import Path

import pytest

from agents.node.policy import Policy
from clients.cli.output import CommandError
from clients.fleet.rendering import changes, check, names_in, policies_of, write
from clients.fleet.table import Trade, row_of, sums_of, trades_of
from clients.fleet.waves import waves_of
from clients.toml_text import toml_of
from schemas.ids import contract_name

HOUR_S, NOW_S = 3600, 1_795_363_200
PRODUCT = "H100SXM80.CNE.F"


def node(name: str, **changes) -> dict:
    facts = {"node": name, "grade": "H100SXM80", "hub": "CNE", "state": "active", "level": "T1", "reason": ""}
    uuids = ["GPU-00000001", "GPU-00000002"]
    return facts | {"gpus": uuids, "fit_gpus": uuids, "last_report_ms": NOW_S * 1000, "level_held": []} | changes


def position(name: str, state: str, ahead_h: int, **changes) -> dict:
    contract = contract_name(PRODUCT, NOW_S + ahead_h * HOUR_S, HOUR_S)
    return {"node": name, "state": state, "contract": contract, "qty": 2, "net": None, "currency": "CNY"} | changes


ORDERS = [
    {"kind": "capacity", "node": "node-a", "remaining_qty": 96},
    {"kind": "capacity", "node": "node-a", "remaining_qty": 4},
    {"kind": "resell", "node": None, "remaining_qty": 7},
]
POSITIONS = [
    position("node-a", "OPEN", 5),
    position("node-a", "OPEN", 2),
    position("node-b", "DELIVERING", 0),
    position("node-b", "SETTLED_FINAL", -3, net="25.42"),
    position("node-b", "SETTLED_PROVISIONAL", -2, net="-1.00"),
    position("node-b", "SETTLED_FINAL", -40, net="100.00"),
    position("node-b", "VOID", -2, net="9.00"),
]


def test_a_row_says_what_is_offered_sold_and_earned_since_a_moment():
    trades = trades_of(ORDERS, POSITIONS, NOW_S - 24 * HOUR_S)
    rows = [row_of(node(name), trades[name], NOW_S * 1000) for name in ("node-a", "node-b")]
    shared = {"grade": "H100SXM80", "hub": "CNE", "state": "active", "level": "T1", "gpus": 2, "fit": 2, "trouble": ""}
    assert rows == [
        {"node": "node-a", "offered": 100, "sold": 4, "delivering": 0, "settled": 0, "earned": ""} | shared,
        {"node": "node-b", "offered": 0, "sold": 0, "delivering": 1, "settled": 2, "earned": "24.42 CNY"} | shared,
    ]
    assert sums_of(rows, trades.values()) == {
        "nodes": 2,
        "troubles": 0,
        "gpus": 4,
        "fit": 4,
        "offered": 100,
        "sold": 4,
        "delivering": 1,
        "settled": 2,
        "earned": "24.42 CNY",
    }


@pytest.mark.parametrize(
    ("changes", "trade", "trouble"),
    [
        ({}, Trade(offered=1), ""),
        ({}, Trade(), "offers nothing"),
        ({"state": "quarantined", "reason": "report_forked"}, Trade(offered=1), "quarantined: report_forked"),
        ({"state": "enrolled"}, Trade(), "enrolled"),
        ({"state": "retired"}, Trade(), ""),
        ({"last_report_ms": (NOW_S - 600) * 1000}, Trade(offered=1), "no report for 600 s"),
        ({"fit_gpus": ["GPU-00000001"]}, Trade(offered=1), "1 of 2 GPUs not fit"),
        ({"level_held": [{"reason": "driver_unknown"}]}, Trade(offered=1), "level held: driver_unknown"),
    ],
)
def test_the_first_thing_that_keeps_a_node_from_earning_is_its_trouble(changes, trade, trouble):
    assert row_of(node("node-a", **changes), trade, NOW_S * 1000)["trouble"] == trouble


def test_restarts_begin_with_one_idle_node_and_leave_nodes_alone_that_have_to_be_there_soon():
    nodes = [node(f"node-{number}") for number in range(8)]
    nodes += [node("node-q", state="quarantined"), node("node-r", state="retired")]
    trades = {
        "node-0": Trade(next_start_s=NOW_S + 600),
        "node-1": Trade(delivering=2),
        "node-2": Trade(next_start_s=NOW_S + 7200),
        "node-3": Trade(next_start_s=NOW_S + 3600),
    }
    assert waves_of(nodes, trades, NOW_S, percent=33, quiet_s=900) == {
        "waves": [["node-4"], ["node-5", "node-6"], ["node-7", "node-2"], ["node-3", "node-1"]],
        "later": {"node-0": "its next sold hour begins in 600 s", "node-q": "quarantined: look at it first"},
    }
    assert waves_of([], {}, NOW_S, percent=10, quiet_s=900) == {"waves": [], "later": {}}


FLEET = """
nodes = ["gpu[08-10]", "login1"]

[policy]
hub = "CNE"
whole_node = true
maintenance = [{ from = 2026-12-24T18:00:00+08:00, to = 2026-12-25T06:00:00+08:00 }]
hooks = { start = ["true"], stop = ["true"] }
[policy.price]
floor = "12.84"
ask = "16.00"

[groups.old]
nodes = ["gpu[09-10]"]
policy = { price = { floor = "10.00" } }

[node.gpu10]
label = "the spare"
price.ask = "11.00"
"""


def fleet(tmp_path: Path, text: str = FLEET) -> Path:
    file = tmp_path / "fleet.toml"
    file.write_text(text)
    return file


def test_each_node_has_what_all_share_then_its_groups_then_its_own(tmp_path):
    policies = policies_of(fleet(tmp_path))
    read = {name: Policy.model_validate(tomllib.loads(text)) for name, text in policies.items()}
    assert {name: (each.label, each.price.floor, each.price.ask) for name, each in read.items()} == {
        "gpu08": ("gpu08", "12.84", "16.00"),
        "gpu09": ("gpu09", "10.00", "16.00"),
        "gpu10": ("the spare", "10.00", "11.00"),
        "login1": ("login1", "12.84", "16.00"),
    }
    assert {each.maintenance[0].in_words() for each in read.values()} == {
        "2026-12-24T18:00:00+08:00 to 2026-12-25T06:00:00+08:00"
    }
    check(policies)


def test_only_files_that_differ_are_written_and_none_is_deleted(tmp_path):
    into = tmp_path / "made"
    (into / "gone").mkdir(parents=True)
    (into / "gone" / "policy.toml").write_text("x")
    every = ["gpu08", "gpu09", "gpu10", "login1"]
    first = {"written": every, "unchanged": [], "left_over": ["gone"]}
    assert changes(policies_of(fleet(tmp_path)), into) == write(policies_of(fleet(tmp_path)), into) == first
    edited = policies_of(fleet(tmp_path, FLEET.replace('"10.00"', '"10.50"')))
    assert write(edited, into) == {
        "written": ["gpu09", "gpu10"],
        "unchanged": ["gpu08", "login1"],
        "left_over": ["gone"],
    }
    assert 'floor = "10.50"' in (into / "gpu09" / "policy.toml").read_text()
    assert sorted(file.name for file in (into / "gpu09").iterdir()) == ["policy.toml"]


def test_one_fault_keeps_every_file_back_and_nodes_with_the_same_fault_are_one_line(tmp_path):
    policies = policies_of(fleet(tmp_path, FLEET.replace('ask = "16.00"', 'ask = "9.00"')))
    with pytest.raises(CommandError) as refused:
        check(policies)
    assert str(refused.value) == (
        "no file is written: gpu08 and 2 more: price: ask should be at least the floor, which is more at 00:00"
    )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("nodes =", "hosts =", "there is no key hosts"),
        ('"login1"', '"../etc"', "'../etc' should be a name"),
        ('"login1"', '"a/b"', "'a/b' should be a name"),
        ('"gpu[08-10]"', '"gpu[10-08]"', "should have ranges such as"),
        ('"gpu[08-10]"', '"gpu[1-99999999]"', "should have ranges such as"),
        ('["gpu[09-10]"]', '["gpu11"]', "groups.old.nodes: gpu11 is not among nodes"),
        ("[node.gpu10]", "[node.gpu11]", "node.gpu11: is not among nodes"),
        ("[groups.old]", "[groups.old]\ncolour = 1", "groups.old: should have nodes and policy, and nothing else"),
        ("[policy]", "[policy", "fleet.toml: "),
        ('nodes = ["gpu[08-10]", "login1"]', "nodes = []", "nodes: should be a list of names"),
    ],
)
def test_a_file_that_cannot_be_followed_is_refused_with_its_place(tmp_path, old, new, words):
    with pytest.raises(CommandError, match=r"fleet\.toml") as refused:
        policies_of(fleet(tmp_path, FLEET.replace(old, new, 1)))
    assert words in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CommandError, match="No such file"):
        policies_of(tmp_path / "none.toml")


def test_toml_that_is_written_is_read_as_it_was():
    table = {"text": 'a "b" \\ ü \u007f \n', "odd key": {"a.b": [1, True, 1.5, {"x": "y"}]}, "empty": []}
    assert tomllib.loads(toml_of(table)) == table


def test_names_are_spelled_out_once_each():
    assert names_in(["gpu[1,3-4]-a", "gpu3-a", "x"], "nodes") == ["gpu1-a", "gpu3-a", "gpu4-a", "x"]
