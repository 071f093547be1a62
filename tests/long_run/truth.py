"""What is right for a position, after docs/rules, from what was done to its node and when; knows nothing of any report.

Every moment is known between two bounds of the test's own clock. So is what follows from it: time that was *surely*
lost, and time that was *possibly* lost. The widths come from three things only: how often a node is due to report,
how late this machine ran, and how exactly the test knows when it did something.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

Span = tuple[int, int]
Kind = Literal["unfit", "doubtful", "silent", "reboot", "dark", "shut", "outage"]
# A node that waits for a venue that answers slowly measures at least this often, in report intervals.
SLOW_INTERVALS = 2.5
GAP_INTERVALS = 3
# The venue tries a door again after at most one and a half pauses, and looks once a pause whether one is due.
DOOR_PAUSES = 2.5
# Two meters that differ by no more than this share of what was contracted agree.
APART_SHARE = 100
NOTICE_S = 120
ABSENCES = ("silent", "reboot", "dark")
# What keeps reports from being made or taken, so that a window may be longer than usual.
HIDING = (*ABSENCES, "outage")


class Moment(NamedTuple):
    """Something happened not before `first_ms` and not after `last_ms`."""

    first_ms: int
    last_ms: int


class Bounds(NamedTuple):
    """A whole number that is right lies between these, both included."""

    least: int
    most: int

    def holds(self, value: int) -> bool:
        """Says whether a value is right."""
        return self.least <= value <= self.most


NOTHING = Bounds(0, 0)


@dataclass(frozen=True)
class Trouble:
    """Something that befell a node, or some of its GPUs (none named: all).

    `unfit`: the GPU did not conform (lost, fatal XID, new ECC error, the owner's own work). `doubtful`: it did, but
    what shows that came while nobody listened. `silent`: nobody measured (the agent was killed or frozen). `reboot`:
    the same, and the machine booted. `dark`: the agent measured, but its site's network was away. `shut`: nobody could
    get in by the door that the hook had named. `outage`: the venue could not take reports.
    """

    kind: Kind
    began: Moment
    ended: Moment
    gpus: frozenset[str] = frozenset()

    def concerns(self, gpu: str) -> bool:
        """Says whether a GPU was struck."""
        return not self.gpus or gpu in self.gpus


@dataclass(frozen=True)
class Presence:
    """A process of the buyer's that was resident on some GPUs of his."""

    began: Moment
    ended: Moment
    gpus: frozenset[str]


@dataclass(frozen=True)
class Recall:
    """The operator took GPUs of the position back (none named: all), with or without notice."""

    taken: Moment
    noticed: bool
    gpus: frozenset[str] = frozenset()

    def concerns(self, gpu: str) -> bool:
        """Says whether a GPU was taken back."""
        return not self.gpus or gpu in self.gpus


@dataclass(frozen=True)
class Complaint:
    """The renter's own meter said of some GPUs that they were gone, in all its reports of that time."""

    began: Moment
    ended: Moment
    gpus: frozenset[str]


@dataclass(frozen=True)
class Rhythm:
    """How often the node is due to report, how late the machine may have been, the grace of opening, how often the
    venue tries a door, and how long it may be shut.
    """

    interval_ms: int
    lag_ms: int
    grace_ms: int
    door_pause_ms: int = 1_000
    door_grace_ms: int = 3_000

    @property
    def sampling_ms(self) -> int:
        """The longest window of a report while the venue answers."""
        return self.interval_ms + self.lag_ms

    @property
    def slow_ms(self) -> int:
        """The longest window while it does not."""
        return int(SLOW_INTERVALS * self.interval_ms) + self.lag_ms

    @property
    def gap_ms(self) -> int:
        """The longest time without reports that is estimated as delivered."""
        return GAP_INTERVALS * self.interval_ms

    @property
    def door_ms(self) -> int:
        """The longest time between two tries at a door."""
        return int(DOOR_PAUSES * self.door_pause_ms) + self.lag_ms


@dataclass(frozen=True)
class Story:
    """All that the test knows of one position. `began_opening` is when the start hook began, `opened` when it had let
    the buyer in (None: it never did). `metered`: the renter ran a meter of his own from then to the end.
    `maintenance` was declared before the position was sold. `has_door`: the venue tries the door of the lease.
    """

    gpus: tuple[str, ...]
    start_ms: int
    end_ms: int
    began_opening: Moment | None
    opened: Moment | None
    troubles: tuple[Trouble, ...] = ()
    presences: tuple[Presence, ...] = ()
    maintenance: tuple[Span, ...] = ()
    recalls: tuple[Recall, ...] = ()
    metered: bool = False
    complaints: tuple[Complaint, ...] = ()
    has_door: bool = False


@dataclass(frozen=True)
class Right:
    """What a receipt may say: GPU-seconds, and for tier I how many GPUs were taken back without and with notice.

    `disputed` is what two meters differ about while nobody has decided; it is neither in `delivered` nor in `short`.
    """

    delivered: Bounds
    excused: Bounds
    used: Bounds
    short: Bounds
    recalled: Bounds
    noticed: Bounds = NOTHING
    disputed: Bounds = NOTHING

    def allows_recall(self, gpus: int, noticed: bool) -> bool:
        """Says whether a receipt of tier I may name so many GPUs, with or without notice: one without makes all so."""
        if noticed:
            return gpus > 0 and self.recalled.least == 0 and self.noticed.holds(gpus)
        if gpus == 0:
            return self.recalled.least == 0 and self.noticed.least == 0
        return self.recalled.holds(gpus)


@dataclass
class _Gpu:
    """Spans of one GPU's time."""

    lost: list[Span] = field(default_factory=list)
    maybe_lost: list[Span] = field(default_factory=list)
    maybe_excused: list[Span] = field(default_factory=list)
    excused: list[Span] = field(default_factory=list)
    shut_out: list[Span] = field(default_factory=list)
    taken: list[Span] = field(default_factory=list)
    maybe_taken: list[Span] = field(default_factory=list)

    @property
    def gone(self) -> list[Span]:
        """What was surely not delivered, whoever's doing it is."""
        return self.lost + self.taken + self.excused + self.shut_out

    @property
    def maybe_gone(self) -> list[Span]:
        """What was possibly not delivered."""
        return self.maybe_lost + self.maybe_taken + self.maybe_excused


def judge(story: Story, rhythm: Rhythm) -> Right:
    """Returns what is right for a position."""
    parts = {gpu: _judge_gpu(story, rhythm, gpu) for gpu in story.gpus}
    window_ms = len(parts) * (story.end_ms - story.start_ms)
    disputed = _disputed(story, rhythm, parts)
    least_ms = window_ms - sum(length(part.maybe_gone) for part in parts.values())
    most_ms = window_ms - sum(length(part.gone) for part in parts.values())
    short_ms = [(length(part.lost + part.taken), length(part.maybe_lost + part.maybe_taken)) for part in parts.values()]
    used = [_used(story, rhythm, gpu, part) for gpu, part in parts.items()]
    recalled, noticed = _recalled(story, rhythm, parts)
    return Right(
        delivered=Bounds(max(0, least_ms - disputed.most) // 1000, (most_ms - disputed.least) // 1000),
        excused=Bounds(
            -(-sum(length(part.excused) for part in parts.values()) // 1000),
            -(-sum(length(part.maybe_excused) for part in parts.values()) // 1000),
        ),
        used=Bounds(
            max(0, sum(least for least, _ in used) - disputed.most) // 1000, sum(most for _, most in used) // 1000
        ),
        # D is rounded down and E up: together they may hide one second of a shortfall, or show one more.
        short=Bounds(max(0, sum(s for s, _ in short_ms) // 1000 - 1), -(-sum(m for _, m in short_ms) // 1000)),
        recalled=recalled,
        noticed=noticed,
        disputed=Bounds(disputed.least // 1000, -(-disputed.most // 1000)),
    )


def _recalled(story: Story, rhythm: Rhythm, parts: Mapping[str, _Gpu]) -> tuple[Bounds, Bounds]:
    """How many GPUs surely and possibly were taken back or lost without notice, and how many with."""
    without_notice, with_notice = [0, 0], [0, 0]
    for gpu, part in parts.items():
        own = (each for each in story.recalls if each.concerns(gpu))
        recall = min(own, key=lambda each: each.taken, default=None)
        first_ms, last_ms = recall.taken if recall else (story.end_ms, story.end_ms)
        is_lost = length(clip(part.lost, story.start_ms, first_ms)) > rhythm.gap_ms + 1
        may_be_lost = length(clip(part.maybe_lost, story.start_ms, last_ms)) > rhythm.gap_ms
        may_be_taken, is_taken = first_ms < story.end_ms, last_ms < story.end_ms
        noticed = recall is not None and recall.noticed
        without_notice[0] += is_lost or (is_taken and not noticed)
        without_notice[1] += may_be_lost or (may_be_taken and not noticed)
        with_notice[0] += noticed and is_taken and not may_be_lost
        with_notice[1] += noticed and may_be_taken and not is_lost
    return Bounds(*without_notice), Bounds(*with_notice)


def _disputed(story: Story, rhythm: Rhythm, parts: Mapping[str, _Gpu]) -> Bounds:
    """How many milliseconds the renter's meter surely and possibly denies of what the operator's says was delivered.

    His reports stand for windows of their own: where a GPU is lost, or is well again, the two may differ for the length
    of one. What an outage touches may have been refused him.
    """
    least_ms = most_ms = 0
    window = (story.start_ms, story.end_ms)
    away = [_reach(trouble, rhythm) for trouble in story.troubles if trouble.kind == "outage"]
    for complaint in story.complaints:
        denied = (complaint.began.last_ms + rhythm.sampling_ms, complaint.ended.first_ms - rhythm.sampling_ms)
        doubted = (complaint.began.first_ms - rhythm.slow_ms, complaint.ended.last_ms + rhythm.slow_ms)
        for gpu in complaint.gpus & parts.keys():
            least_ms += length(without(clip(without([denied], away), *window), parts[gpu].maybe_gone))
            most_ms += length(without(clip([doubted], *window), parts[gpu].gone))
    for trouble in story.troubles if story.metered else ():
        if trouble.kind in ("unfit", "doubtful"):
            edges = [
                (edge.first_ms - rhythm.slow_ms, edge.last_ms + rhythm.slow_ms)
                for edge in (trouble.began, trouble.ended)
            ]
            most_ms += sum(length(clip(edges, *window)) for gpu in parts if trouble.concerns(gpu))
    contracted_ms = len(parts) * (story.end_ms - story.start_ms)
    if APART_SHARE * most_ms <= contracted_ms:
        return NOTHING
    return Bounds(least_ms if APART_SHARE * least_ms > contracted_ms else 0, most_ms)


def _judge_gpu(story: Story, rhythm: Rhythm, gpu: str) -> _Gpu:
    found = _Gpu()
    own = [trouble for trouble in story.troubles if trouble.concerns(gpu)]
    outages = [_reach(trouble, rhythm) for trouble in own if trouble.kind == "outage"]
    for trouble in own:
        if trouble.kind == "outage":
            found.maybe_excused.append(_reach(trouble, rhythm))
            continue
        if trouble.kind == "shut" and story.opened:
            # Nobody tries the door of a lease that is not open.
            trouble = replace(trouble, began=max(trouble.began, story.opened))
        sure, maybe = _EFFECTS[trouble.kind](trouble, own, rhythm)
        if story.metered:
            # What the operator's meter did not see, and the renter's own calls well, counts against the renter.
            sure = without(sure, [_reach(each, rhythm) for each in own if each.kind in ABSENCES])
        if story.has_door and trouble.kind == "dark":
            # The venue's own tries may bear witness of all of it.
            sure = []
        # While the venue is away it may excuse what it could not see, and what it could see stays lost.
        found.lost += without(sure, outages)
        found.maybe_lost += maybe
    _judge_opening(story, rhythm, found, outages)
    for recall in story.recalls:
        if recall.concerns(gpu):
            # Of a buyer who never got in the venue's absence is excused first.
            taken = [(recall.taken.last_ms, story.end_ms)]
            found.taken += taken if story.opened else without(taken, outages)
            found.maybe_taken.append((recall.taken.first_ms, story.end_ms))
    _excuse_maintenance(story, found)
    # The grace of opening is nobody's, whatever the GPU showed in it.
    found.lost, found.taken = without(found.lost, found.excused), without(found.taken, found.excused)
    for name in ("lost", "maybe_lost", "excused", "maybe_excused", "shut_out", "taken", "maybe_taken"):
        setattr(found, name, clip(getattr(found, name), story.start_ms, story.end_ms))
    return found


def _excuse_maintenance(story: Story, found: _Gpu) -> None:
    """What was declared before the trade is excused whatever happens in it, and is nobody's shortfall."""
    for name in ("lost", "maybe_lost", "taken", "maybe_taken", "shut_out"):
        setattr(found, name, without(getattr(found, name), story.maintenance))
    found.excused += story.maintenance
    found.maybe_excused += story.maintenance


def _judge_opening(story: Story, rhythm: Rhythm, found: _Gpu, outages: Sequence[Span]) -> None:
    """The buyer is let in before the start; the grace of opening is nobody's, what the hook takes longer is lost."""
    start_ms, end_ms = story.start_ms, story.end_ms
    if story.opened is None:
        found.shut_out.append((start_ms, end_ms))
        if story.began_opening is None and not any(trouble.kind in ABSENCES for trouble in story.troubles):
            # The venue never asked a node that was there: that is no shortfall of the operator's.
            found.maybe_excused.append((start_ms, end_ms))
            return
        tried_ms = end_ms if story.began_opening is None else story.began_opening.last_ms
        spared = [(away_ms, back_ms + rhythm.grace_ms) for away_ms, back_ms in outages]
        found.lost += without([(max(start_ms, tried_ms), end_ms)], spared)
        found.maybe_lost.append((start_ms, end_ms))
        found.maybe_excused.append((start_ms, tried_ms + rhythm.lag_ms))
        return
    if story.opened.first_ms > start_ms:
        found.shut_out.append((start_ms, story.opened.first_ms))
        found.excused.append((start_ms, min(story.opened.first_ms, start_ms + rhythm.grace_ms)))
    heard_ms = story.opened.last_ms + rhythm.lag_ms
    for trouble in story.troubles:
        if trouble.kind in HIDING and trouble.began.first_ms - rhythm.lag_ms <= heard_ms <= trouble.ended.last_ms:
            heard_ms = trouble.ended.last_ms + rhythm.sampling_ms
    due_ms = max(start_ms, story.began_opening.last_ms if story.began_opening else start_ms) + rhythm.grace_ms
    # Who was opening when the venue went away has the grace again when he hears that it is back.
    spared = [(away_ms, back_ms + rhythm.grace_ms) for away_ms, back_ms in outages]
    found.lost += without([(due_ms, story.opened.first_ms)], spared)
    found.maybe_lost.append((start_ms + rhythm.grace_ms, heard_ms))
    found.maybe_excused.append((start_ms, heard_ms))


def _unfit(trouble: Trouble, own: Sequence[Trouble], rhythm: Rhythm) -> tuple[list[Span], list[Span]]:
    """A report's last reading stands for its whole window."""
    began_ms = _window_start(trouble.began.first_ms, own, rhythm)
    ended_ms = _window_end(trouble.ended.last_ms, own, rhythm)
    healed_ms = _window_start(trouble.ended.first_ms, own, rhythm)
    return [(trouble.began.last_ms, healed_ms)], [(began_ms, ended_ms)]


def _doubtful(trouble: Trouble, own: Sequence[Trouble], rhythm: Rhythm) -> tuple[list[Span], list[Span]]:
    """It may be held against the GPU, and need not."""
    return [], _unfit(trouble, own, rhythm)[1]


def _silent(trouble: Trouble, own: Sequence[Trouble], rhythm: Rhythm) -> tuple[list[Span], list[Span]]:
    """Up to the gap limit it counts as delivered, if the GPU was well on both sides; else it is lost from its start."""
    maybe = [_reach(trouble, rhythm)]
    sure = [(trouble.began.last_ms, trouble.ended.first_ms)]
    away = [_reach(other, rhythm) for other in own if other.kind == "outage"]
    struck = any(other is not trouble and _touch(_reach(other, rhythm), maybe[0]) for other in own)
    if length(maybe) <= rhythm.gap_ms and not struck:
        return [], []
    return (sure if length(without(sure, away)) > rhythm.gap_ms else []), maybe


def _reboot(trouble: Trouble, own: Sequence[Trouble], rhythm: Rhythm) -> tuple[list[Span], list[Span]]:
    """Nothing is estimated over a boot."""
    return [(trouble.began.last_ms, trouble.ended.first_ms)], [_reach(trouble, rhythm)]


def _dark(trouble: Trouble, own: Sequence[Trouble], rhythm: Rhythm) -> tuple[list[Span], list[Span]]:
    """What the operator alone says counts for the gap limit, of which the venue's own outage uses up nothing.

    The report that ends a dark time proves an interval of it, as any live one does.
    """
    start_ms, end_ms = _reach(trouble, rhythm)
    end_ms += rhythm.sampling_ms
    struck = any(other is not trouble and _touch(_reach(other, rhythm), (start_ms, end_ms)) for other in own)
    away = [_reach(other, rhythm) for other in own if other.kind == "outage"]
    alone = without([(trouble.began.last_ms, trouble.ended.first_ms)], away)
    sure = after_first(alone, rhythm.gap_ms + rhythm.interval_ms)
    return sure, [(start_ms if struck else start_ms + rhythm.gap_ms, end_ms)]


def _shut(trouble: Trouble, own: Sequence[Trouble], rhythm: Rhythm) -> tuple[list[Span], list[Span]]:
    """It is lost from the first try that fails to the next that succeeds, if tries fail for longer than the grace."""
    began, ended, wait_ms = trouble.began, trouble.ended, rhythm.door_ms
    near = (_reach(other, rhythm) for other in own if other.kind in HIDING)
    struck = [reach for reach in near if _touch(reach, _reach(trouble, rhythm))]
    if ended.last_ms - began.first_ms <= rhythm.door_grace_ms:
        return [], []
    until_ms = max([ended.last_ms, *(end_ms for _, end_ms in struck)]) + wait_ms
    is_sure = ended.first_ms - began.last_ms - 2 * wait_ms > rhythm.door_grace_ms and not struck
    return [(began.last_ms + wait_ms, ended.first_ms)] if is_sure else [], [(began.first_ms, until_ms)]


_EFFECTS = {"unfit": _unfit, "doubtful": _doubtful, "silent": _silent, "reboot": _reboot, "dark": _dark, "shut": _shut}


def _reach(trouble: Trouble, rhythm: Rhythm) -> Span:
    """The longest time that a trouble can be seen in: from the report before it to the report after it."""
    if trouble.kind == "outage":
        return trouble.began.first_ms - rhythm.slow_ms, trouble.ended.last_ms + 2 * rhythm.sampling_ms
    if trouble.kind == "shut":
        return trouble.began.first_ms, trouble.ended.last_ms + rhythm.door_ms
    if trouble.kind == "dark":
        return trouble.began.first_ms - rhythm.sampling_ms, trouble.ended.last_ms + rhythm.slow_ms
    return trouble.began.first_ms - rhythm.sampling_ms, trouble.ended.last_ms + rhythm.lag_ms


def _window_start(moment_ms: int, own: Iterable[Trouble], rhythm: Rhythm) -> int:
    """The earliest start of the report window in which a moment lies."""
    start_ms = moment_ms - rhythm.sampling_ms
    for trouble in own:
        reach = _reach(trouble, rhythm)
        if trouble.kind in HIDING and _touch(reach, (start_ms, moment_ms)):
            start_ms = min(start_ms, reach[0] if trouble.kind != "dark" else moment_ms - rhythm.slow_ms)
    return start_ms


def _window_end(moment_ms: int, own: Iterable[Trouble], rhythm: Rhythm) -> int:
    """The latest time up to which a fault that has ended by then is still held against the GPU."""
    end_ms = moment_ms + rhythm.lag_ms
    for trouble in own:
        if trouble.kind in HIDING and _touch(_reach(trouble, rhythm), (moment_ms, end_ms)):
            end_ms = max(end_ms, _reach(trouble, rhythm)[1])
    return end_ms


def _used(story: Story, rhythm: Rhythm, gpu: str, part: _Gpu) -> Bounds:
    """How many milliseconds a process of the buyer's was surely, and possibly, resident in time that was delivered."""
    own = [trouble for trouble in story.troubles if trouble.concerns(gpu)]
    sure: list[Span] = []
    maybe: list[Span] = []
    for presence in story.presences:
        if gpu in presence.gpus:
            last_ms = _window_start(presence.ended.first_ms, own, rhythm)
            sure.append((_window_end(presence.began.last_ms, own, rhythm), last_ms))
            first_ms = _window_start(presence.began.first_ms, own, rhythm)
            # A report names every process that was seen since the one before: the window of its end may count whole.
            until_ms = _window_end(presence.ended.last_ms, own, rhythm)
            ended_ms = max(presence.ended.last_ms + rhythm.sampling_ms, until_ms)
            maybe.append((first_ms, ended_ms))
    window = (story.start_ms, story.end_ms)
    least = length(without(clip(sure, *window), part.maybe_gone))
    return Bounds(least, length(without(clip(maybe, *window), part.gone)))


# -- money -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Terms:
    """What a position was sold under: GPUs, seconds, price and index per GPU-hour, and the product's settings."""

    qty: int
    period_s: int
    price: int
    index: int
    tier: str
    reservation_permille: int
    upper_permille: int
    lower_permille: int
    bond: int
    fee_bps: int


class Money(NamedTuple):
    """What is due in micro-units."""

    gross: int
    damages: int
    fee: int
    buyer: int
    operator: int


def money(
    terms: Terms,
    delivered: int,
    excused: int,
    used: int,
    recalled: int = 0,
    noticed: bool = False,
    disputed: int = 0,
) -> Money:
    """Returns what the rules make of whole GPU-seconds: of what is disputed the buyer neither pays nor is paid."""
    due = terms.qty * terms.period_s - excused
    reserved, measured = terms.reservation_permille, 1000 - terms.reservation_permille
    gross = terms.price * (reserved * delivered + measured * used) // 3_600_000
    damages = 0
    if terms.tier == "I":
        damages = 0 if noticed else NOTICE_S * terms.price * recalled // 3600
    elif due > 0:
        band = (terms.upper_permille - terms.lower_permille) * due
        granted = delivered + disputed
        depth = min(terms.upper_permille * due - 1000 * granted, band)
        if depth > 0:
            dearer = max(terms.index - terms.price, 0)
            damages = (due - granted) * (dearer * band + terms.price * depth) // (3600 * band)
    damages = min(damages, terms.bond)
    fee = gross * terms.fee_bps // 10_000
    return Money(gross, damages, fee, damages - gross, gross - fee - damages)


# -- spans -----------------------------------------------------------------------------------------------------------


def union(spans: Iterable[Span]) -> list[Span]:
    """Returns the same time in order, without overlaps."""
    joined: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def without(spans: Iterable[Span], cuts: Iterable[Span]) -> list[Span]:
    """Returns what is left of spans outside the cuts."""
    left = union(spans)
    for cut_start, cut_end in union(cuts):
        left = [
            part
            for start, end in left
            for part in ((start, min(end, cut_start)), (max(start, cut_end), end))
            if part[0] < part[1]
        ]
    return left


def clip(spans: Iterable[Span], start_ms: int, end_ms: int) -> list[Span]:
    """Returns the parts between start and end."""
    return union((max(start, start_ms), min(end, end_ms)) for start, end in spans)


def after_first(spans: Iterable[Span], length_ms: int) -> list[Span]:
    """Returns what is left of spans in order behind their first so many milliseconds."""
    left, rest_ms = [], length_ms
    for start, end in spans:
        if start + rest_ms < end:
            left.append((start + rest_ms, end))
        rest_ms = max(0, rest_ms - (end - start))
    return left


def length(spans: Iterable[Span]) -> int:
    """Returns how long spans are together."""
    return sum(end - start for start, end in union(spans))


def _touch(one: Span, other: Span) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]
