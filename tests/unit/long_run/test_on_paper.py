"""The long run's plans on paper: an honest agent's reports are made up, the real meter reads them, the model judges.

Tier: default, about 15 s. No process starts; what only a running exchange can do wrong is left to the long run.
"""

import random
from dataclasses import dataclass, field

import pytest

from schemas.delivery import Excuse, MeterInputs, MeterOutcome
from schemas.nodes import GpuProcess, GpuReading, NodeReported
from services.delivery.meter import cite_report, measure
from tests.fixtures.delivery import TestNode, gpu_uuid, reading, reported
from tests.long_run.plans import GPUS, Plan, plan_outage, plan_round
from tests.long_run.round import UNFIT
from tests.long_run.truth import Bounds, Moment, Presence, Rhythm, Span, Story, Trouble, judge

PLANS = 150
PERIOD_MS, INTERVAL_MS, GRACE_MS = 20_000, 3_333, 2_000
S = 1_000_000
E, HEALED, LAST = S + PERIOD_MS, S + PERIOD_MS + 3_000, S + PERIOD_MS + 15_000
RHYTHM = Rhythm(INTERVAL_MS, lag_ms=400, grace_ms=GRACE_MS)
UUIDS = tuple(gpu_uuid(number) for number in range(1, GPUS + 1))
TEMPLATE = TestNode(gpus=UUIDS).report("a" * 64, 0, 1)
KINDS = {"kill": "silent", "freeze": "silent", "reboot": "reboot", "dark": "dark"}


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
            self.unfit = [(k, g, (a, end_ms if a < end_ms else b)) for k, g, (a, b) in self.unfit]
            self.news = [each for each in self.news if each[2] > end_ms or each[2] < start_ms]

    @property
    def opened_ms(self) -> int | None:
        """When the hook let the buyers in."""
        if self.plan.hook in ("exits", "garbage"):
            return None
        return S + int(self.plan.late_s * 1000) if self.plan.hook == "late" else S - 8_000

    def presence(self, part: int) -> Span | None:
        """When a part's renter had his process there."""
        renter = self.plan.renters[part]
        if self.opened_ms is None or renter == "idle":
            return None
        end_ms = S + PERIOD_MS // 2 if renter == "leaves" else HEALED
        end_ms = min([end_ms, *(start_ms for start_ms, _ in self.node["reboot"])])
        return (self.opened_ms, end_ms) if end_ms > self.opened_ms else None

    def part_of(self, gpu: int) -> int:
        """Which position a GPU belongs to."""
        return next(part for part in range(len(self.plan.parts)) if gpu < sum(self.plan.parts[: part + 1]))


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
                        # What the driver had to tell before a boot is never told after it.
                        read_ms = end_ms if kind == "reboot" else read_ms
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


def metered(paper: Paper, part: int, tier: str, records: list[NodeReported]) -> MeterOutcome:
    opened_ms = paper.opened_ms
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
        notice_ms=PERIOD_MS // 30,
        provisional_ms=E + 7_000,
        reports=tuple(map(cite_report, records)),
        excuses=tuple(Excuse(start_ms=a, end_ms=b, kind="venue_outage") for a, b in paper.outages),
    )
    return measure(inputs, records)


def gpus_of(paper: Paper, part: int) -> tuple[str, ...]:
    return tuple(UUIDS[gpu] for gpu in range(GPUS) if paper.part_of(gpu) == part)


def story_of(paper: Paper, part: int) -> Story:
    def moment(ms: int) -> Moment:
        return Moment(ms - 1, ms + 1)

    def trouble(kind: str, span: Span, *gpus: str) -> Trouble:
        return Trouble(kind, moment(span[0]), moment(span[1]), frozenset(gpus))

    troubles = [trouble(KINDS[kind], span) for kind, spans in paper.node.items() for span in spans]
    troubles += [trouble("unfit", span, UUIDS[gpu]) for _, gpu, span in paper.unfit]
    troubles += [trouble("outage", span) for span in paper.outages]
    presence = paper.presence(part)
    present = [Presence(moment(presence[0]), moment(presence[1]), frozenset(gpus_of(paper, part)))] if presence else []
    opened = None if paper.opened_ms is None else moment(paper.opened_ms)
    return Story(gpus_of(paper, part), S, E, moment(S - 9_000), opened, tuple(troubles), tuple(present))


def differences(paper: Paper, part: int, tier: str, outcome: MeterOutcome) -> dict[str, tuple[Bounds, int]]:
    right = judge(story_of(paper, part), RHYTHM)
    due = paper.plan.parts[part] * PERIOD_MS // 1000
    told = {
        "delivered": (right.delivered, outcome.delivered_gpu_s),
        "excused": (right.excused, outcome.excused_gpu_s),
        "used": (right.used, outcome.used_gpu_s),
        "short": (right.short, due - outcome.excused_gpu_s - outcome.delivered_gpu_s),
    }
    if tier == "I":
        told["recalled"] = (right.recalled, outcome.recalled_gpus)
    return {name: pair for name, pair in told.items() if not pair[0].holds(pair[1])}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("with_outages", [False, True])
def test_the_meter_says_of_every_plan_what_is_right(seed, with_outages):
    wrong = []
    for number in range(PLANS):
        outage = plan_outage(seed, number) if with_outages else None
        at_ms = S + int(outage.at * PERIOD_MS) if outage else 0
        away = [(at_ms, at_ms + int((outage.for_s or 6) * 1000))] if outage else []
        paper = Paper(plan_round(seed, number), away)
        records = reports_of(paper, random.Random(f"{seed}/{number}"))
        for part in range(len(paper.plan.parts)):
            tier = "FIM"[number % 3]
            if found := differences(paper, part, tier, metered(paper, part, tier, records)):
                wrong.append(f"plan {number}, part {part}, {tier}, away {away}: {paper.plan.describe()}: {found}")
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong)
