"""The long run's plans on paper: an honest agent's reports are made up, the real meter reads them, the model judges.

Tier: default, about 15 s. No process starts; what only a running exchange can do wrong is left to the long run.
"""

import random
from dataclasses import dataclass, field

import pytest

from schemas.delivery import Excuse, MeterInputs, MeterOutcome, ShutDoor
from schemas.delivery import Recall as Declared
from schemas.nodes import GpuProcess, GpuReading, NodeReported, RenterReported
from services.delivery.door import Probe, door_witnesses, unreachable_spans
from services.delivery.meter import cite_report, measure
from services.delivery.second_meter import renter_witnesses
from tests.fixtures.delivery import TestNode, gpu_uuid, reading, reported
from tests.long_run.plans import FAILING_STARTS, GPUS, Plan, plan_outage, plan_round
from tests.long_run.round import DENIES_AT, LEAVES_AT, UNFIT
from tests.long_run.truth import Complaint, Moment, Presence, Recall, Rhythm, Span, Story, Trouble, judge

PLANS = 150
PERIOD_MS, INTERVAL_MS, GRACE_MS = 20_000, 3_333, 5_000
S = 1_000_000
E, HEALED, LAST = S + PERIOD_MS, S + PERIOD_MS + 3_000, S + PERIOD_MS + 15_000
RHYTHM = Rhythm(INTERVAL_MS, lag_ms=400, grace_ms=GRACE_MS)
NOTICE_MS, DOOR_GRACE_MS = PERIOD_MS // 30, RHYTHM.door_grace_ms
DOORS_APART_MS = 3 * RHYTHM.door_pause_ms
DENIED_MS = S + int(DENIES_AT * PERIOD_MS)
UUIDS = tuple(gpu_uuid(number) for number in range(1, GPUS + 1))
TEMPLATE = TestNode(gpus=UUIDS).report("a" * 64, 0, 1)
KINDS = {"kill": "silent", "freeze": "silent", "reboot": "reboot", "dark": "dark", "shut": "shut"}


@dataclass
class Paper:
    """What a plan does to a node, in spans."""

    plan: Plan
    outages: list[Span]
    node: dict[str, list[Span]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    unfit: list[tuple[str, int, Span]] = field(default_factory=list)
    news: list[tuple[str, int, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for accident in self.plan.accidents:
            at_ms = S + int(accident.at * PERIOD_MS)
            if accident.kind in KINDS:
                self.node[accident.kind].append((at_ms, at_ms + int(accident.for_s * 1000)))
            elif accident.kind in UNFIT:
                self.unfit.append((accident.kind, accident.gpu, (at_ms, HEALED)))
            if accident.number:
                self.news.append((accident.kind, accident.gpu, at_ms, accident.number))
        for start_ms, end_ms in self.node["reboot"]:
            # Nothing befalls a GPU while its machine is off, and what did before is over.
            self.unfit = [(k, g, (a, b)) for k, g, (a, b) in self.unfit if not start_ms <= a < end_ms]
            self.unfit = [(k, g, (a, start_ms if a < start_ms else b)) for k, g, (a, b) in self.unfit]
            self.news = [each for each in self.news if not start_ms <= each[2] < end_ms]

    @property
    def opened_ms(self) -> int | None:
        """When the hook let the buyers in."""
        if self.plan.hook in FAILING_STARTS:
            return None
        return S + int(self.plan.late_s * 1000) if self.plan.hook == "late" else S - 8_000

    def presence(self, part: int) -> Span | None:
        """When a part's renter had his process there."""
        renter = self.plan.renters[part]
        if self.opened_ms is None or renter == "idle":
            return None
        end_ms = S + int(LEAVES_AT * PERIOD_MS) if renter == "leaves" else HEALED
        end_ms = min([end_ms, *(start_ms for start_ms, _ in self.node["reboot"])])
        return (self.opened_ms, end_ms) if end_ms > self.opened_ms else None

    @property
    def maintenance(self) -> tuple[Span, ...]:
        """What was declared before the sale."""
        if self.plan.maintenance is None:
            return ()
        start, end = self.plan.maintenance
        return ((S + int(start * PERIOD_MS), S + int(end * PERIOD_MS)),)

    def recall(self, part: int) -> tuple[int, int, tuple[str, ...], bool] | None:
        """When a recall of a part's GPUs was declared, when it counts, of which, and whether with notice."""
        accident = next((each for each in self.plan.accidents if each.kind == "recall"), None)
        if accident is None:
            return None
        is_whole = accident.gpu is None or self.opened_ms is None
        if part != (0 if is_whole else self.part_of(accident.gpu)):
            return None
        at_ms = S + int(accident.at * PERIOD_MS)
        from_ms = at_ms + (NOTICE_MS if accident.number else NOTICE_MS // 2)
        return at_ms, from_ms, () if is_whole else (UUIDS[accident.gpu],), bool(accident.number)

    def meter_span(self, part: int) -> Span | None:
        """When a part's renter had a meter of his own there."""
        if self.opened_ms is None or self.plan.meters[part] == "none":
            return None
        return self.opened_ms + 1_500, min([HEALED, *(start_ms for start_ms, _ in self.node["reboot"])])

    def denies(self, part: int) -> bool:
        """Whether a part's renter says of his first GPU that it is gone, though it is not."""
        span = self.meter_span(part)
        return self.plan.meters[part] == "denies" and span is not None and span[0] + 5_000 < DENIED_MS < span[1]

    def probes(self, dice: random.Random) -> list[Probe]:
        """The venue's tries at the door."""
        probes, at_ms = [], (self.opened_ms or E) + dice.randrange(1_500)
        while at_ms < E and self.plan.has_door:
            if not _lies_in(at_ms, self.outages):
                probes.append(Probe(at_ms, not _lies_in(at_ms, self.node["shut"])))
            at_ms += dice.randrange(1_000, 2_500)
        return probes

    def part_of(self, gpu: int) -> int:
        """Which position a GPU belongs to."""
        return next(part for part in range(len(self.plan.parts)) if gpu < sum(self.plan.parts[: part + 1]))


def _lies_in(at_ms: int, spans: list[Span]) -> bool:
    return any(start_ms <= at_ms < end_ms for start_ms, end_ms in spans)


def read(paper: Paper, gpu: int, since_ms: int, at_ms: int) -> GpuReading:
    """What the driver says at a moment; XIDs are those that came since the last reading."""
    shown: dict[str, object] = {"energy_mj": at_ms}
    processes = []
    presence = paper.presence(paper.part_of(gpu))
    if presence and presence[0] <= at_ms < presence[1]:
        lease = f"lease-{paper.part_of(gpu)}"
        processes.append(GpuProcess(pid=9, memory_mib=2, owner="lease", lease_id=lease, evidence="ancestor"))
    for kind, struck, (start_ms, end_ms) in paper.unfit:
        if struck != gpu or not start_ms <= at_ms < end_ms:
            continue
        if kind == "lost":
            return GpuReading(uuid=UUIDS[gpu], present=False, healthy=False)
        if kind == "ecc":
            shown["ecc_uncorrected"] = 1
        if kind == "fatal_xid":
            shown["recovery_action"] = 1
        if kind.startswith("owner"):
            processes.append(GpuProcess(pid=8, memory_mib=2, owner="foreign"))
    news = [each for each in paper.news if each[1] == gpu]
    if any(kind == "contained_xid" and moment <= at_ms for kind, _, moment, _ in news):
        shown["ecc_uncorrected"] = 1
    xids = tuple(xid for _, _, moment, xid in news if since_ms < moment <= at_ms)
    return reading(UUIDS[gpu], processes=tuple(processes), xid=xids, **shown)


def reports_of(paper: Paper, dice: random.Random) -> list[NodeReported]:
    """The reports of an honest agent as the venue has them."""
    records: list[NodeReported] = []
    waiting: list = []
    boot, seq, window_ms, nonce_ms = 0, 0, S - 15_000, S - 15_000
    read_ms, at_ms = window_ms, window_ms + dice.randrange(100, INTERVAL_MS)
    while at_ms < LAST:
        for kind in ("kill", "reboot", "freeze"):
            for start_ms, end_ms in paper.node[kind]:
                if start_ms <= at_ms < end_ms or (read_ms < start_ms and end_ms <= at_ms and kind != "freeze"):
                    at_ms = max(at_ms, end_ms + 20) if at_ms < end_ms else at_ms
                    if kind != "freeze":
                        window_ms, boot = end_ms + 10, boot + (kind == "reboot")
                        read_ms = end_ms  # the driver tells nobody of XIDs that came before he listened
                        at_ms = end_ms + 20
        is_away = any(a <= at_ms < b for a, b in [*paper.node["dark"], *paper.outages])
        seq += 1
        facts = tuple(read(paper, gpu, read_ms, at_ms) for gpu in range(GPUS))
        queued = bool(waiting) or is_away
        change = {"seq": seq, "boot_id": f"boot-{boot}", "queued": queued, "gpus": facts}
        span = {"mono_start_ms": window_ms, "mono_end_ms": at_ms}
        waiting.append(TEMPLATE.model_copy(update=change | span))
        if not is_away:
            arrived_ms = at_ms + dice.randrange(2, 60)
            records += [reported(each, arrived_ms, None if each.queued else nonce_ms) for each in waiting]
            waiting, nonce_ms = [], arrived_ms
        read_ms = window_ms = at_ms
        at_ms += INTERVAL_MS + dice.randrange(0, 120)
    return records


def reports_of_renter(paper: Paper, part: int, dice: random.Random) -> list[RenterReported]:
    """What the renter's meter said, where he had one; while the venue is away it tells nothing."""
    span, denies = paper.meter_span(part), paper.denies(part)
    if span is None:
        return []
    records: list[RenterReported] = []
    window_ms, nonce_ms = span[0], span[0]
    at_ms = span[0] + 20
    while at_ms < min(span[1], E + INTERVAL_MS):
        if not _lies_in(at_ms, paper.outages):
            facts = [read(paper, gpu, at_ms, at_ms) for gpu in range(GPUS) if paper.part_of(gpu) == part]
            if paper.plan.meters[part] == "denies":
                facts = [reading(each.uuid) for each in facts]
                if denies and at_ms >= DENIED_MS:
                    facts[0] = GpuReading(uuid=facts[0].uuid, present=False, healthy=False)
            change = {"seq": len(records) + 1, "boot_id": "boot-r", "queued": False, "gpus": tuple(facts)}
            span_of = {"mono_start_ms": window_ms, "mono_end_ms": at_ms}
            arrived_ms = at_ms + dice.randrange(2, 60)
            about = {"node_id": "node-1", "lease_id": f"lease-{part}", "received_ms": arrived_ms}
            report = TEMPLATE.model_copy(update=change | span_of)
            records.append(RenterReported(**about, nonce_issued_ms=nonce_ms, report=report))
            window_ms, nonce_ms = at_ms, arrived_ms
        at_ms += INTERVAL_MS + dice.randrange(0, 120)
    return records


def metered(paper: Paper, part: int, tier: str, records: list[NodeReported], dice: random.Random) -> MeterOutcome:
    opened_ms, recall = paper.opened_ms, paper.recall(part) if tier == "I" else None
    renter = reports_of_renter(paper, part, dice)
    probes = paper.probes(dice)
    inputs = MeterInputs(
        position_id=1,
        contract=f"H100SXM80.CNE.{tier}-261122130000",
        node="node-1",
        lease_id=f"lease-{part}",
        qty=paper.plan.parts[part],
        gpus=gpus_of(paper, part),
        start_ms=S,
        end_ms=E,
        offered_ms=S - 9_000,
        access_ms=None if opened_ms is None else opened_ms + 100,
        released_ms=None,
        memory_min_mib=0,
        gap_ms_max=3 * INTERVAL_MS,
        throttle_ms_max=PERIOD_MS,
        opening_grace_ms=GRACE_MS,
        notice_ms=NOTICE_MS,
        provisional_ms=E + 7_000,
        reports=tuple(map(cite_report, records)),
        excuses=(
            *(Excuse(start_ms=a, end_ms=b, kind="venue_outage") for a, b in paper.outages),
            *(Excuse(start_ms=a, end_ms=b, kind="maintenance") for a, b in paper.maintenance),
        ),
        recalls=() if recall is None else (Declared(declared_ms=recall[0], from_ms=recall[1], gpus=recall[2]),),
        unreachable=tuple(ShutDoor(start_ms=a, end_ms=b) for a, b in unreachable_spans(probes, E, DOOR_GRACE_MS)),
        renter_reports=tuple(map(cite_report, renter)),
    )
    witnesses = (*door_witnesses(probes, DOORS_APART_MS), *renter_witnesses(inputs, renter))
    inputs = inputs.model_copy(update={"witnesses": witnesses})
    return measure(inputs, records, renter)


def gpus_of(paper: Paper, part: int) -> tuple[str, ...]:
    return tuple(UUIDS[gpu] for gpu in range(GPUS) if paper.part_of(gpu) == part)


def story_of(paper: Paper, part: int, tier: str) -> Story:
    def moment(ms: int) -> Moment:
        return Moment(ms - 1, ms + 1)

    def trouble(kind: str, span: Span, *gpus: str) -> Trouble:
        return Trouble(kind, moment(span[0]), moment(span[1]), frozenset(gpus))

    troubles = [trouble(KINDS[kind], span) for kind, spans in paper.node.items() for span in spans]
    troubles += [trouble("unfit", span, UUIDS[gpu]) for _, gpu, span in paper.unfit]
    troubles += [
        trouble("doubtful", (at_ms, HEALED), UUIDS[gpu])
        for kind, gpu, at_ms, _ in paper.news
        if kind == "contained_xid" and _lies_in(at_ms, paper.node["kill"])
    ]
    troubles += [trouble("outage", span) for span in paper.outages]
    presence = paper.presence(part)
    present = [Presence(moment(presence[0]), moment(presence[1]), frozenset(gpus_of(paper, part)))] if presence else []
    opened = None if paper.opened_ms is None else moment(paper.opened_ms)
    recall, gpus = paper.recall(part), gpus_of(paper, part)
    denied = (
        Complaint(moment(DENIED_MS), moment(paper.meter_span(part)[1]), frozenset(gpus[:1]))
        if paper.denies(part)
        else None
    )
    return Story(
        gpus=gpus,
        start_ms=S,
        end_ms=E,
        began_opening=moment(S - 9_000),
        opened=opened,
        troubles=tuple(troubles),
        presences=tuple(present),
        maintenance=paper.maintenance,
        recalls=(Recall(moment(recall[1]), recall[3], frozenset(recall[2])),) if recall and tier == "I" else (),
        metered=paper.meter_span(part) is not None,
        complaints=(denied,) if denied else (),
        has_door=paper.plan.has_door,
    )


def differences(paper: Paper, part: int, tier: str, outcome: MeterOutcome) -> dict[str, tuple]:
    right = judge(story_of(paper, part, tier), RHYTHM)
    due = paper.plan.parts[part] * PERIOD_MS // 1000
    told = {
        "delivered": (right.delivered, outcome.delivered_gpu_s),
        "excused": (right.excused, outcome.excused_gpu_s),
        "used": (right.used, outcome.used_gpu_s),
        "disputed": (right.disputed, outcome.disputed_gpu_s),
        "short": (right.short, due - outcome.excused_gpu_s - outcome.delivered_gpu_s - outcome.disputed_gpu_s),
    }
    wrong = {name: pair for name, pair in told.items() if not pair[0].holds(pair[1])}
    if tier == "I" and not right.allows_recall(outcome.recalled_gpus, outcome.noticed):
        wrong["recalled"] = (right.recalled, right.noticed, outcome.recalled_gpus, outcome.noticed)
    return wrong


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("with_outages", [False, True])
def test_the_meter_says_of_every_plan_what_is_right(seed, with_outages):
    wrong = []
    for number in range(PLANS):
        outage = plan_outage(seed, number) if with_outages else None
        at_ms = S + int(outage.at * PERIOD_MS) if outage else 0
        away = [(at_ms, at_ms + int((outage.for_s or 6) * 1000))] if outage else []
        tier, dice = "FIM"[number % 3], random.Random(f"{seed}/{number}")
        paper = Paper(plan_round(seed, number, tier), away)
        records = reports_of(paper, dice)
        for part in range(len(paper.plan.parts)):
            if found := differences(paper, part, tier, metered(paper, part, tier, records, dice)):
                wrong.append(f"plan {number}, part {part}, {tier}, away {away}: {paper.plan.describe()}: {found}")
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong)
