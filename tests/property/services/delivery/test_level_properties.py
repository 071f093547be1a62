"""Whatever a record is: a node rises by one step, never while held or beyond its band, and worse never ranks above."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from services.delivery.levels import LEVELS, Record, Standing, next_level
from services.delivery.settings import Settings

BARS = Settings().level_bars


@st.composite
def records(draw) -> Record:
    owed, two_sided = draw(st.integers(0, 2_000)), draw(st.integers(0, 2_000))
    return Record(
        positions=draw(st.integers(0, 60)),
        owed_gpu_s=owed,
        delivered_gpu_s=draw(st.integers(owed - owed // 50, owed)),
        two_sided=draw(st.integers(0, 20)),
        two_sided_gpu_s=two_sided,
        disputed_gpu_s=draw(st.integers(0, two_sided // 100)),
    )


standings = st.builds(
    Standing,
    level=st.sampled_from(LEVELS),
    is_held=st.booleans(),
    level_max=st.sampled_from(LEVELS[1:]),
    days=st.integers(0, 120),
    records=st.fixed_dictionaries({"T2": records(), "T3": records()}),
    is_audited=st.booleans(),
)


@given(standings)
def test_a_level_rises_by_one_step_and_never_while_held_or_beyond_its_band(standing: Standing):
    level = next_level(standing, BARS)
    assert level <= standing.level_max
    assert LEVELS.index(level) <= LEVELS.index(standing.level) + (0 if standing.is_held else 1)


@given(standings)
def test_a_proven_node_is_never_below_t1_unless_it_is_held_at_t0(standing: Standing):
    level = next_level(standing, BARS)
    assert level >= "T1" or (standing.level == "T0" and standing.is_held)


@given(standings, st.integers(1, 100))
def test_who_delivered_less_or_agreed_less_never_ranks_higher(standing: Standing, lost: int):
    worse = {
        level: replace(
            record,
            delivered_gpu_s=max(0, record.delivered_gpu_s - lost),
            disputed_gpu_s=min(record.two_sided_gpu_s, record.disputed_gpu_s + lost),
        )
        for level, record in standing.records.items()
    }
    assert next_level(replace(standing, records=worse), BARS) <= next_level(standing, BARS)


@given(standings)
def test_a_level_that_was_lost_does_not_fall_further_on_the_same_record(standing: Standing):
    level = next_level(standing, BARS)
    if level < standing.level:
        assert next_level(replace(standing, level=level, is_held=True), BARS) == level
