"""The rules of a hardware sale: who may do what in which state, and the condition of a GPU by evidence."""

from dataclasses import dataclass
from typing import get_args

from schemas.ids import Grade
from schemas.listings import Condition, ListedGpu, ListingForm, ListingState
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


@dataclass(frozen=True)
class Step:
    """One step of a sale: from which states, by which party, into which state."""

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


# `engine` steps happen when the engine's event comes back, never when a request asks for them.
STEPS: dict[str, Step] = {
    "locked": Step("engine", ("LOCKING",), "LISTED"),
    "lock_refused": Step("engine", ("LOCKING",), "REFUSED"),
    "buy": Step("anyone", ("LISTED",), "FUNDING"),
    "funded": Step("engine", ("FUNDING",), "FUNDED"),
    "funding_refused": Step("engine", ("FUNDING",), "LISTED"),
    "ship": Step("seller", ("FUNDED",), "SHIPPED"),
    "receive": Step("buyer", ("SHIPPED",), "INSPECTING"),
    "accept": Step("buyer", ("INSPECTING",), "INSPECTING"),
    "released": Step("engine", ("INSPECTING",), "RELEASED"),
    "reject": Step("buyer", ("INSPECTING",), "REJECTED"),
    "returned": Step("seller", ("REJECTED",), "RETURNED"),
    "refunded": Step("engine", ("RETURNED",), "REFUNDED"),
    "withdraw": Step("seller", ("LISTED",), "WITHDRAWING"),
    "unlocked": Step("engine", ("WITHDRAWING", "REFUNDED"), "WITHDRAWN"),
}


def next_state(step: str, state: ListingState) -> ListingState:
    """Returns the state after `step`. Raises WrongState where it cannot be taken."""
    rule = STEPS[step]
    if state not in rule.before:
        raise WrongState(f"cannot {step} while {state}; possible in {', '.join(rule.before)}")
    return rule.after


def check_party(step: str, account: str, seller: str, buyer: str | None) -> None:
    """Raises NotAParty unless `account` may take `step`; nobody buys from himself."""
    by = STEPS[step].by
    if by == "anyone" and account == seller:
        raise NotAParty("the seller cannot buy the listing")
    if (by == "seller" and account != seller) or (by == "buyer" and account != buyer):
        raise NotAParty(f"only the {by} may {step}")


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
