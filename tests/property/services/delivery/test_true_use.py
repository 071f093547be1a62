"""What is paid and what is charged against a small model of what really happened: nobody gains by anybody's silence.

Tier: default, about 10 s. The truth is spans in which the node, its GPU, its uplink or the venue were down; an honest
agent reports every 10 s as the protocol says, a dishonest one says of its dark time whatever it likes.
"""

from dataclasses import dataclass
from itertools import groupby

from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.delivery import MeterOutcome, Witness
from schemas.nodes import NodeReported
from services.delivery.meter import measure
from services.delivery.spans import Span, length_of, within, without
from tests.fixtures.delivery import process, reading, reported
from tests.property.services.delivery.hour import (
    END_MS,
    FIRST_MS,
    GAP_MS,
    GPU,
    LAST_MS,
    START_MS,
    STEP_MS,
    TEMPLATE,
    down,
    excused,
    inputs_of,
)


@dataclass(frozen=True)
class Truth:
    """When what was down, and whether the renter's meter ran."""

    node: list[Span]
    gpu: list[Span]
    uplink: list[Span]
    venue: list[Span]
    witnessed: bool

    @property
    def usable(self) -> list[Span]:
        return without([(START_MS, END_MS)], [*self.node, *self.gpu])


def is_within(spans: list[Span], at_ms: int) -> bool:
    return any(start_ms <= at_ms < end_ms for start_ms, end_ms in spans)


def played(truth: Truth, lies: bool = False) -> list[NodeReported]:
    """The reports as the venue has them. A liar's node goes on in its reports while it is down."""
    records, waiting, boot, seq = [], [], 0, 0
    window_ms, heard_ms = FIRST_MS, FIRST_MS
    for now_ms in range(FIRST_MS + STEP_MS, LAST_MS + 1, STEP_MS):
        is_down = is_within(truth.node, now_ms)
        if is_down and not lies:
            window_ms = None
            continue
        if window_ms is None or (not lies and within(truth.node, window_ms, now_ms)):
            boot += 1
            window_ms = max(end_ms for _, end_ms in within(truth.node, FIRST_MS, now_ms))
        is_heard = not (is_down or is_within(truth.uplink, now_ms) or is_within(truth.venue, now_ms))
        seq += 1
        facts = {"present": lies or not is_within(truth.gpu, now_ms), "energy_mj": now_ms}
        if facts["present"]:
            facts["processes"] = (process("lease-1"),)
        change = {
            "seq": seq,
            "boot_id": f"boot-{boot}",
            "mono_start_ms": window_ms - FIRST_MS,
            "mono_end_ms": now_ms - FIRST_MS,
            "queued": not is_heard,
            "gpus": (reading(GPU, **facts),),
        }
        waiting.append(TEMPLATE.model_copy(update=change))
        if is_heard:
            nonce_ms = now_ms if len(waiting) > 1 else heard_ms
            records += [reported(each, now_ms, None if each.queued else nonce_ms) for each in waiting]
            waiting, heard_ms = [], now_ms
        window_ms = now_ms
    return records


def metered(truth: Truth, records: list[NodeReported]) -> MeterOutcome:
    inputs = inputs_of(
        records,
        excuses=excused(truth.venue),
        witnesses=tuple(Witness(start_ms=a, end_ms=b, kind="renter") for a, b in truth.usable if truth.witnessed),
    )
    return measure(inputs, records)


def unheard_ms(records: list[NodeReported]) -> int:
    """Returns the time up to the arrival of reports from boots that nobody heard live: no more places them."""
    found_ms, live_ms = 0, FIRST_MS
    for _, boot in groupby(records, key=lambda record: record.report.boot_id):
        run = list(boot)
        live = [record.received_ms for record in run if not record.report.queued]
        found_ms += 0 if live else run[-1].received_ms - live_ms
        live_ms = max([live_ms, *live])
    return found_ms


truths = st.builds(Truth, node=down, gpu=down, uplink=down, venue=down, witnessed=st.booleans())


@given(truths)
@settings(deadline=None, max_examples=60)
def test_an_honest_operator_is_paid_for_no_more_than_the_use_that_there_was(truth):
    records = played(truth)
    outcome = metered(truth, records)
    # Reports of a boot that was never heard live are placed where they arrived, which may be over a time that was down.
    misplaced_ms = length_of(truth.node) if unheard_ms(records) else 0
    # A reading speaks for the window that it ends: a GPU that came back was away for a part of one.
    assert outcome.delivered_gpu_s * 1000 <= length_of(truth.usable) + STEP_MS * len(truth.gpu) + misplaced_ms
    assert outcome.used_gpu_s <= outcome.delivered_gpu_s


def unseen_outages_ms(truth: Truth) -> int:
    """Returns how long the venue was away after it had not heard the node for longer than a gap may be.

    Such a node may have been dark for all of it: nothing excuses the time that no witness saw.
    """
    away = [*truth.node, *truth.uplink, *truth.venue]
    heard = [at_ms for at_ms in range(FIRST_MS, LAST_MS + 1, STEP_MS) if not is_within(away, at_ms)]
    last_heard = {start_ms: max((ms for ms in heard if ms < start_ms), default=FIRST_MS) for start_ms, _ in truth.venue}
    return sum(end_ms - start_ms for start_ms, end_ms in truth.venue if start_ms - last_heard[start_ms] > GAP_MS)


@given(truths)
@settings(deadline=None, max_examples=60)
@example(Truth([(1_003_000, 1_004_000), (1_013_000, 1_014_000)], [], [(1_003_000, 1_041_000)], [], True))
@example(Truth([(973_000, 1_001_000), (1_013_000, 1_014_000)], [], [], [(1_003_000, 1_051_000)], False))
def test_no_honest_operator_is_charged_for_time_that_could_be_used(truth):
    """Beyond what was down: a window at each edge of it, the darkness around a boot that was never heard live, and,
    without a witness, an uplink that was away too long, and a venue that went away after too long a silence.
    """
    records = played(truth)
    outcome = metered(truth, records)
    charged_ms = END_MS - START_MS - (outcome.delivered_gpu_s + outcome.excused_gpu_s) * 1000
    edges_ms = 2 * STEP_MS * (len(truth.gpu) + len(truth.node)) + unheard_ms(records)
    silent_ms = 0 if truth.witnessed else sum(b - a + 2 * STEP_MS for a, b in truth.uplink)
    silent_ms += 0 if truth.witnessed else unseen_outages_ms(truth)
    unusable_ms = END_MS - START_MS - length_of(truth.usable)
    assert charged_ms <= unusable_ms + edges_ms + silent_ms + 1_000


@given(down, down, st.booleans())
@settings(deadline=None, max_examples=60)
def test_an_operator_who_says_that_his_dark_node_ran_is_paid_for_the_gap_limit_alone(node, venue, witnessed):  # M25
    truth = Truth(node=node, gpu=[], uplink=[], venue=venue, witnessed=witnessed)
    outcome = metered(truth, played(truth, lies=True))
    away_ms = length_of(within(truth.venue, START_MS, END_MS))
    most_ms = length_of(truth.usable) + (GAP_MS + STEP_MS) * len(node) + away_ms
    assert outcome.delivered_gpu_s * 1000 <= most_ms


@given(down)
@settings(deadline=None, max_examples=30)
def test_a_node_that_is_not_heard_after_an_outage_of_ours_is_not_charged_for_it(venue):  # A18
    truth = Truth(node=[], gpu=[], uplink=[], venue=venue, witnessed=False)
    first_ms = min((start_ms for start_ms, _ in venue), default=LAST_MS)
    outcome = metered(truth, [record for record in played(truth) if record.received_ms < first_ms])
    counted_ms = (outcome.delivered_gpu_s + outcome.excused_gpu_s) * 1000
    until_ms = min(max(START_MS, venue[0][1] if venue else END_MS), END_MS)
    assert counted_ms >= until_ms - START_MS


@given(down)
@settings(deadline=None, max_examples=30)
def test_nobody_pays_for_the_venues_absence_alone(venue):  # A18
    truth = Truth(node=[], gpu=[], uplink=[], venue=venue, witnessed=False)
    outcome = metered(truth, played(truth))
    assert (outcome.delivered_gpu_s, outcome.excused_gpu_s) == ((END_MS - START_MS) // 1000, 0)
