"""Whatever the rules, the market and the hour: prices keep to floor, ceiling and tick, and rivals come to rest."""

from hypothesis import given
from hypothesis import strategies as st

from agents.node.pace import Pace
from agents.node.price_rules import PriceRule
from agents.node.pricing import Market, quote
from schemas.money import PRICE_MAX_MICROS, format_micros

START_S = 1_795_363_200
TICKS = st.sampled_from([1000, 10_000])

floors = st.integers(10_000, 50_000_000).map(lambda micros: micros // 10 * 10)
rises = st.integers(0, 50_000_000)
decays = st.builds(
    lambda to, more, steps: {"from_hours": to + more, "to_hours": to, "steps": steps},
    st.integers(0, 48),
    st.integers(1, 48),
    st.integers(1, 20),
)
occupancies = st.fixed_dictionaries(
    {"target_percent": st.integers(0, 100), "step_percent": st.integers(1, 100), "percent_max": st.integers(1, 90)}
)
markets = st.builds(
    Market,
    st.none() | st.integers(1, PRICE_MAX_MICROS),
    st.dictionaries(st.just(START_S), st.integers(1, PRICE_MAX_MICROS)),
    st.none() | st.integers(0, 100),
)


@st.composite
def rules(draw) -> PriceRule:
    floor, rise, more = draw(floors), draw(rises), draw(rises)
    fields = {"floor": format_micros(floor), "ask": format_micros(floor + rise)}
    if draw(st.booleans()):
        fields["ceiling"] = format_micros(floor + more)
    optional = {
        "index": st.fixed_dictionaries({"percent": st.integers(-90, 1000)}),
        "undercut": st.fixed_dictionaries({"ticks": st.integers(1, 10_000)}),
        "decay": decays,
        "occupancy": occupancies,
    }
    fields |= {name: draw(kind) for name, kind in optional.items() if draw(st.booleans())}
    return PriceRule.model_validate(fields)


@given(rules(), markets, st.integers(0, 100 * 3600), TICKS)
def test_no_price_is_below_the_floor_above_the_ceiling_or_between_two_ticks(rule, market, ahead_s, tick):
    quoted = quote(START_S, START_S - ahead_s, rule, tick, market)
    floor = -(-rule.floor_micros(16) // tick) * tick
    assert quoted.floor_micros == floor
    assert floor <= quoted.micros <= PRICE_MAX_MICROS
    assert quoted.micros % tick == 0
    if rule.ceiling is not None:
        assert quoted.micros <= max(int(float(rule.ceiling) * 1_000_000 + 0.5), floor)


@given(rules(), markets, st.integers(0, 100), TICKS)
def test_a_price_only_falls_as_its_hour_comes_nearer(rule, market, ahead_h, tick):
    far, near = (quote(START_S, START_S - h * 3600, rule, tick, market).micros for h in (ahead_h + 1, ahead_h))
    assert near <= far


rivals = st.tuples(st.integers(1, 60), st.integers(0, 60), st.integers(1, 30))


@given(st.lists(rivals, min_size=2, max_size=4), TICKS)
def test_agents_that_undercut_each_other_come_to_rest_at_or_above_their_floors(agents, tick):
    rules = [
        PriceRule(
            floor=format_micros(floor * tick), ask=format_micros((floor + rise) * tick), undercut={"ticks": ticks}
        )
        for floor, rise, ticks in agents
    ]
    prices = [quote(START_S, 0, rule, tick, Market()).micros for rule in rules]
    reprices = 0
    for _ in range(max(prices) // tick + 2):
        before = list(prices)
        for place, rule in enumerate(rules):
            others = min(price for other, price in enumerate(prices) if other != place)
            prices[place] = quote(START_S, 0, rule, tick, Market(best_other={START_S: others})).micros
            reprices += prices[place] != before[place]
            assert prices[place] >= rule.floor_micros(16)
        if prices == before:
            break
    else:
        raise AssertionError("they never came to rest")
    assert reprices <= len(agents) * (max(floor + rise for floor, rise, _ in agents) + 1)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=200), st.integers(1, 10), st.integers(1, 120))
def test_however_often_the_market_moves_no_span_has_more_reprices_than_the_budget(gaps_s, most, span_s):
    pace, now_s, spent = Pace(), 0, []
    for gap_s in gaps_s:
        now_s += gap_s
        if pace.allows("product", most, span_s, now_s):
            spent.append(now_s)
    for end_s in spent:
        assert sum(1 for at_s in spent if end_s - span_s < at_s <= end_s) <= most
