"""One node's round: what is sold is delivered while the plan's accidents happen; all that is done is taken down."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from clients.demo.actors import Actor
from tests.long_run.machine import Machine, Step, now_ms
from tests.long_run.plans import Accident, Plan
from tests.long_run.truth import Moment, Presence, Story, Trouble

POLL_S = 0.1
HEAL_AFTER_MS = 3_000
LEAVES_AT = 0.5
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


@dataclass
class Round:
    """Performs a plan on a machine during one contract."""

    machine: Machine
    plan: Plan
    contract: str
    start_ms: int
    end_ms: int
    sold: tuple[Sold, ...]
    troubles: list[Trouble] = field(default_factory=list)
    presences: list[Presence] = field(default_factory=list)
    opened: dict[str, Step] = field(default_factory=dict)
    began: dict[str, Step] = field(default_factory=dict)
    healed: bool = False
    failure: BaseException | None = None
    _unfit: list[_Open] = field(default_factory=list)
    _present: list[_Open] = field(default_factory=list)
    _due: list[tuple[int, int, Callable[[], None]]] = field(default_factory=list)

    def prepare(self) -> None:
        """Tells the hooks what to do; before the gate."""
        late_ms = self.start_ms + int(self.plan.late_s * 1000)
        at_start = {"late": f"late {late_ms}", "stop_fails": "good"}.get(self.plan.hook, self.plan.hook)
        self.machine.set_hooks(at_start, "fails" if self.plan.hook == "stop_fails" else "good")
        for sold in self.sold:
            if sold.renter == "without_variable":
                (self.machine.folder / f"plain.{sold.lease_id}").touch()

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
        )

    def _perform(self) -> None:
        for accident in self.plan.accidents:
            self._at(self._moment(accident.at), lambda accident=accident: self._strike(accident))
        self._at(self._moment(LEAVES_AT), self._leave)
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
                self._until(accident, "silent", machine.kill(), machine.start_again)
            case "freeze":
                self._until(accident, "silent", machine.freeze(), machine.thaw)
            case "reboot":
                off = machine.power_off()
                machine.end_strangers()
                self._end_presence(off)
                self._until(accident, "reboot", off, machine.start_again)
            case "dark":
                began_ms = now_ms()
                machine.network.cut(machine.label)
                self._until(accident, "dark", Moment(began_ms, now_ms()), self._join)
            case "clock":
                machine.set_wall(accident.number)
            case _:
                self._strike_gpu(accident)

    def _join(self) -> Moment:
        began_ms = now_ms()
        self.machine.network.join(self.machine.label)
        return Moment(began_ms, now_ms())

    def _until(self, accident: Accident, kind: str, began: Moment, end: Callable[[], Moment]) -> None:
        def over() -> None:
            moment = end()
            self.troubles.append(Trouble(kind, began, moment))
            if kind == "reboot":
                self._end_unfit(Moment(began.first_ms, moment.last_ms))

        self._at(now_ms() + int(accident.for_s * 1000), over)

    def _strike_gpu(self, accident: Accident) -> None:
        gpu, machine = accident.gpu, self.machine
        uuid = machine.uuids[gpu]
        facts = {
            "lost": (f"xid {accident.number}", "lost 1"),
            "ecc": ("ecc_uncorrected 1",),
            "contained_xid": (f"xid {accident.number}", "ecc_uncorrected 1"),
        }
        if accident.kind.startswith("owner"):
            victim = next((step.lease_id for step in self.opened.values() if uuid in step.gpus), None)
            pid = machine.start_stranger(victim if accident.kind == "owner_with_the_lease" else None)
            moment = machine.add_process(gpu, pid)
        else:
            moment = machine.show(gpu, *facts.get(accident.kind, (f"xid {accident.number}",)))
        if accident.kind in UNFIT:
            self._unfit.append(_Open(moment, frozenset({uuid})))

    def _end_unfit(self, moment: Moment) -> None:
        while self._unfit:
            each = self._unfit.pop()
            self.troubles.append(Trouble("unfit", each.began, moment, each.gpus))

    def _heal(self) -> None:
        """Puts the machine in order for its next round."""
        machine = self.machine
        moment = Moment(now_ms(), now_ms())
        machine.end_strangers()
        for step in self.opened.values():
            machine.end_process(step.pid)
        self._end_presence(moment)
        self._end_unfit(moment)
        machine.set_hooks("good", "good")
        machine.set_wall(0)
        if any(accident.kind in LASTING for accident in self.plan.accidents):
            machine.power_off()
            machine.start_again()
        self.healed = True
