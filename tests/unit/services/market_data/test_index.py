"""HBX by hand: each level of evidence, the outlier rule, the party cap, the digest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.market_data.index import (
    Fill,
    GateInputs,
    LastIndex,
    executable_mid,
    fix_index,
    median_micros,
    traded_price,
    weighted_price,
    without_outliers,
)

GATE_MS = 100_000_000_000
HOUR_MS = 3_600_000


def fill(price, qty, buyer, seller, age_ms=HOUR_MS, seq=1):
    return Fill(seq, GATE_MS - age_ms, price, qty, buyer, seller)


def gate(fills, around=(), bids=(), asks=(), last=None):
    return GateInputs("H100SXM80.CNE.F-26112213", GATE_MS, 3600, fills, around, bids, asks, last)


THREE = [fill(100, 4, "b1", "s1"), fill(102, 4, "b2", "s2"), fill(104, 4, "b3", "s3")]


def test_level_1_weighs_the_fills_of_the_last_three_hours():
    """Holds [F-4]"""
    old = [fill(90, 100, "b4", "s4", age_ms=4 * HOUR_MS)]
    value = fix_index(gate([*old, *THREE]))
    assert (value.index_micros, value.level) == (102, 1)


def test_level_2_takes_the_whole_life_when_the_last_hours_are_thin():
    old = [fill(100, 4, "b1", "s1", age_ms=9 * HOUR_MS), fill(103, 4, "b2", "s2", age_ms=8 * HOUR_MS)]
    value = fix_index(gate([*old, fill(104, 4, "b3", "s3")]))
    assert (value.index_micros, value.level) == (102, 2)


def test_level_3_is_the_mid_of_what_eight_gpus_cost():
    thin = [fill(100, 1, "b1", "s1")]
    value = fix_index(gate(thin, bids=[(1000, 4), (990, 10)], asks=[(1010, 8)]))
    assert (value.index_micros, value.level) == ((4 * 1000 + 4 * 990 + 8 * 1010) // 16, 3)


def test_level_4_pools_the_hours_next_to_it():
    own, around = THREE[:1], THREE[1:]
    value = fix_index(gate(own, around=around))
    assert (value.index_micros, value.level) == (102, 4)


def test_level_5_repeats_the_last_value():
    value = fix_index(gate(THREE[:1], last=LastIndex("H100SXM80.CNE.F-26112212", 77)))
    assert (value.index_micros, value.level) == (77, 5)


def test_before_any_value_level_5_is_the_price_of_the_few_fills_there_are():
    value = fix_index(gate([fill(100, 1, "b1", "s1"), fill(103, 1, "b2", "s1")]))
    assert (value.index_micros, value.level) == (101, 5)


def test_a_contract_without_fills_has_no_index():
    with pytest.raises(ValueError):
        fix_index(gate([]))


def test_two_sellers_two_buyers_or_seven_gpus_are_not_enough():
    two_sellers = [fill(100, 4, "b1", "s1"), fill(100, 4, "b2", "s2"), fill(100, 4, "b3", "s2")]
    two_buyers = [fill(100, 4, "b1", "s1"), fill(100, 4, "b2", "s2"), fill(100, 4, "b2", "s3")]
    seven = [fill(100, 3, "b1", "s1"), fill(100, 2, "b2", "s2"), fill(100, 2, "b3", "s3")]
    assert [traded_price(pool) for pool in (two_sellers, two_buyers, seven)] == [None, None, None]


def test_fills_with_oneself_do_not_count():
    assert traded_price([*THREE[:2], fill(104, 4, "same", "same")]) is None


def test_an_outlier_past_three_scaled_mads_is_dropped():
    # median 100, deviations 0 0 1 1 40: MAD 1; the band is max(4.4478, 5) = 5
    """Holds [F-5]"""
    fills = [fill(price, 1, "b", "s") for price in (99, 100, 100, 101, 140)]
    assert [kept.price_micros for kept in without_outliers(fills)] == [99, 100, 100, 101]


def test_the_band_is_at_least_five_percent_and_its_edge_stays():
    fills = [fill(price, 1, "b", "s") for price in (1000, 1000, 1000, 1050, 1051)]
    assert [kept.price_micros for kept in without_outliers(fills)] == [1000, 1000, 1000, 1050]


def test_the_median_is_the_lower_one_and_counts_gpus():
    assert median_micros([(1, 1), (2, 1)]) == 1
    assert median_micros([(1, 1), (2, 3), (3, 1)]) == 2
    assert median_micros([(1, 5), (2, 3)]) == 1


def test_a_party_with_more_than_a_quarter_weighs_a_quarter():
    # s1 has 12 of 16 GPUs: its fills weigh 16/4 = 4; the others have 1 each of 16 and keep their weight
    """Holds [F-6]"""
    fills = [
        *(fill(200, 1, f"b{n}", "s1") for n in range(12)),
        *(fill(100, 1, f"c{n}", f"s{n + 2}") for n in range(4)),
    ]
    weight = 1_000_000 * 16 // 48
    assert weighted_price(fills) == (12 * weight * 200 + 4 * 1_000_000 * 100) // (12 * weight + 4_000_000)
    assert weighted_price(fills) == 149


def test_a_wide_or_thin_book_has_no_executable_mid():
    assert executable_mid([(100, 7)], [(101, 8)]) is None
    assert executable_mid([(100, 8)], [(111, 8)]) is None
    assert executable_mid([(95, 8)], [(105, 8)]) == 100


def test_the_digest_depends_on_the_inputs_used_and_names_no_party():
    base = fix_index(gate(THREE))
    renamed = fix_index(gate([f._replace(buyer="x" + f.buyer, seller="y" + f.seller) for f in THREE]))
    dearer = fix_index(gate([*THREE[:2], THREE[2]._replace(price_micros=105)]))
    assert base == renamed
    assert base.inputs_digest != dearer.inputs_digest


fills_strategy = st.lists(
    st.builds(
        fill,
        st.integers(1, 10**12),
        st.integers(1, 1000),
        st.sampled_from(["b1", "b2", "b3", "p"]),
        st.sampled_from(["s1", "s2", "s3", "p"]),
    ),
    min_size=1,
    max_size=30,
)


@given(fills_strategy)
def test_the_index_lies_between_the_lowest_and_the_highest_price(fills):
    value = fix_index(gate(fills))
    prices = [f.price_micros for f in fills]
    assert min(prices) <= value.index_micros <= max(prices)


@given(fills_strategy, st.data())
def test_splitting_a_fill_in_two_does_not_move_the_index(fills, data):
    i = data.draw(st.integers(0, len(fills) - 1))
    even = [f._replace(qty=2 * f.qty) for f in fills]
    half = even[i]._replace(qty=fills[i].qty)
    split = [*even[:i], half, half, *even[i + 1 :]]
    whole, parts = fix_index(gate(even)), fix_index(gate(split))
    assert whole.level == parts.level
    assert abs(whole.index_micros - parts.index_micros) * 10**5 <= whole.index_micros + 10**5
