"""The long form of the fault run on paper: rounds follow from the seed, counts add up, what a restore loses is said."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.faults.load.traders import Notes
from tests.long_faults import marks
from tests.long_faults.accidents import EXCLUSIVE, Accidents
from tests.long_faults.marks import Mark
from tests.long_faults.tally import Tally

NOBODY = SimpleNamespace()


def drawn(seed: int, count: int = 400) -> list[str]:
    return Accidents(NOBODY, NOBODY, [], seed, count)._victims


def test_accidents_follow_from_the_seed_and_are_of_every_kind():
    assert drawn(7) == drawn(7) != drawn(8)
    kinds = Counter(victim.partition(" ")[0] if " " in victim else "+" * ("+" in victim) for victim in drawn(7))
    assert {"stop", "zombie", "+", ""} == kinds.keys()
    assert {f"zombie {name}" for name in EXCLUSIVE} <= set(drawn(7))
    assert {"tree", "everything", "agent"} <= set(drawn(7))


def test_runs_with_one_tally_file_go_on_where_the_last_one_ended_and_add_up(tmp_path: Path):
    file = tmp_path / "tally.json"
    assert Tally.load(file) is None
    whole = Tally(7)
    for number in range(3):
        played = Tally(7, number + 1, Counter(kill=10, tree=1), Counter(orders=5), Counter(keys=2), [f"fault {number}"])
        whole.add(played)
        whole.save(file)
        whole = Tally.load(file)
    assert whole == Tally(
        7, 3, Counter(kill=30, tree=3), Counter(orders=15), Counter(keys=6), ["fault 0", "fault 1", "fault 2"]
    )
    assert str(whole) == (
        "3 rounds, 33 accidents (30 kill, 3 tree); acknowledged 15 orders; given up by restored backups 6 keys; "
        "3 broken promises"
    )
    with pytest.raises(ValueError, match="seeds 7 and 8"):
        whole.add(Tally(8))


def test_what_was_acknowledged_after_a_backup_is_named_and_forgotten_and_what_was_before_is_kept(monkeypatch):
    monkeypatch.setattr(marks, "last_taken", lambda site: site.taken)
    notes = Notes(forms={"a-1": {}}, orders={"a-1": {}}, canceled={1})
    world = SimpleNamespace(
        traders=[SimpleNamespace(notes=notes, _seen={})],
        payer=SimpleNamespace(asked={"p-1": ()}, posted={"p-1": {}}, refused=set()),
        key_maker=SimpleNamespace(made={"k-1": 1, "k-2": 2}, revoked={}),
        seller=SimpleNamespace(steps={"lot": ["list"]}),
        feed=SimpleNamespace(trade_ids=[1], _trades_seq=1, books={"c": 1}),
        agents=[SimpleNamespace(label="north", taken=4)],
    )
    mark = Mark.of(world)
    notes.forms["a-2"], notes.orders["a-2"] = {}, {}
    notes.canceled.add(2)
    notes.contradictions.append("odd")
    world.payer.asked["p-2"], world.payer.posted["p-2"] = (), {}
    world.key_maker.revoked["k-2"] = world.key_maker.made.pop("k-2")
    world.seller.steps["lot"].append("withdraw")
    world.feed.trade_ids.append(2)
    world.agents[0].taken = 6
    assert mark.give_up(world) == {
        "orders": ["a-2"],
        "cancels": ["2"],
        "payments": ["p-2"],
        "keys": [],
        "revocations": ["k-2"],
        "sales": ["lot withdraw"],
        "reports": ["north 5", "north 6"],
    }
    kept = world.traders[0].notes
    assert (kept.orders.keys(), kept.canceled, kept.contradictions) == ({"a-1"}, {1}, ["odd"])
    assert (kept.forms.keys(), world.payer.asked.keys()) == ({"a-1", "a-2"}, {"p-1", "p-2"})
    assert (world.payer.posted, world.key_maker.made, world.seller.steps) == (
        {"p-1": {}},
        {"k-1": 1},
        {"lot": ["list"]},
    )
    assert (world.feed.trade_ids, world.feed.books) == ([1], {})
