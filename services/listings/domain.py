"""The rules of a hardware sale: who may do what in which state, and the condition of a GPU by evidence."""

from dataclasses import dataclass
from typing import get_args

from schemas.ids import Grade
from schemas.listings import Condition, DefaultOutcome, ListedGpu, ListingForm, ListingState
from schemas.money import BadDecimal, parse_micros
from schemas.nodes import InspectedGpu, InspectionReport

FEE_BASE_BPS = 10_000


class ListingError(Exception):
    """The base of the service's refusals; `code` is what the caller sees."""

    code = "conflict"


class BadInspection(ListingError):
    """The inspection is unknown, somebody else's, too old, or of GPUs that make no lot."""

    code = "bad_inspection"


class WrongState(ListingError):
    """The listing is in a state in which this step cannot be taken."""

    code = "wrong_state"


class NotAParty(ListingError):
    """Only the seller, or only the buyer, may take this step."""

    code = "not_yours"


class AlreadyBought(ListingError):
    """The caller himself bought the listing before: a repeat, not a rival's purchase."""

    code = "already_bought"


@dataclass(frozen=True)
class Step:
    """One step of a sale: by whom, from which states, into which state."""

    by: str
    before: tuple[ListingState, ...]
    after: ListingState


@dataclass(frozen=True)
class Terms:
    """What a listing offers: GPUs of one grade, graded by condition, at a price, with the venue's fee in it."""

    grade: Grade
    condition: Condition
    gpus: tuple[ListedGpu, ...]
    price_micros: int
    fee_micros: int
    simulated: bool


@dataclass(frozen=True)
class Inspection:
    """An inspection report that delivery has checked: whose node's, and when it came in."""

    account: str
    ts_ms: int
    report: InspectionReport


# `engine` steps happen when the engine's event comes back, `time` steps when a deadline passes, never on request.
STEPS: dict[str, Step] = {
    "locked": Step("engine", ("LOCKING",), "LISTED"),
    "lock_refused": Step("engine", ("LOCKING",), "REFUSED"),
    "buy": Step("anyone", ("LISTED",), "FUNDING"),
    "funded": Step("engine", ("FUNDING",), "FUNDED"),
    "funding_refused": Step("engine", ("FUNDING",), "LISTED"),
    "cancel": Step("buyer", ("FUNDED",), "REFUNDING"),
    "ship": Step("seller", ("FUNDED",), "SHIPPED"),
    "not_shipped": Step("time", ("FUNDED",), "REFUNDING"),
    "receive": Step("buyer", ("SHIPPED",), "INSPECTING"),
    "received_by_time": Step("time", ("SHIPPED",), "INSPECTING"),
    "accept": Step("buyer", ("INSPECTING", "DISPUTED"), "RELEASING"),
    "accepted_by_time": Step("time", ("INSPECTING",), "RELEASING"),
    "reject": Step("buyer", ("INSPECTING",), "REJECTED"),
    "return": Step("buyer", ("REJECTED",), "RETURNING"),
    "not_returned": Step("time", ("REJECTED",), "DISPUTED"),
    "returned": Step("seller", ("REJECTED", "RETURNING"), "RETURNED"),
    "return_not_confirmed": Step("time", ("RETURNING",), "DISPUTED"),
    "dispute": Step("party", ("FUNDED", "SHIPPED", "INSPECTING", "REJECTED", "RETURNING"), "DISPUTED"),
    "release": Step("arbiter", ("DISPUTED",), "RELEASING"),
    "refund": Step("arbiter", ("DISPUTED",), "REFUNDING"),
    "refunded_by_time": Step("time", ("DISPUTED",), "REFUNDING"),
    "released": Step("engine", ("RELEASING",), "RELEASED"),
    "refunded": Step("engine", ("REFUNDING", "RETURNED"), "REFUNDED"),
    "withdraw": Step("seller", ("LISTED",), "WITHDRAWING"),
    "unlocked": Step("engine", ("WITHDRAWING", "REFUNDED"), "WITHDRAWN"),
}
# What happens to a listing that is in a state until its deadline, and what that is called for people.
TIMEOUTS: dict[ListingState, tuple[str, DefaultOutcome]] = {
    "FUNDED": ("not_shipped", "refund"),
    "SHIPPED": ("received_by_time", "received"),
    "INSPECTING": ("accepted_by_time", "release"),
    "REJECTED": ("not_returned", "arbiter"),
    "RETURNING": ("return_not_confirmed", "arbiter"),
    "DISPUTED": ("refunded_by_time", "refund"),
}
# What the engine is asked on entering a state; it is asked again until it answers.
ASKED_OF_ENGINE: dict[ListingState, str] = {
    "LOCKING": "lock",
    "FUNDING": "fund",
    "RELEASING": "release",
    "RETURNED": "refund",
    "REFUNDING": "refund",
    "REFUNDED": "unlock",
    "WITHDRAWING": "unlock",
}
ENDED: tuple[ListingState, ...] = ("REFUSED", "RELEASED", "WITHDRAWN")


@dataclass(frozen=True)
class Periods:
    """How long a listing may stay in a state, in milliseconds of the log's time; `engine` for the engine's answers."""

    ship: int
    receive: int
    inspect: int
    give_back: int
    confirm: int
    dispute: int
    engine: int

    def deadline_ms(self, state: ListingState, since_ms: int) -> int | None:
        """Returns when a listing that entered the state at `since_ms` leaves it by itself; None where it never does."""
        periods = {
            "FUNDED": self.ship,
            "SHIPPED": self.receive,
            "INSPECTING": self.inspect,
            "REJECTED": self.give_back,
            "RETURNING": self.confirm,
            "DISPUTED": self.dispute,
        }
        period_ms = self.engine if state in ASKED_OF_ENGINE else periods.get(state)
        return None if period_ms is None else since_ms + period_ms


def default_outcome(state: ListingState) -> DefaultOutcome | None:
    """Returns what the deadline of a state brings; None where the engine is asked again, or nothing is due."""
    return TIMEOUTS[state][1] if state in TIMEOUTS else None


def next_state(step: str, state: ListingState) -> ListingState:
    """Returns the state after `step`. Raises WrongState where it cannot be taken."""
    rule = STEPS[step]
    if state not in rule.before:
        raise WrongState(f"cannot {step} while {state}; possible in {', '.join(rule.before)}")
    return rule.after


def check_party(step: str, account: str, seller: str, buyer: str | None) -> None:
    """Raises NotAParty unless `account` may take `step`; nobody buys from himself, or judges a sale of his own."""
    by, parties = STEPS[step].by, (seller, buyer)
    if by == "anyone" and account == seller:
        raise NotAParty("the seller cannot buy the listing")
    if by == "arbiter" and account in parties:
        raise NotAParty("an arbiter is neither the seller nor the buyer")
    allowed = {"seller": (seller,), "buyer": (buyer,), "party": parties}.get(by)
    if allowed is not None and account not in allowed:
        raise NotAParty(f"only {'a party of the sale' if by == 'party' else f'the {by}'} may {step}")


def check_purchase(account: str, state: ListingState, buyer: str | None) -> None:
    """Raises AlreadyBought where the account's own purchase is what stands in the way of another."""
    if state != "LISTED" and buyer == account:
        raise AlreadyBought(f"you have bought this listing already; it is {state}")


def grade_condition(gpu: InspectedGpu) -> Condition:
    """Grades a GPU from its counters: P parts only, C errors, B repairs, A clean. N and R need proof of history."""
    reading = gpu.reading
    if not reading.present or not reading.healthy or reading.remap_failed or reading.remapped_uncorrectable:
        return "P"
    if reading.ecc_uncorrected or reading.xid:
        return "C"
    return "B" if reading.remapped_correctable or reading.ecc_corrected else "A"


def worst(conditions: list[Condition]) -> Condition:
    """Returns the condition of a lot: that of its worst GPU."""
    order = get_args(Condition)
    return max(conditions, key=order.index)


def listed_gpus(report: InspectionReport) -> tuple[ListedGpu, ...]:
    """Returns the GPUs of a report as a listing shows them."""
    return tuple(
        ListedGpu(
            uuid=gpu.inventory.uuid,
            serial=gpu.inventory.serial,
            name=gpu.inventory.name,
            memory_mib=gpu.inventory.memory_mib,
            condition=grade_condition(gpu),
        )
        for gpu in report.gpus
    )


def make_terms(form: ListingForm, inspection: Inspection, oldest_ms: int, fee_bps: int) -> Terms:
    """Returns the terms of a listing by its inspection. Raises BadInspection for an old or a mixed one, BadDecimal."""
    price_micros = parse_micros(form.price)
    if price_micros <= 0:
        raise BadDecimal(form.price)
    if inspection.ts_ms < oldest_ms:
        raise BadInspection("the inspection is too old; let the agent make another")
    report = inspection.report
    grades = sorted({gpu.inventory.grade for gpu in report.gpus})
    if len(grades) != 1:
        raise BadInspection(f"a listing has GPUs of one grade, not of {', '.join(grades)}")
    gpus = listed_gpus(report)
    condition = worst([gpu.condition for gpu in gpus])
    fee_micros = price_micros * fee_bps // FEE_BASE_BPS
    return Terms(grades[0], condition, gpus, price_micros, fee_micros, report.nvml_simulated)
