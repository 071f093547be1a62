"""One node's round: what is sold is delivered while the plan's accidents happen; all that is done is taken down."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from clients.actors import Actor
from tests.long_run.machine import Machine, Step, now_ms
from tests.long_run.plans import Accident, Plan
from tests.long_run.renters_meter import RentersMeter
from tests.long_run.truth import Complaint, Kind, Moment, Presence, Recall, Span, Story, Trouble

POLL_S = 0.1
MINUTE_MS = 60_000
HEAL_AFTER_MS = 3_000
LEAVES_AT = 0.5
DENIES_AT = 0.5
# A meter that was started less than this before it shall deny a GPU may not be up yet, and denies nothing.
METER_UP_MS = 6_000
# What a machine shows only comes back to normal with a boot.
LASTING = ("lost", "fatal_xid", "ecc", "degrading_xid", "contained_xid")
UNFIT = ("lost", "fatal_xid", "ecc", "owner", "owner_with_the_lease")


@dataclass(frozen=True)
class Sold:
    """One position of the round, as its fill made it."""

    position_id: int
    qty: int
    price_micros: int
    buyer: Actor
    renter: str
    meter: str = "none"

    @property
    def lease_id(self) -> str:
        """How delivery names the lease of a position's first hour."""
        return f"lease-{self.position_id}"


@dataclass
class _Open:
    """Something that has begun and not ended."""

    began: Moment
    gpus: frozenset[str]
    pid: int = 0
    kind: Kind = "unfit"


@dataclass
class Round:
    """Performs a plan on a machine during one contract."""

    machine: Machine
    plan: Plan
    contract: str
    start_ms: int
    end_ms: int
    sold: tuple[Sold, ...]
    maintenance: tuple[Span, ...] = ()
    troubles: list[Trouble] = field(default_factory=list)
    presences: list[Presence] = field(default_factory=list)
    recalls: dict[int, Recall] = field(default_factory=dict)
    complaints: dict[str, Complaint] = field(default_factory=dict)
    meters: dict[str, RentersMeter] = field(default_factory=dict)
    opened: dict[str, Step] = field(default_factory=dict)
    began: dict[str, Step] = field(default_factory=dict)
    healed: bool = False
    failure: BaseException | None = None
    _unfit: list[_Open] = field(default_factory=list)
    _present: list[_Open] = field(default_factory=list)
    _off: bool = False
    _listens: bool = True
    _denied: dict[str, _Open] = field(default_factory=dict)
    _due: list[tuple[int, int, Callable[[], None]]] = field(default_factory=list)

    def prepare(self) -> None:
        """Tells the hooks what to do; before the gate."""
        late_ms = self.start_ms + int(self.plan.late_s * 1000)
        hook = f"late {late_ms}" if self.plan.hook == "late" else self.plan.hook
        if hook.startswith("stop_"):
            self.machine.set_hooks("good", hook.removeprefix("stop_"))
        else:
            self.machine.set_hooks(hook, "good")
        self.machine.name_door(self.plan.has_door)
        for sold in self.sold:
            (self.machine.folder / f"renter.{sold.lease_id}").write_text(sold.renter + "\n")

    def perform(self) -> None:
        """Lets everything happen, and heals the machine after the end; a fault of the test's own is kept."""
        try:
            self._perform()
        except BaseException as error:  # judged by the run, which waits for this thread
            self.failure = error

    def story_of(self, sold: Sold, gpus: tuple[str, ...], outages: list[Trouble]) -> Story:
        """Returns what is known of one position."""
        began, opened = self.began.get(sold.lease_id), self.opened.get(sold.lease_id)
        return Story(
            gpus=gpus,
            start_ms=self.start_ms,
            end_ms=self.end_ms,
            began_opening=Moment(began.at_ms, began.at_ms) if began else None,
            opened=Moment(opened.at_ms - 20, opened.at_ms + 20) if opened else None,
            troubles=(*self.troubles, *outages),
            presences=tuple(self.presences),
            maintenance=self.maintenance,
            recalls=tuple(recall for position, recall in self.recalls.items() if position == sold.position_id),
            metered=sold.lease_id in self.meters,
            has_door=self.plan.has_door,
            complaints=tuple(each for lease_id, each in self.complaints.items() if lease_id == sold.lease_id),
        )

    def _perform(self) -> None:
        for accident in self.plan.accidents:
            self._at(self._moment(accident.at), lambda accident=accident: self._strike(accident))
        self._at(self._moment(LEAVES_AT), self._leave)
        self._at(self._moment(DENIES_AT), self._deny)
        self._at(self.end_ms + HEAL_AFTER_MS, self._heal)
        while not self.healed:
            self._watch_hooks()
            if self._due and self._due[0][0] <= now_ms():
                self._due.pop(0)[2]()
            else:
                time.sleep(POLL_S)

    def _moment(self, share: float) -> int:
        return self.start_ms + int(share * (self.end_ms - self.start_ms))

    def _at(self, ms: int, deed: Callable[[], None]) -> None:
        self._due.append((ms, len(self._due), deed))
        self._due.sort(key=lambda due: due[:2])

    # -- renters ------------------------------------------------------------------------------------------------------

    def _watch_hooks(self) -> None:
        """A renter starts his work as soon as he is in."""
        for step in self.machine.steps():
            if step.action != "start":
                continue
            sold = next((sold for sold in self.sold if sold.lease_id == step.lease_id), None)
            if sold is None:
                continue
            if step.stage == "began":
                self.began.setdefault(step.lease_id, step)
            elif step.lease_id not in self.opened:
                self.opened[step.lease_id] = step
                if sold.renter != "idle":
                    for uuid in step.gpus:
                        moment = self.machine.add_process(self.machine.uuids.index(uuid), step.pid)
                        self._present.append(_Open(moment, frozenset({uuid}), step.pid))
                if sold.meter != "none":
                    self._start_meter(sold)

    def _start_meter(self, sold: Sold) -> None:
        meter = RentersMeter(self.machine, sold.lease_id, sold.buyer, sold.meter == "denies")
        if meter.start():
            self.meters[sold.lease_id] = meter

    def _deny(self) -> None:
        """Renters who lie of a GPU begin to, where their meters are up."""
        for sold in self.sold:
            step, meter = self.opened.get(sold.lease_id), self.meters.get(sold.lease_id)
            if sold.meter != "denies" or meter is None or meter.is_stopped:
                continue
            if step.at_ms + METER_UP_MS <= now_ms():
                moment = meter.deny(self.machine.uuids.index(step.gpus[0]))
                self._denied[sold.lease_id] = _Open(moment, frozenset(step.gpus[:1]))

    def _end_meters(self, moment: Moment) -> None:
        for lease_id, each in self._denied.items():
            # Of a meter that did not run nobody knows what it has said.
            ended = moment if self.meters[lease_id].is_well else Moment(each.began.first_ms, moment.last_ms)
            self.complaints[lease_id] = Complaint(each.began, ended, each.gpus)
        self._denied.clear()
        for meter in self.meters.values():
            meter.stop()

    def _leave(self) -> None:
        leaving = {sold.lease_id for sold in self.sold if sold.renter == "leaves"}
        for pid in {step.pid for lease_id, step in self.opened.items() if lease_id in leaving}:
            self._end_presence(self.machine.end_process(pid), pid)

    def _end_presence(self, moment: Moment, pid: int | None = None) -> None:
        for each in [each for each in self._present if pid in (None, each.pid)]:
            self._present.remove(each)
            self.presences.append(Presence(each.began, moment, each.gpus))

    # -- accidents ----------------------------------------------------------------------------------------------------

    def _strike(self, accident: Accident) -> None:
        machine = self.machine
        match accident.kind:
            case "kill":
                self._listens = False
                self._until(accident, "silent", machine.kill(), machine.start_again)
            case "freeze":
                self._until(accident, "silent", machine.freeze(), machine.thaw)
            case "reboot":
                self._off = True
                off = machine.power_off()
                machine.end_strangers()
                self._end_meters(off)
                self._end_presence(off)
                self._until(accident, "reboot", off, machine.start_again)
            case "dark":
                began_ms = now_ms()
                machine.network.cut(machine.label)
                self._until(accident, "dark", Moment(began_ms, now_ms()), self._join)
            case "shut":
                self._until(accident, "shut", machine.shut_door(), machine.open_door)
            case "clock":
                machine.set_wall(accident.number)
            case "late_maintenance":
                # It is sold already: nothing may be excused by this any more.
                if machine.declare_maintenance((self.start_ms, self.end_ms + MINUTE_MS)):
                    raise AssertionError(f"{machine.label}: maintenance was taken for what is sold")
            case "recall":
                self._recall(accident)
            case _:
                self._strike_gpu(accident)

    def _recall(self, accident: Accident) -> None:
        """The operator takes back one GPU, or with none named a whole position."""
        sold, gpus = self.sold[0], ()
        if accident.gpu is not None:
            uuid = self.machine.uuids[accident.gpu]
            for each in self.sold:
                step = self.opened.get(each.lease_id)
                if step is not None and uuid in step.gpus:
                    sold, gpus = each, (uuid,)
        period_ms = self.end_ms - self.start_ms
        recall = self.machine.recall(sold.position_id, gpus, bool(accident.number), period_ms)
        if recall is not None:
            self.recalls[sold.position_id] = recall

    def _join(self) -> Moment:
        began_ms = now_ms()
        self.machine.network.join(self.machine.label)
        return Moment(began_ms, now_ms())

    def _until(self, accident: Accident, kind: str, began: Moment, end: Callable[[], Moment]) -> None:
        def over() -> None:
            moment = end()
            self._off, self._listens = False, True
            self.troubles.append(Trouble(kind, began, moment))
            if kind == "reboot":
                self._end_unfit(Moment(began.first_ms, moment.last_ms))

        self._at(now_ms() + int(accident.for_s * 1000), over)

    def _strike_gpu(self, accident: Accident) -> None:
        """XIDs are told to those who listen alone; what the driver asks for after a fatal one is there to be read."""
        gpu, machine = accident.gpu, self.machine
        if self._off:
            return
        uuid = machine.uuids[gpu]
        facts = {
            "lost": (f"xid {accident.number}", "lost 1"),
            "fatal_xid": (f"xid {accident.number}", "recovery_action 1"),
            "ecc": ("ecc_uncorrected 1",),
            "contained_xid": (f"xid {accident.number}", "ecc_uncorrected 1"),
        }
        if accident.kind == "owners_display":
            moment = machine.add_display(gpu, machine.start_stranger(None))
        elif accident.kind.startswith("owner"):
            victim = next((step.lease_id for step in self.opened.values() if uuid in step.gpus), None)
            pid = machine.start_stranger(victim if accident.kind == "owner_with_the_lease" else None)
            moment = machine.add_process(gpu, pid)
        else:
            moment = machine.show(gpu, *facts.get(accident.kind, (f"xid {accident.number}",)))
        if accident.kind in UNFIT:
            self._unfit.append(_Open(moment, frozenset({uuid})))
        elif accident.kind == "contained_xid" and not self._listens:
            # Nobody heard the XID that explains the ECC error.
            self._unfit.append(_Open(moment, frozenset({uuid}), kind="doubtful"))

    def _end_unfit(self, moment: Moment) -> None:
        while self._unfit:
            each = self._unfit.pop()
            self.troubles.append(Trouble(each.kind, each.began, moment, each.gpus))

    def _heal(self) -> None:
        """Puts the machine in order for its next round."""
        machine = self.machine
        moment = Moment(now_ms(), now_ms())
        machine.end_strangers()
        for step in self.opened.values():
            machine.end_process(step.pid)
        self._end_presence(moment)
        self._end_unfit(moment)
        self._end_meters(moment)
        machine.set_hooks("good", "good")
        machine.set_wall(0)
        if any(accident.kind in LASTING for accident in self.plan.accidents):
            machine.power_off()
            machine.start_again()
        self.healed = True
