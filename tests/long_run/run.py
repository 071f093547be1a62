"""The long run: machines are sold period after period, suffer what the seed says, and every receipt is judged."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import httpx

from clients import trading
from clients.actors import Registry
from clients.http import ApiError, result_of
from infra.exchange import RunningExchange
from infra.fake_nvml.build import build_library
from infra.fake_nvml.scenario import H100_SXM, GpuModel
from infra.reference.load import load_products
from infra.reference.products import Timing
from schemas.money import parse_micros
from schemas.reporting import report_interval_ms
from tests.long_run.doors import Doors
from tests.long_run.lag import LagMeter, VenueWatch
from tests.long_run.machine import Machine, now_ms
from tests.long_run.network import Network
from tests.long_run.outages import suffer
from tests.long_run.plans import AT_ONCE, GPUS, Plan, plan_outage, plan_round
from tests.long_run.round import Round, Sold
from tests.long_run.tally import Tally
from tests.long_run.truth import Moment, Rhythm, Span, Trouble, judge
from tests.long_run.verdicts import faults_of

PERIOD_S = 20
PERIOD_MS = PERIOD_S * 1000
TIMING = Timing.sandbox(PERIOD_S)
A100, H200 = GpuModel("NVIDIA A100-SXM4-80GB", 81_920), GpuModel("NVIDIA H200", 143_771)
# AT_ONCE of these sell in a period, one after the other; each alone in its product, so that an order meets it for sure.
KINDS = (
    ("H100SXM80.CNE.F", H100_SXM),
    ("A100SXM80.CNE.F", A100),
    ("H100SXM80.CNE.I", H100_SXM),
    ("H100SXM80.CNE.M", H100_SXM),
    ("H100SXM80.CNN.F", H100_SXM),
    ("A100SXM80.CNN.F", A100),
    ("H200SXM141.CNE.F", H200),
    ("H100SXM80.CNN.I", H100_SXM),
    ("H100SXM80.CNS.F", H100_SXM),
    ("A100SXM80.CNS.F", A100),
    ("H100SXM80.CNS.M", H100_SXM),
    ("H200SXM141.CNN.F", H200),
    ("H100SXM80.CNC.F", H100_SXM),
    ("A100SXM80.CNC.F", A100),
    ("H100SXM80.CNS.I", H100_SXM),
    ("H100SXM80.CNW.F", H100_SXM),
)
BUYERS = ("ann", "ben", "cleo")
PAID_IN = "1000000.00"
PAID_IN_MICROS = parse_micros(PAID_IN)
ORDER_AHEAD_MS, ORDER_LAST_MS = 5_500, 1_500
JUDGED_AFTER_MS, JUDGED_WITHIN_MS = 45_000, 150_000
READY_WITHIN_S = 240
ANSWERED_WITHIN_S = 60
LAG_MS_MIN, LAGS = 600, 2
GRACE_MS = 5_000
# A machine alone has no round before its first in which its maintenance could be declared.
DECLARED_AHEAD_MS = 4 * PERIOD_MS


@dataclass
class LongRun:
    """Counts, and what was found. `tell` is given a line a minute, `complain` each fault at once."""

    exchange: RunningExchange
    work: Path
    seed: int
    first: int
    leases: int
    tell: Callable[[str], None]
    complain: Callable[[str], None]
    skipped: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    tally: Tally = field(init=False)
    _rounds: list[tuple[Round, Thread]] = field(default_factory=list)
    _outages: list[Trouble] = field(default_factory=list)
    _outage_threads: list[Thread] = field(default_factory=list)
    _sold: int = 0
    _nets: Counter = field(default_factory=Counter)
    _maintained: dict[int, Span] = field(default_factory=dict)
    _held: list[tuple[Round, Sold, dict]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tally = Tally(self.seed, self.first)

    def play(self) -> None:
        """Sells, delivers, judges, until so many leases are judged and all money is where it belongs."""
        self._products = {
            terms.product: terms
            for terms in load_products(self.exchange.addresses["kafka"], self.exchange.data / "keys", TIMING)
        }
        self._lag, self._network, self._doors = LagMeter(), Network(self.exchange.addresses["delivery"]), Doors()
        self._watch = VenueWatch(self.exchange.addresses["delivery"])
        registry = Registry(self.exchange.addresses, self.exchange.data / "keys", self.work / "keys")
        self._machines: list[Machine] = []
        try:
            self._open(registry)
            self._sell()
            while self._rounds:
                self._judge_due()
                time.sleep(0.5)
            self._judge_what_was_held()
            self._count_money()
        finally:
            self._network.stop()
            self._doors.stop()
            self._lag.stop()
            self._watch.stop()
            for machine in self._machines:
                machine.stop()

    # -- the beginning ------------------------------------------------------------------------------------------------

    def _open(self, registry: Registry) -> None:
        """Opens accounts and starts as many machines as will be sold."""
        self._buyers = [registry.open_account(name, "trade", CNY=PAID_IN) for name in BUYERS]
        library = build_library(self.work / "nvml")
        for place in range(min(len(KINDS), self.leases)):
            label = f"site-{(self.first + place) % len(KINDS):02d}"
            product, model = KINDS[(self.first + place) % len(KINDS)]
            machine = Machine(
                label=label,
                product=product,
                model=model,
                operator=registry.open_account(label, "operate", CNY=PAID_IN),
                folder=self.work / "sites" / label,
                network=self._network,
                doors=self._doors,
                library=library,
                log=self.exchange.data / "logs" / f"{label}.log",
                price=f"{10 + place / 4:.2f}",
            )
            self._machines.append(machine)
            machine.prepare()
        deadline = time.monotonic() + READY_WITHIN_S
        while waiting := [machine for machine in self._machines if not self._has_asks(machine)]:
            logs = ", ".join(f"{machine.label}: {machine.log.read_text()[-300:]!r}" for machine in waiting)
            assert time.monotonic() < deadline, f"these machines never came to sell: {logs}"
            time.sleep(1)

    def _has_asks(self, machine: Machine) -> bool:
        periods = trading.open_periods(self._buyers[0], machine.product, gate_in_s=10)
        return any(self._offered(machine, period.contract) >= GPUS for period in periods[:4])

    def _offered(self, machine: Machine, contract: str) -> int:
        return sum(int(qty) for _, qty in trading.book_of(self._buyers[0], contract)["asks"])

    # -- selling ------------------------------------------------------------------------------------------------------

    def _sell(self) -> None:
        lead_ms = TIMING.gate_lead_s * 1000 + ORDER_AHEAD_MS
        start_ms = (now_ms() + lead_ms + PERIOD_MS) // PERIOD_MS * PERIOD_MS
        number = self.first
        if len(self._machines) == 1 and self._plan(number).maintenance:
            start_ms += DECLARED_AHEAD_MS
        for first_round in range(number, number + len(self._machines)):
            self._declare_maintenance(first_round, start_ms + PERIOD_MS * _periods_between(number, first_round))
        while self._sold < self.leases:
            while now_ms() < start_ms - lead_ms:
                self._judge_due()
                time.sleep(0.2)
            self._begin_outage(number // AT_ONCE, start_ms)
            numbers = range(number, number + AT_ONCE - number % AT_ONCE)
            self._sell_period(numbers, start_ms)
            for coming in (each + len(self._machines) for each in numbers):
                self._declare_maintenance(coming, start_ms + PERIOD_MS * _periods_between(number, coming))
            number = self.tally.next_plan = numbers.stop
            start_ms += PERIOD_MS

    def _machine_of(self, number: int) -> Machine:
        return self._machines[(number - self.first) % len(self._machines)]

    def _plan(self, number: int) -> Plan:
        return plan_round(self.seed, number, self._machine_of(number).product.rpartition(".")[2])

    def _declare_maintenance(self, number: int, start_ms: int) -> None:
        """Declares the maintenance of a round that is yet to be sold; one that begins too soon the venue refuses."""
        if shares := self._plan(number).maintenance:
            window = (start_ms + int(shares[0] * PERIOD_MS), start_ms + int(shares[1] * PERIOD_MS))
            if self._machine_of(number).declare_maintenance(window):
                self._maintained[number] = window

    def _sell_period(self, numbers: range, start_ms: int) -> None:
        """Sells the machines of one period, each as soon as it offers all its GPUs; who never does is skipped."""
        last_ms = start_ms - TIMING.gate_lead_s * 1000 - ORDER_LAST_MS
        waiting = dict.fromkeys(numbers, "was not asked")
        while waiting and self._sold < self.leases and now_ms() < last_ms:
            for number in list(waiting):
                if self._sold < self.leases and not (hindrance := self._sell_one(number, start_ms)):
                    del waiting[number]
                else:
                    waiting[number] = hindrance
            time.sleep(0.2)
        if self._sold < self.leases:
            self.skipped += [f"{number}: {hindrance}" for number, hindrance in waiting.items()]
            self.tally.skipped = len(self.skipped)

    def _sell_one(self, number: int, start_ms: int) -> str:
        """Sells a machine's GPUs and lets its round begin; returns what stands against it, if anything does."""
        machine, plan = self._machine_of(number), self._plan(number)
        contract = f"{machine.product}-{datetime.fromtimestamp(start_ms / 1000, UTC):%y%m%d%H%M%S}"
        try:
            if (offered := self._offered(machine, contract)) < GPUS:
                return f"{machine.label} offers {offered} GPUs"
            sold = tuple(
                each for part, qty in enumerate(plan.parts) for each in self._buy(number, part, qty, contract, plan)
            )
        except (ApiError, httpx.HTTPError) as error:
            return f"{machine.label}: {error}"
        self._sold += len(sold)
        maintenance = (self._maintained[number],) if number in self._maintained else ()
        played = Round(machine, plan, contract, start_ms, start_ms + PERIOD_MS, sold, maintenance)
        played.prepare()
        thread = Thread(target=played.perform, daemon=True)
        thread.start()
        self._rounds.append((played, thread))
        if plan.reprice:
            machine.set_price(f"{10 + number % 7 / 2:.2f}")
        return ""

    def _buy(self, number: int, part: int, qty: int, contract: str, plan: Plan) -> list[Sold]:
        """Places one order; each fill is a position. While the venue does not know what became of it, asks again."""
        buyer = self._buyers[(number + part) % len(self._buyers)]
        form = {"contract": contract, "side": "buy", "qty": qty, "price": "20.00", "tif": "IOC"}
        deadline = time.monotonic() + ANSWERED_WITHIN_S
        while "fills" not in (reply := trading.place(buyer, f"{contract}-{part}", **form)):
            assert time.monotonic() < deadline, f"nobody knows what became of an order for {contract}"
            time.sleep(0.5)
        renter, meter = plan.renters[part], plan.meters[part]
        return [
            Sold(fill["position_id"], int(fill["qty"]), parse_micros(fill["price"]), buyer, renter, meter)
            for fill in reply["fills"]
        ]

    def _begin_outage(self, period: int, start_ms: int) -> None:
        """The venue's trouble of a period comes while it is delivered."""
        outage = plan_outage(self.seed, period)
        if outage is None:
            return

        def happen() -> None:
            time.sleep(max(0.0, (start_ms + outage.at * PERIOD_MS - now_ms()) / 1000))
            trouble = suffer(self.exchange, outage)
            self._outages.append(trouble)
            self.tally.outages += 1
            self.complain(f"outage of {outage.program}: {trouble.ended.last_ms - trouble.began.first_ms} ms")

        thread = Thread(target=happen, daemon=True)
        self._outage_threads.append(thread)
        thread.start()

    # -- judging ------------------------------------------------------------------------------------------------------

    def _judge_due(self) -> None:
        self.tell(self.summary())
        for played, thread in list(self._rounds):
            if now_ms() < played.end_ms + JUDGED_AFTER_MS or thread.is_alive():
                continue
            if played.failure is not None:
                raise played.failure
            receipts = [self._receipt(sold) for sold in played.sold]
            if None in receipts and now_ms() < played.end_ms + JUDGED_WITHIN_MS:
                continue
            self._rounds.remove((played, thread))
            for sold, receipt in zip(played.sold, receipts, strict=True):
                self._judge(played, sold, receipt)

    def _receipt(self, sold: Sold) -> dict | None:
        try:
            return result_of(sold.buyer.delivery.get(f"/v1/receipts/{sold.position_id}"))
        except (ApiError, httpx.HTTPError):
            return None

    def _judge(self, played: Round, sold: Sold, receipt: dict | None) -> None:
        self.tally.judged += 1
        self.tally.accidents.update({accident.kind for accident in played.plan.accidents})
        if receipt is None:
            self._report(played, sold, ["there is no receipt"])
            return
        self._book(played, sold, receipt)
        if receipt["terms"].get("disputed_gpu_s", 0):
            self._held.append((played, sold, receipt))
        self._compare(played, sold, receipt, is_decided=False)

    def _judge_what_was_held(self) -> None:
        """What two meters differed about may be decided by now: where nobody did, by the operator's word."""
        for played, sold, before in self._held:
            receipt = self._receipt(sold)
            if receipt is None or receipt["revision"] == before["revision"]:
                continue
            self._book(played, sold, before, sign=-1)
            self._book(played, sold, receipt)
            self._compare(played, sold, receipt, is_decided=not receipt["terms"].get("disputed_gpu_s", 0))

    def _book(self, played: Round, sold: Sold, receipt: dict, sign: int = 1) -> None:
        self._nets[sold.buyer.account] += sign * (receipt["damages_micros"] - receipt["paid_micros"])
        self._nets[played.machine.operator.account] += sign * receipt["operator_micros"]

    def _compare(self, played: Round, sold: Sold, receipt: dict, is_decided: bool) -> None:
        product = self._products[played.machine.product]
        gate_ms = played.start_ms - TIMING.gate_lead_s * 1000
        lag_ms = max(LAG_MS_MIN, LAGS * self._lag.most_ms(gate_ms, played.end_ms + JUDGED_AFTER_MS))
        rhythm = Rhythm(report_interval_ms(PERIOD_MS), lag_ms, GRACE_MS)
        gpus = (*receipt["gpus"], *(f"missing-{n}" for n in range(sold.qty - len(receipt["gpus"]))))
        away = [*self._outages, *self._watch.outages()]
        near = [each for each in away if each.ended.last_ms > gate_ms and each.began.first_ms < played.end_ms]
        story = played.story_of(sold, gpus, near)
        right = judge(replace(story, complaints=()) if is_decided else story, rhythm)
        faults = faults_of(receipt, right, product, sold.qty, sold.price_micros)
        if faults:
            about = [f"lag {lag_ms} ms; quality {receipt['quality_gpu_ms']}", *map(str, faults)]
            about += [
                f"the venue was away {(o.began.first_ms - played.start_ms, o.ended.last_ms - played.start_ms)}"
                for o in near
            ]
            self._report(played, sold, about)

    def _report(self, played: Round, sold: Sold, about: list[str]) -> None:
        self.tally.wrong += 1
        alone = f"./hourbook test delivery --long --seed {self.seed} --first {played.plan.number} --leases 1"
        who = f"{sold.qty} GPUs, renter {sold.renter}, {played.machine.label}"
        head = f"lease {sold.lease_id} of {played.contract} ({who})"
        lines = [head, f"plan {played.plan.number}: {played.plan.describe()}", *about]
        lines += [_line_of(trouble, played.start_ms) for trouble in played.troubles]
        lines += [
            f"declared maintenance of {(a - played.start_ms, b - played.start_ms)}" for a, b in played.maintenance
        ]
        if recall := played.recalls.get(sold.position_id):
            taken_ms = recall.taken.first_ms - played.start_ms
            lines.append(f"recall of {set(recall.gpus) or 'all'}, noticed {recall.noticed}, at {taken_ms} ms")
        text = "\n    ".join([*lines, f"alone: {alone}"])
        self.faults.append(text)
        self.complain(text)

    def _count_money(self) -> None:
        """Nobody has more or less than the receipts say, once nothing is left to settle."""
        for actor in (*self._buyers, *(machine.operator for machine in self._machines)):
            (balance,) = result_of(actor.gateway.get("/v1/balances"))["items"]
            has = parse_micros(balance["available"]) + parse_micros(balance["held"])
            due = PAID_IN_MICROS + self._nets[actor.account]
            if has != due:
                self.faults.append(f"{actor.account} has {has} micro-units, by the receipts it is {due}")
                self.complain(self.faults[-1])

    def summary(self) -> str:
        """Says how far the run is."""
        return f"seed {self.seed}, {self.leases} leases from plan {self.first} on: {self.tally}"


def _periods_between(number: int, other: int) -> int:
    """How many periods lie between two plans' rounds."""
    return other // AT_ONCE - number // AT_ONCE


def _line_of(trouble: Trouble, start_ms: int) -> str:
    def text(moment: Moment) -> str:
        return f"{(moment.first_ms - start_ms) / 1000:.2f}–{(moment.last_ms - start_ms) / 1000:.2f}"

    gpus = ", ".join(trouble.gpus) or "the node"
    return f"{trouble.kind} of {gpus}: began {text(trouble.began)} s after the start, ended {text(trouble.ended)} s"
