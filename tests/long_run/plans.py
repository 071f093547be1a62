"""What will befall each node in each of its rounds, drawn from the run's seed and the round's number alone."""

import random
from dataclasses import dataclass

GPUS = 3
AT_ONCE = 4  # machines that deliver in the same period
HARMLESS_XIDS = (13, 31, 43, 45)
FATAL_XIDS = (48, 95, 119)
DEGRADING_XID, CONTAINED_XID = 63, 94

# Accidents of the whole node: kind, how long at least and at most (seconds), weight.
OF_THE_NODE = (
    ("kill", 0.5, 2.0, 3),
    ("kill", 12.0, 13.0, 2),
    ("freeze", 1.0, 3.0, 3),
    ("freeze", 12.0, 13.0, 2),
    ("reboot", 1.0, 5.0, 3),
    ("dark", 1.0, 3.0, 2),
    ("dark", 14.5, 15.5, 2),  # longer than the gap limit and the interval that the next report proves
    ("clock", 0.0, 0.0, 3),
    ("late_maintenance", 0.0, 0.0, 2),
)
# Accidents of one GPU: kind, weight. They last until the round is over, unless they are only news.
OF_A_GPU = (
    ("lost", 3),
    ("fatal_xid", 3),
    ("ecc", 2),
    ("harmless_xid", 3),
    ("degrading_xid", 1),
    ("contained_xid", 1),
    ("owner", 3),
    ("owner_with_the_lease", 3),
    ("owners_display", 1),
)
# What the start hook does, or where it is good the stop hook.
HOOKS = (
    ("good", 24),
    ("late", 2),
    ("exits", 1),
    ("garbage", 1),
    ("hangs", 1),
    ("silent", 1),
    ("oversized", 1),
    ("flood", 1),
    ("killed", 1),
    ("no_process", 1),
    ("stop_fails", 1),
    ("stop_hangs", 1),
    ("stop_killed", 1),
    ("stop_flood", 1),
)
FAILING_STARTS = ("exits", "garbage", "hangs", "silent", "oversized", "killed", "no_process")
# What a renter does with his GPUs. `outlives`: his work is still there when the lease and its stop hook are over.
# `daemon`, `bare_daemon`: it forks twice into a session of its own, with and without his environment.
RENTERS = (
    ("works", 5),
    ("without_variable", 4),
    ("idle", 3),
    ("leaves", 2),
    ("outlives", 2),
    ("daemon", 2),
    ("bare_daemon", 2),
)
# Whether the renter runs a meter of his own, and whether it denies a GPU that is well.
METERS = (("none", 12), ("agrees", 2), ("denies", 1))
DOOR_SHARE, SHUT_SHARE = 0.4, 0.75
RECALL_SHARE, RECALL_SHARE_OF_OTHERS = 0.5, 0.04  # in tier I, and where it is refused
MAINTENANCE_SHARE = 0.12
PARTS = ((3,), (2, 1), (1, 2), (1, 1, 1))
# Outages of the venue, in some rounds: what, for how many seconds (0: killed, and started again by the supervisor).
OUTAGES = (
    ("kafka", 0.0),
    ("postgres", 0.0),
    ("delivery", 0.0),
    ("kafka", 5.0),
    ("postgres", 6.0),
    ("delivery", 5.0),
    ("delivery", 9.0),
    ("kafka+postgres", 0.0),
    ("kafka+postgres", 5.0),
)
OUTAGE_SHARE = 0.2


@dataclass(frozen=True)
class Accident:
    """One accident: `at` is when, as a share of the period; `gpu` its place on the node, None for the whole node."""

    kind: str
    at: float
    for_s: float = 0.0
    gpu: int | None = None
    number: int = 0


@dataclass(frozen=True)
class Plan:
    """One node's round: how its GPUs are sold, what befalls it, what its hook and its renters do."""

    number: int
    parts: tuple[int, ...]
    accidents: tuple[Accident, ...]
    hook: str
    late_s: float
    renters: tuple[str, ...]
    reprice: bool
    meters: tuple[str, ...] = ()
    has_door: bool = False
    maintenance: tuple[float, float] | None = None  # as shares of the period; it may begin before and end after it

    def describe(self) -> str:
        """Puts the plan into a line."""
        struck = ", ".join(
            f"{a.kind}{f' {a.number}' if a.number else ''} at {a.at:.2f}"
            + (f" for {a.for_s:.1f} s" if a.for_s else "")
            + ("" if a.gpu is None else f" on GPU {a.gpu}")
            for a in self.accidents
        )
        late = f" by {self.late_s:.1f} s" if self.hook == "late" else ""
        parts = [f"hook {self.hook}{late}", f"renters {', '.join(self.renters)}"]
        if set(self.meters) - {"none"}:
            parts.append(f"renters' meters {', '.join(self.meters)}")
        if self.has_door:
            parts.append("a door")
        if self.maintenance:
            parts.append("maintenance from {:.2f} to {:.2f}".format(*self.maintenance))
        return "; ".join([*parts, struck or "no accident"])


@dataclass(frozen=True)
class Outage:
    """The venue's own trouble in a round; several programs, joined by +, are struck at once."""

    program: str
    for_s: float
    at: float


def plan_round(seed: int, number: int, tier: str = "F") -> Plan:
    """Draws one node's round; only in tier I GPUs may be taken back, elsewhere it is tried seldom."""
    dice = random.Random(f"{seed}/plan/{number}")
    parts = dice.choice(PARTS)
    accidents = []
    luck = dice.random()
    if 0.25 < luck < 0.65:
        accidents.append(_of_a_gpu(dice, dice.randrange(GPUS)))
    if luck > 0.55:
        accidents.append(_of_the_node(dice))
    if luck > 0.9:
        accidents.append(_of_a_gpu(dice, dice.randrange(GPUS)))
    if dice.random() < (RECALL_SHARE if tier == "I" else RECALL_SHARE_OF_OTHERS):
        whose = dice.choice((None, *range(GPUS)))
        accidents.append(Accident("recall", round(dice.uniform(0.05, 0.9), 3), gpu=whose, number=dice.randrange(2)))
    # The venue takes it for its own fault when no door of several nodes answers, so one node in a period has one.
    has_door = number % AT_ONCE == 0 and dice.random() < DOOR_SHARE
    if has_door and dice.random() < SHUT_SHARE:
        accidents.append(Accident("shut", round(dice.uniform(0.1, 0.5), 3), round(dice.uniform(1, 12), 1)))
    hook = _choose(dice, HOOKS)
    return Plan(
        number=number,
        parts=parts,
        accidents=tuple(sorted(accidents, key=lambda accident: accident.at)),
        hook=hook,
        late_s=round(dice.uniform(4, 10), 1),
        renters=tuple(_choose(dice, RENTERS) for _ in parts),
        reprice=dice.random() < 0.5,
        meters=tuple(_choose(dice, METERS) for _ in parts),
        has_door=has_door,
        maintenance=_maintenance(dice) if dice.random() < MAINTENANCE_SHARE else None,
    )


def _maintenance(dice: random.Random) -> tuple[float, float]:
    start = round(dice.uniform(-0.3, 0.8), 3)
    return start, round(start + dice.uniform(0.1, 0.8), 3)


def plan_outage(seed: int, period: int) -> Outage | None:
    """Draws the venue's trouble in one period, mostly none; it ends well before the period after the next."""
    dice = random.Random(f"{seed}/outage/{period}")
    if dice.random() >= OUTAGE_SHARE:
        return None
    program, for_s = dice.choice(OUTAGES)
    return Outage(program, for_s, round(dice.uniform(0.1, 0.6), 3))


def _of_the_node(dice: random.Random) -> Accident:
    kind, least_s, most_s = _choose(dice, [((kind, least, most), weight) for kind, least, most, weight in OF_THE_NODE])
    at = dice.uniform(0.08, 0.2) if most_s > 10 else dice.uniform(0.08, 0.6)
    number = dice.choice((-3600, 3600)) if kind == "clock" else 0
    return Accident(kind, round(at, 3), round(dice.uniform(least_s, most_s), 1), number=number)


def _of_a_gpu(dice: random.Random, gpu: int) -> Accident:
    kind = _choose(dice, OF_A_GPU)
    number = {
        "harmless_xid": dice.choice(HARMLESS_XIDS),
        "fatal_xid": dice.choice(FATAL_XIDS),
        "degrading_xid": DEGRADING_XID,
        "contained_xid": CONTAINED_XID,
        "lost": 79,
    }.get(kind, 0)
    return Accident(kind, round(dice.uniform(0.08, 0.85), 3), gpu=gpu, number=number)


def _choose(dice: random.Random, weighted):
    choices, weights = zip(*weighted, strict=True)
    return dice.choices(choices, weights)[0]
