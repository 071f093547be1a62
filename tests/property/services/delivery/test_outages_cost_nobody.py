"""An honest operator pays for no second of the venue's outages, however their edges lie to his reports and his hooks.

Tier: default, a few seconds. All moments are whole milliseconds, and the node does everything in time. The venue's
evidence of an outage begins at its last mark before it, and ends with the first report that it takes from anybody.
"""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.delivery import MeterOutcome
from schemas.nodes import NodeReported
from services.delivery.meter import measure
from services.delivery.spans import Span, union
from tests.fixtures.delivery import reading, reported
from tests.property.services.delivery.hour import GPU, START_MS, TEMPLATE, excused, inputs_of

PERIOD_MS, INTERVAL_MS, GRACE_MS, LEAD_MS = 60_000, 10_000, 5_000, 35_000
END_MS = START_MS + PERIOD_MS
FIRST_MS, LAST_MS = START_MS - 150_000, END_MS + 150_000
SOON_MS_MAX, HOOK_MS_MAX, PROOF_MS_MAX, MARK_MS = 1_000, 3_000, 20_000, 1_000


@dataclass(frozen=True)
class Hour:
    """The venue's outages with how stale its mark was at each, and how an honest node goes about its lease."""

    outages: list[Span]
    stale_ms: int
    others_report: bool
    phase_ms: int
    soon_ms: int
    proof_ms: int
    hook_ms: int

    def is_up(self, at_ms: int) -> bool:
        """Says whether the venue answers."""
        return not any(down_ms <= at_ms < up_ms for down_ms, up_ms in self.outages)

    def next_report(self, at_ms: int) -> int:
        """Returns when the node's next regular report is taken."""
        tick_ms = at_ms + (FIRST_MS + self.phase_ms - at_ms) % INTERVAL_MS
        while not self.is_up(tick_ms):
            tick_ms += INTERVAL_MS
        return tick_ms

    def hears(self, at_ms: int) -> int:
        """Returns when the node hears of what the venue has for it since a moment: soon, unless the venue is away."""
        soon_ms = at_ms + self.soon_ms
        away = any(down_ms <= soon_ms and at_ms < up_ms for down_ms, up_ms in self.outages)
        return self.next_report(soon_ms) if away else soon_ms

    @property
    def ready_ms(self) -> int:
        """When the node has proven its GPU to the venue: it is asked at the gate, or when the venue is there again."""
        return self.answered(self.hears(START_MS - LEAD_MS) + self.proof_ms)

    @property
    def opened_ms(self) -> int:
        """When the venue heard that the buyer is in."""
        return self.answered(self.hears(max(START_MS, self.ready_ms)) + self.hook_ms)

    def answered(self, at_ms: int) -> int:
        """Returns when an answer is taken that is there at a moment."""
        return at_ms if self.is_up(at_ms) else self.next_report(at_ms)

    @property
    def evidence(self) -> list[Span]:
        """What the venue knows of its outages."""
        ends = [up_ms if self.others_report else self.next_report(up_ms) for _, up_ms in self.outages]
        return union((down_ms - self.stale_ms, end_ms) for (down_ms, _), end_ms in zip(self.outages, ends, strict=True))

    def reports(self) -> list[NodeReported]:
        """What the node measured, as the venue has it."""
        records, waiting, window_ms = [], [], FIRST_MS
        for now_ms in range(FIRST_MS + self.phase_ms, LAST_MS, INTERVAL_MS):
            change = {
                "seq": len(records) + len(waiting) + 1,
                "mono_start_ms": window_ms - FIRST_MS,
                "mono_end_ms": now_ms - FIRST_MS,
                "queued": not self.is_up(now_ms),
                "gpus": (reading(GPU, energy_mj=now_ms),),
            }
            waiting.append(TEMPLATE.model_copy(update=change))
            window_ms = now_ms
            if self.is_up(now_ms):
                records += [reported(each, now_ms, None if each.queued else now_ms) for each in waiting]
                waiting = []
        return records


outages = st.lists(st.tuples(st.integers(-60_000, 70_000), st.integers(1, 50_000)), max_size=2).map(
    lambda pairs: union((START_MS + begin_ms, START_MS + begin_ms + length_ms) for begin_ms, length_ms in pairs)
)
hours = st.builds(
    Hour,
    outages=outages,
    stale_ms=st.integers(0, MARK_MS),
    others_report=st.booleans(),
    phase_ms=st.integers(1, INTERVAL_MS),
    soon_ms=st.integers(20, SOON_MS_MAX),
    proof_ms=st.integers(0, PROOF_MS_MAX),
    hook_ms=st.integers(0, HOOK_MS_MAX),
)


def metered(hour: Hour, offered_ms: int, access_ms: int) -> MeterOutcome:
    """Returns what the meter makes of the hour."""
    records = hour.reports()
    inputs = inputs_of(
        records,
        end_ms=END_MS,
        offered_ms=offered_ms,
        access_ms=access_ms,
        gap_ms_max=3 * INTERVAL_MS,
        opening_grace_ms=GRACE_MS,
        provisional_ms=LAST_MS,
        excuses=excused(hour.evidence),
    )
    return measure(inputs, records)


def shortfall(outcome: MeterOutcome) -> list[Span]:
    """Returns the time that is the operator's to pay."""
    return [(i.start_ms - START_MS, i.end_ms - START_MS) for i in outcome.intervals if not (i.conforming or i.excused)]


@given(hours)
@settings(deadline=None, max_examples=400)
def test_a_lease_that_an_honest_node_opens_between_outages_costs_it_nothing(hour):
    if hour.opened_ms >= END_MS:
        return  # the meter's own tests have the lease that came too late to be opened
    outcome = metered(hour, hour.ready_ms, hour.opened_ms)
    assert shortfall(outcome) == []
    assert outcome.delivered_gpu_s + outcome.excused_gpu_s in (PERIOD_MS // 1000, PERIOD_MS // 1000 + 1)


@given(hours)
@settings(deadline=None, max_examples=200)
def test_a_lease_that_was_open_before_loses_no_time_to_outages_and_is_excused_none(hour):
    """The node measured on, and its reports came when the venue was back."""
    outcome = metered(hour, START_MS - LEAD_MS, START_MS - 10_000)
    assert (shortfall(outcome), outcome.delivered_gpu_s) == ([], PERIOD_MS // 1000)
