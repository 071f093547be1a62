"""No sequence of reports, hook answers and renter's actions gives an operator more than the true use pays, or a buyer
damages for time that he could use.

Tier: default, about 30 s. The truth is spans in which the node, its agent, its GPU, its uplink or the venue was down,
or the owner worked on the GPU himself; the hook lets the buyer in when it likes, the operator takes the GPU back, and
the renter does with his processes and his own meter whatever he likes. `test_true_use.py` has the operator who lies.
"""

from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from matching_engine.settlement import settle
from schemas.delivery import MeterOutcome, Recall
from schemas.nodes import GpuProcess, GpuReading, NodeReported, RenterReported
from services.delivery.meter import cite_report, measure
from services.delivery.second_meter import renter_witnesses
from services.delivery.spans import Span, length_of, union, within, without
from tests.fixtures.delivery import reading, reported
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

GRACE_MS, NOTICE_MS = 20_000, 10_000
PERIOD_S = (END_MS - START_MS) // 1000
PRICE, INDEX, FEE_BPS = 36_000_000, 50_000_000, 100
RESERVED = {"F": 1000, "I": 1000, "M": 300}
LABELS = {
    "ancestor": {"owner": "lease", "lease_id": "lease-1", "evidence": "ancestor"},
    "claim": {"owner": "lease", "lease_id": "lease-1"},
    "hidden": {"owner": "unknown"},
    "graphics": {"owner": "other", "kind": "graphics"},
}


@dataclass(frozen=True)
class World:
    """What was down when, when the hook let the buyer in and out, and what the operator declared."""

    tier: str
    node: list[Span]
    agent: list[Span]
    gpu: list[Span]
    uplink: list[Span]
    venue: list[Span]
    owner: list[Span]
    maintenance: list[Span]
    opened_ms: int | None
    released_ms: int | None
    recall: Recall | None

    @property
    def usable(self) -> list[Span]:
        """When the buyer could use the GPU, and it was his alone to use."""
        if self.opened_ms is None:
            return []
        until_ms = min(END_MS, self.released_ms or END_MS)
        if self.recall:
            until_ms = min(until_ms, self.recall.from_ms)
        return without([(max(START_MS, self.opened_ms), until_ms)], [*self.node, *self.gpu, *self.owner])


@dataclass(frozen=True)
class Renter:
    """When he works, as what his processes show, and what his meter says step by step (none: he has no meter)."""

    work: list[Span]
    label: str
    meter: tuple[str, ...]


recalls = st.builds(
    lambda at_s, lead_ms: Recall(declared_ms=START_MS + at_s * 1000, from_ms=START_MS + at_s * 1000 + lead_ms, gpus=()),
    st.integers(-30, 310),
    st.sampled_from((0, NOTICE_MS - 1, NOTICE_MS, 60_000)),
)
TROUBLES = ("node", "agent", "gpu", "uplink", "venue", "owner", "maintenance")


@st.composite
def worlds(draw) -> World:
    """Draws a world in which few things go wrong: one in which everything does hides one fault behind another."""
    struck = draw(st.sets(st.sampled_from((*TROUBLES, "hook", "stop", "recall")), max_size=3))
    tier = draw(st.sampled_from("FIM"))
    opened = st.none() | st.integers(0, 200).map(lambda s: START_MS + s * 1000)
    return World(
        tier=tier,
        **{name: draw(down) if name in struck else [] for name in TROUBLES},
        opened_ms=draw(opened) if "hook" in struck else START_MS - 30_000,
        released_ms=START_MS + draw(st.integers(100, 330)) * 1000 if "stop" in struck else None,
        recall=draw(recalls) if tier == "I" and "recall" in struck else None,
    )


renters = st.builds(
    Renter,
    work=st.just([(FIRST_MS, LAST_MS)]) | down,
    label=st.sampled_from(sorted(LABELS)),
    meter=st.just(())
    | st.lists(st.sampled_from(("true", "ill", "silent", "blind")), min_size=1, max_size=8).map(tuple),
)
IDLE = Renter([], "ancestor", ())


def lies_in(spans: list[Span], at_ms: int) -> bool:
    return any(start_ms <= at_ms < end_ms for start_ms, end_ms in spans)


def seen_by_agent(world: World, renter: Renter, at_ms: int) -> GpuReading:
    if lies_in(world.gpu, at_ms):
        return GpuReading(uuid=GPU, present=False, healthy=False)
    processes = []
    if lies_in(renter.work, at_ms):
        processes.append(GpuProcess(pid=9, memory_mib=2, **LABELS[renter.label]))
    if lies_in(world.owner, at_ms):
        processes.append(GpuProcess(pid=8, memory_mib=2, owner="foreign"))
    return reading(GPU, energy_mj=at_ms, processes=tuple(processes))


def reports(world: World, renter: Renter) -> list[NodeReported]:
    """What an honest agent reports every ten seconds, as the venue has it."""
    records: list[NodeReported] = []
    waiting, boot, seq = [], 0, 0
    window_ms, heard_ms = FIRST_MS, FIRST_MS
    for now_ms in range(FIRST_MS + STEP_MS, LAST_MS + 1, STEP_MS):
        if lies_in([*world.node, *world.agent], now_ms):
            continue
        rebooted, restarted = (within(spans, window_ms, now_ms) for spans in (world.node, world.agent))
        boot += bool(rebooted)
        window_ms = max([window_ms, *(end_ms for _, end_ms in [*rebooted, *restarted])])
        is_heard = not lies_in([*world.uplink, *world.venue], now_ms)
        seq += 1
        change = {
            "seq": seq,
            "boot_id": f"boot-{boot}",
            "mono_start_ms": window_ms - FIRST_MS,
            "mono_end_ms": now_ms - FIRST_MS,
            "queued": not is_heard,
            "gpus": (seen_by_agent(world, renter, now_ms),),
        }
        waiting.append(TEMPLATE.model_copy(update=change))
        if is_heard:
            nonce_ms = now_ms if len(waiting) > 1 else heard_ms
            records += [reported(each, now_ms, None if each.queued else nonce_ms) for each in waiting]
            waiting, heard_ms = [], now_ms
        window_ms = now_ms
    return records


def renters_reports(world: World, renter: Renter) -> list[RenterReported]:
    """What the renter's meter says where it can say anything; it calls no GPU well that is not."""
    records: list[RenterReported] = []
    window_ms = heard_ms = FIRST_MS + 2_000
    for step, now_ms in enumerate(range(FIRST_MS + 2_000 + STEP_MS, END_MS + STEP_MS, STEP_MS)):
        if lies_in([*world.node, *world.venue], now_ms):
            continue
        window_ms = max([window_ms, *(end_ms for _, end_ms in within(world.node, window_ms, now_ms))])
        state = renter.meter[step % len(renter.meter)] if renter.meter else "silent"
        if state == "silent":
            continue
        seen = reading(GPU, present=state == "true" and not lies_in(world.gpu, now_ms), blind=state == "blind")
        change = {"seq": len(records) + 1, "mono_start_ms": window_ms, "mono_end_ms": now_ms, "gpus": (seen,)}
        about = {"node_id": "node-1", "lease_id": "lease-1", "received_ms": now_ms, "nonce_issued_ms": heard_ms}
        records.append(RenterReported(**about, report=TEMPLATE.model_copy(update=change)))
        window_ms = heard_ms = now_ms
    return records


def metered(world: World, renter: Renter) -> MeterOutcome:
    records, renter_records = reports(world, renter), renters_reports(world, renter)
    inputs = inputs_of(
        records,
        contract=f"H100SXM80.CNE.{world.tier}-26112213",
        offered_ms=START_MS - 60_000,
        access_ms=world.opened_ms,
        released_ms=world.released_ms,
        opening_grace_ms=GRACE_MS,
        notice_ms=NOTICE_MS,
        provisional_ms=END_MS + 60_000,
        renter_reports=tuple(map(cite_report, renter_records)),
        excuses=(*excused(world.venue), *excused(world.maintenance, "maintenance")),
        recalls=() if world.recall is None else (world.recall,),
    )
    inputs = inputs.model_copy(update={"witnesses": tuple(renter_witnesses(inputs, renter_records))})
    return measure(inputs, records, renter_records)


def due(world: World, excused: int, delivered: int, used: int, outcome: MeterOutcome):
    """What the settlement function makes of GPU-seconds."""
    shape = {"q": 1, "T": PERIOD_S, "P": PRICE, "I": INDEX, "r": RESERVED[world.tier], "hi": 990, "lo": 800}
    recall = {"interruptible": world.tier == "I", "noticed": outcome.noticed, "recalled_gpus": outcome.recalled_gpus}
    return settle(**shape, bond=10**9, fee_bps=FEE_BPS, E=excused, D=delivered, U=used, **recall)


def shortfall(outcome: MeterOutcome) -> int:
    """GPU-seconds for which the operator is charged: what is disputed counts as delivered there."""
    return PERIOD_S - outcome.excused_gpu_s - outcome.delivered_gpu_s - outcome.disputed_gpu_s


def most_usable_ms(world: World, renter: Renter) -> int:
    """The true use, and what no meter that looks every ten seconds can tell from it.

    A reading speaks for the window that it ends, also the renter's, who does not see the owner's work; a gap between
    two good readings counts up to the limit.
    """
    edges_ms = STEP_MS * (2 * len(world.gpu) + len(world.owner))
    unseen_ms = (GAP_MS + STEP_MS) * len(world.agent) if world.gpu or world.owner else 0
    alone = [(start_ms - STEP_MS, end_ms + STEP_MS) for start_ms, end_ms in world.agent] if renter.meter else []
    shared_ms = sum(length_of(within(world.owner, *span)) for span in union(alone))
    return length_of(without(world.usable, world.maintenance)) + edges_ms + unseen_ms + shared_ms


@given(worlds(), renters)
@settings(deadline=None, max_examples=150)
def test_an_operator_is_paid_for_no_more_than_the_use_that_there_was(world, renter):
    outcome = metered(world, renter)
    most = min(most_usable_ms(world, renter) // 1000, PERIOD_S - outcome.excused_gpu_s)
    assert outcome.delivered_gpu_s <= most
    # Where use is what is paid, it is work that is known to be the buyer's.
    worked_ms = length_of(within(renter.work, START_MS, END_MS)) + STEP_MS * 2 * len(renter.work)
    counts = renter.label == "ancestor" or (renter.label == "claim" and world.tier != "M")
    most_used = min(most, (worked_ms + GAP_MS * len(world.agent)) // 1000 if counts else 0)
    assert outcome.used_gpu_s <= most_used
    paid = due(world, outcome.excused_gpu_s, outcome.delivered_gpu_s, outcome.used_gpu_s, outcome)
    assert paid.gross <= due(world, outcome.excused_gpu_s, most, most_used, outcome).gross


@given(worlds(), renters)
@settings(deadline=None, max_examples=150)
def test_nothing_is_excused_but_the_venues_absence_maintenance_and_the_grace_of_opening(world, renter):
    """What is excused is never charged, so an operator who could make it longer would gain."""
    outcome = metered(world, renter)
    excusable = union([*world.maintenance, *((a - STEP_MS, b) for a, b in world.venue)])
    least_ms = length_of(within(world.maintenance, START_MS, END_MS))
    # Whoever was opening when the venue went away hears an interval later that it is back, and has the grace again.
    graces_ms = GRACE_MS + (GRACE_MS + STEP_MS) * len(world.venue)
    most_ms = length_of(within(excusable, START_MS, END_MS)) + (graces_ms if world.opened_ms else 0)
    assert least_ms <= outcome.excused_gpu_s * 1000 <= most_ms + 1_000


@given(worlds(), renters)
@settings(deadline=None, max_examples=150)
def test_a_buyer_is_paid_damages_for_no_time_that_he_could_use(world, renter):
    """Nobody gets in while the uplink is away, and an agent that is down proves nothing: both are the operator's."""
    outcome = metered(world, renter)
    silent = [*world.node, *world.agent, *world.uplink]
    unproven = [*silent, *(world.venue if silent else ())]
    edges_ms = 2 * STEP_MS * (len(silent) + len(world.gpu) + len(world.owner))
    maintenance = within(world.maintenance, START_MS, END_MS)
    fine_ms = length_of(union([*without(world.usable, unproven), *maintenance])) - edges_ms - 1_000
    most_short = PERIOD_S - max(fine_ms, length_of(maintenance)) // 1000
    assert shortfall(outcome) <= most_short
    if world.tier != "I":
        granted = outcome.delivered_gpu_s + outcome.disputed_gpu_s
        least = max(0, PERIOD_S - outcome.excused_gpu_s - most_short)
        paid, most = (due(world, outcome.excused_gpu_s, count, 0, outcome) for count in (granted, least))
        assert paid.ld <= most.ld


@given(worlds(), renters)
@settings(deadline=None, max_examples=150)
def test_a_recall_is_with_notice_only_where_it_was_given_and_the_gpu_was_there_until_then(world, renter):
    outcome = metered(world, renter)
    if world.tier != "I":
        assert (outcome.recalled_gpus, outcome.noticed) == (0, False)
        return
    from_ms = END_MS if world.recall is None else min(world.recall.from_ms, END_MS)
    is_taken, given_ms = (
        from_ms < END_MS,
        0 if world.recall is None else world.recall.from_ms - world.recall.declared_ms,
    )
    lost_ms = length_of(without(within(world.gpu, START_MS, from_ms), [*world.maintenance, *world.venue]))
    if outcome.noticed:
        assert is_taken and given_ms >= NOTICE_MS and lost_ms <= GAP_MS + STEP_MS * len(world.gpu)
    elif is_taken or lost_ms > GAP_MS + STEP_MS * len(world.gpu):
        assert outcome.recalled_gpus == 1
    elif outcome.recalled_gpus:
        assert (shortfall(outcome) + outcome.disputed_gpu_s) * 1000 > GAP_MS - 1_000


@given(worlds(), renters)
@settings(deadline=None, max_examples=150)
def test_whatever_the_renters_meter_says_he_is_charged_with_no_more_shortfall_and_pays_no_less_but_what_is_held(
    world, renter
):
    """His word that a GPU is gone holds what he would pay; it earns him no damages."""
    with_meter, without_meter = metered(world, renter), metered(world, replace(renter, meter=()))
    assert shortfall(with_meter) <= shortfall(without_meter)
    assert with_meter.delivered_gpu_s + with_meter.disputed_gpu_s >= without_meter.delivered_gpu_s
    assert with_meter.excused_gpu_s == without_meter.excused_gpu_s


@given(worlds(), renters)
@settings(deadline=None, max_examples=150)
def test_what_a_renter_runs_or_hides_changes_only_what_he_used(world, renter):
    """His idleness costs the operator nothing, and neither does a process that hides, claims or only draws."""
    outcome, idle = metered(world, renter), metered(world, replace(renter, work=[]))
    assert replace_used(outcome) == replace_used(idle)
    assert idle.used_gpu_s == 0


def replace_used(outcome: MeterOutcome) -> tuple:
    counts = (outcome.delivered_gpu_s, outcome.excused_gpu_s, outcome.disputed_gpu_s)
    return (*counts, outcome.recalled_gpus, outcome.noticed, outcome.quality_gpu_ms)


@given(worlds(), renters, st.integers(0, 200), st.integers(0, 200))
@settings(deadline=None, max_examples=150)
def test_a_hook_that_opens_later_or_closes_sooner_earns_nothing(world, renter, later_s, sooner_s):
    """Beyond the grace, which is nobody's."""
    opened_ms = None if world.opened_ms is None else world.opened_ms + later_s * 1000
    released_ms = (END_MS if world.released_ms is None else world.released_ms) - sooner_s * 1000
    worse = replace(world, opened_ms=opened_ms, released_ms=released_ms)
    before, after = metered(world, renter), metered(worse, renter)
    assert after.delivered_gpu_s + after.disputed_gpu_s <= before.delivered_gpu_s + before.disputed_gpu_s
    assert after.used_gpu_s <= before.used_gpu_s
