"""What should stand in each hour: tiers, windows, GPUs kept free, minimum blocks; and why GPUs are missing."""

from datetime import UTC, datetime

import pytest

from agents.node.errors import BadConfiguration
from agents.node.idleness.source import Look, Use
from agents.node.offering import Capacity, Sold, pricer, wishes_for
from agents.node.policy import Policy, PolicyFile
from agents.node.pricing import Market
from tests.unit.agents.test_policy import MINIMAL

HOUR_S = 3600
SUNDAY = int(datetime(2026, 11, 22, tzinfo=UTC).timestamp())


def hours(first: int, last: int) -> range:
    return range(SUNDAY + first * HOUR_S, SUNDAY + last * HOUR_S, HOUR_S)


def policy_of(tmp_path, text: str) -> Policy:
    file = tmp_path / "policy.toml"
    file.write_text(MINIMAL + text)
    return PolicyFile(file).current


def gpus_of(policy: Policy, starts: range, capacity: Capacity, sold: Sold | None = None, lot: int = 1) -> dict:
    sold = sold or Sold()
    ticks = {offer.tier: 10_000 for offer in policy.tiers}
    price = pricer(policy, starts, starts[0], ticks, {}, sold, capacity.whole)
    wishes = wishes_for(policy, policy.tiers, starts, capacity, sold, lot, price)
    return {tier: [wish.gpus for wish in wishes if wish.tier == tier] for tier in ticks}


def reasons_of(policy: Policy, start_s: int, capacity: Capacity, sold: Sold | None = None) -> list[tuple[str, ...]]:
    sold = sold or Sold()
    starts = range(start_s, start_s + HOUR_S, HOUR_S)
    price = pricer(policy, starts, start_s, {offer.tier: 1 for offer in policy.tiers}, {}, sold, capacity.whole)
    return [wish.why_not for wish in wishes_for(policy, policy.tiers, starts, capacity, sold, 1, price)]


ALL = Capacity(8, 8)


def test_nothing_is_offered_in_a_maintenance_window_not_even_in_hours_that_it_only_touches(tmp_path):
    policy = policy_of(tmp_path, 'maintenance = [{ days = ["sun"], from = "02:30", to = "04:00" }]\n')
    assert gpus_of(policy, hours(0, 6), ALL) == {"F": [8, 8, 0, 0, 8, 8]}
    assert gpus_of(policy, hours(24, 30), ALL) == {"F": [8] * 6}
    assert reasons_of(policy, SUNDAY + 3 * HOUR_S, ALL) == [("maintenance sun 02:30 to 04:00",)]


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins(tmp_path):
    policy = policy_of(tmp_path, 'maintenance = [{ days = ["sat"], from = "22:00", to = "02:00" }]\n')
    assert gpus_of(policy, hours(-3, 4), ALL) == {"F": [8, 0, 0, 0, 0, 8, 8]}
    assert gpus_of(policy, hours(21, 28), ALL) == {"F": [8] * 7}


def test_windows_are_in_the_policys_time_zone_and_moments_in_their_own(tmp_path):
    text = 'time_zone = "Asia/Shanghai"\nmaintenance = [{ from = "10:00", to = "11:00" }]\n'
    assert gpus_of(policy_of(tmp_path, text), hours(0, 4), ALL) == {"F": [8, 8, 0, 8]}
    text = "maintenance = [{ from = 2026-11-22T02:00:00+01:00, to = 2026-11-22T02:00:00Z }]\n"
    assert gpus_of(policy_of(tmp_path, text), hours(0, 4), ALL) == {"F": [8, 0, 8, 8]}


def test_gpus_that_are_kept_free_are_not_offered_and_what_is_sold_counts_once(tmp_path):
    policy = policy_of(
        tmp_path, 'keep_free = [{ from = "01:00", to = "03:00", gpus = 3 }, { from = "02:00", to = "03:00" }]\n'
    )
    assert gpus_of(policy, hours(0, 4), ALL) == {"F": [8, 5, 0, 8]}
    sold = Sold.of_tiers({"F": {SUNDAY + HOUR_S: 4}})
    assert gpus_of(policy, hours(0, 2), ALL, sold) == {"F": [8, 1]}
    assert reasons_of(policy, SUNDAY + HOUR_S, ALL, sold) == [("3 kept free 01:00 to 03:00", "4 sold")]


TIERS = """
[[offers]]
tier = "F"
gpus = 5
hours = [{ from = "08:00", to = "20:00" }]
[[offers]]
tier = "I"
price = { floor = "3.00" }
"""


def test_tiers_share_the_gpus_in_their_order_in_their_hours_at_their_prices(tmp_path):
    policy = policy_of(tmp_path, TIERS)
    assert gpus_of(policy, hours(7, 9), ALL) == {"F": [0, 5], "I": [8, 3]}
    assert reasons_of(policy, SUNDAY + 7 * HOUR_S, ALL)[0] == ("tier F is offered 08:00 to 20:00",)
    sold = Sold.of_tiers({"F": {SUNDAY + 8 * HOUR_S: 2}, "I": {SUNDAY + 8 * HOUR_S: 1}})
    assert gpus_of(policy, hours(8, 9), ALL, sold) == {"F": [3], "I": [2]}
    price = pricer(policy, hours(8, 9), SUNDAY, {"F": 1, "I": 1}, {"I": Market()}, sold, 8)
    assert [price(offer, SUNDAY).micros for offer in policy.tiers] == [12_840_000, 3_000_000]


def test_hours_that_the_machine_is_needed_for_are_offered_with_what_is_left_of_it(tmp_path):
    jobs = Look(8, (Use(6, "job 7", SUNDAY + HOUR_S, SUNDAY + 2 * HOUR_S), Use(3, "job 8", SUNDAY + 3 * HOUR_S)))
    capacity = Capacity(6, 8, "2 reserved", jobs)
    assert gpus_of(policy_of(tmp_path, ""), hours(0, 5), capacity) == {"F": [6, 2, 6, 5, 5]}
    assert reasons_of(policy_of(tmp_path, ""), SUNDAY + HOUR_S, capacity) == [("job 7",)]
    assert reasons_of(policy_of(tmp_path, ""), SUNDAY, capacity) == [("2 reserved",)]


def test_fewer_hours_in_a_row_than_the_minimum_block_are_not_offered(tmp_path):
    policy = policy_of(tmp_path, "minimum_block = 3\n")
    sold = Sold.of_tiers({"F": {SUNDAY + 2 * HOUR_S: 8, SUNDAY + 6 * HOUR_S: 8}})
    assert gpus_of(policy, hours(0, 9), ALL, sold) == {"F": [0, 0, 0, 8, 8, 8, 0, 0, 0]}
    starts = hours(0, 9)
    price = pricer(policy, starts, SUNDAY, {"F": 1}, {}, sold, 8)
    wishes = wishes_for(policy, policy.tiers, starts, ALL, sold, 1, price)
    assert wishes[0].why_not == ("2 periods in a row, minimum_block is 3",)


def test_whole_nodes_are_offered_in_eights_and_the_rest_is_named(tmp_path):
    policy = policy_of(tmp_path, "whole_node = true\nsplit = true\n")
    sold = Sold.of_tiers({"F": {SUNDAY: 1}})
    starts = hours(0, 2)
    price = pricer(policy, starts, SUNDAY, {"F": 1}, {}, sold, 8)
    wishes = wishes_for(policy, policy.tiers, starts, ALL, sold, 8, price)
    assert [(wish.gpus, wish.pool) for wish in wishes] == [(0, 7), (8, 8)]
    assert wishes[0].why_not == ("1 sold", "7 GPUs are not a whole node of 8")


REFUSED = {
    "an hour that there is not": (
        'maintenance = [{ from = "25:00", to = "26:00" }]\n',
        "line 6: maintenance.0.from: should be an hour",
    ),
    "a moment without offset": (
        "maintenance = [{ from = 2026-11-22T02:00:00, to = 2026-11-22T03:00:00 }]\n",
        "moment with its offset",
    ),
    "hours and moments mixed": (
        'maintenance = [{ from = "01:00", to = 2026-11-22T03:00:00Z }]\n',
        "both be hours of the day",
    ),
    "an end before its start": (
        "maintenance = [{ from = 2026-11-22T02:00:00Z, to = 2026-11-22T01:00:00Z }]\n",
        "to should be after from",
    ),
    "days of a moment": (
        'maintenance = [{ days = ["mon"], from = 2026-11-22T02:00:00Z, to = 2026-11-22T03:00:00Z }]\n',
        "days go with hours",
    ),
    "no such day": (
        'maintenance = [{ days = ["son"], from = "01:00", to = "02:00" }]\n',
        "line 6: maintenance.0.days.0: ",
    ),
    "no GPU kept": (
        'keep_free = [{ gpus = 0, from = "01:00", to = "02:00" }]\n',
        "keep_free.0.gpus: .*greater than or equal to 1",
    ),
    "no such time zone": ('time_zone = "Mars/Base"\n', "line 6: time_zone: should be a time zone like"),
    "a time zone that is a path": ('time_zone = "../../etc/passwd"\n', "line 6: time_zone: should be a time zone like"),
    "a tier twice": (TIERS.replace('"I"', '"F"'), "line 7: offers name tier F twice"),
    "tier beside offers": ('tier = "F"\n' + TIERS, "line 6: tier and offers exclude each other"),
    "a block longer than the horizon": ("minimum_block = 49\n", "line 6: minimum_block must be at most periods_ahead"),
    "split of single GPUs": ("split = true\n", "line 6: split offers a whole node's GPUs singly"),
    "a ttl of seconds": ("ttl_s = 5\n", "line 6: ttl_s: .*greater than or equal to 60"),
    "a ceiling below the floor": ('price.ceiling = "12.00"\n', "line 6: price: ceiling should be at least the floor"),
    "an ask below the floor": ('price.ask = "12.00"\n', "line 6: price: ask should be at least the floor"),
    "decay to nowhere": ("price.decay = {}\n", "line 6: price: decay comes down from ask, ask_curve or index"),
    "decay that rises": (
        'price.ask = "20"\nprice.decay = { from_hours = 2, to_hours = 3 }\n',
        "line 7: price.decay: to_hours should be less",
    ),
    "an unknown rule": ("price.moon = {}\n", "line 6: price.moon: there is no such key"),
    "an unknown key of an offer": (TIERS + "colour = 3\n", r"line 14: offers.1.colour: there is no such key"),
    "an offer without a tier": ("\n[[offers]]\ngpus = 1\n", "line 7: offers.0.tier: is missing"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_followed_is_one_line_with_file_line_and_key(tmp_path, case):
    text, words = REFUSED[case]
    with pytest.raises(BadConfiguration, match=words) as refused:
        policy_of(tmp_path, text)
    assert str(refused.value).startswith(f"policy {tmp_path / 'policy.toml'}: ")
    assert "\n" not in str(refused.value)


def test_a_value_over_several_lines_is_named_by_the_line_on_which_it_begins(tmp_path):
    curve = "\n".join(['  "1",'] * 23 + ['  "0",'])
    text = MINIMAL.replace('price.floor = "12.84"', f"# prices\n\nprice.floor_curve = [\n{curve}\n]")
    file = tmp_path / "policy.toml"
    file.write_text(text)
    with pytest.raises(BadConfiguration, match=r"line 5: price.floor_curve.23: should be more than 0"):
        PolicyFile(file)


def test_a_file_of_thousands_of_lines_is_refused_without_a_line_and_at_once(tmp_path):
    file = tmp_path / "policy.toml"
    file.write_text(MINIMAL + "# a remark\n" * 50_000 + "colour = 3\n")
    with pytest.raises(BadConfiguration, match=r"policy\.toml: colour: there is no such key"):
        PolicyFile(file)
