"""Surplus hardware: the forms of the listings service, and what it publishes on `listings.events`."""

import unicodedata
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, TypeAdapter

from schemas.answers import FirstAnswer
from schemas.base import Model, added
from schemas.delivery import GpuPassport
from schemas.ids import AccountId, Asset, Digest, GpuUuid, Grade, Hub, Identifier
from schemas.measures import Milliseconds
from schemas.money import DecimalString, PositiveAmount

ListingKind = Literal["module", "pcie_card", "baseboard", "server", "rack_lot"]
Condition = Literal["N", "A", "B", "C", "R", "P"]
ListingState = Literal[
    "LOCKING",
    "LISTED",
    "REFUSED",
    "FUNDING",
    "FUNDED",
    "SHIPPED",
    "INSPECTING",
    "RELEASING",
    "RELEASED",
    "REJECTED",
    "RETURNING",
    "RETURNED",
    "DISPUTED",
    "REFUNDING",
    "REFUNDED",
    "WITHDRAWING",
    "WITHDRAWN",
]
DefaultOutcome = Literal["refund", "received", "release", "arbiter"]
Text = Annotated[str, Field(min_length=1, max_length=1_000)]
# Controls, what shows nothing or turns the direction of reading, private and unassigned characters, line separators.
UNSEEN = frozenset({"Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp"})


def _is_readable(text: str) -> str:
    """Everyone reads these words, on a page and in a terminal, beside the words of others."""
    if any(unicodedata.category(character) in UNSEEN for character in text):
        raise ValueError("should be one line without invisible characters")
    if not any(unicodedata.category(character)[0] in "LN" for character in text):
        raise ValueError("should have a letter or a digit")
    return text


Words = Annotated[Text, AfterValidator(_is_readable)]


class ListingForm(Model):
    """POST /v1/listings: what is for sale, for how much, and the inspection that the node's agent made of it."""

    kind: ListingKind
    title: Words
    hub: Hub
    price: DecimalString
    currency: Asset
    inspection_id: Digest


class ShipmentForm(Model):
    """POST /v1/listings/{id}/ship and …/return: who carries the goods and under which number."""

    carrier: Words
    tracking: Words


class ReasonForm(Model):
    """POST /v1/listings/{id}/reject and …/dispute: what is wrong."""

    reason: Words


class DecisionForm(Model):
    """POST /v1/listings/{id}/decide (scope `arbiter`): who gets the money of a disputed sale, and why."""

    outcome: Literal["release", "refund"]
    reason: Words


class SaleStep(Model):
    """One step of a sale: what, by whom (`seller`, `buyer`, `arbiter`, `engine`, `time`, `venue`), in whose words."""

    step: str
    by: str
    ts_ms: Milliseconds
    state: ListingState
    words: str


class InspectionForm(Model):
    """POST /v1/listings/{id}/inspection: the report that the buyer's own machine deposited on what he received."""

    inspection_id: Digest


class Finding(Model):
    """One difference between what was listed and what the buyer's machine reported; texts as JSON shows the values.

    `gpu` is the one listed, or the one found that was not; `worse`: the buyer got less than what was listed.
    """

    gpu: GpuUuid
    what: str
    listed: str
    found: str
    worse: bool


class Difference(Model):
    """What a buyer's inspection showed against the listing's; without findings the goods are as listed."""

    inspection_id: Digest
    condition: Condition
    findings: tuple[Finding, ...]


class ListedGpu(Model):
    """One GPU of a listing with its condition, graded by rule from the inspection and from the venue's own record.

    `reasons` say what the grade rests on; `passport` is that record as it stood when the GPU was listed.
    """

    uuid: GpuUuid
    serial: Identifier
    name: Text
    memory_mib: Annotated[int, Field(ge=0)]
    condition: Condition
    reasons: tuple[str, ...] = ()
    passport: GpuPassport | None = None


class ListingChanged(Model):
    """A listing as it stands after a step; the last one per `listing_id` counts. `seq` is the service's own.

    `simulated`: the GPUs are those of the stand-in library.
    """

    type: Literal["listing_changed"] = "listing_changed"
    seq: Annotated[int, Field(ge=1)]
    ts_ms: Milliseconds
    listing_id: Identifier
    state: ListingState
    kind: ListingKind
    title: Text
    grade: Grade
    hub: Hub
    condition: Condition
    price_micros: PositiveAmount
    currency: Asset
    gpus: tuple[ListedGpu, ...]
    inspection_id: Digest
    note: str
    deadline_ms: Milliseconds | None = None
    default_outcome: DefaultOutcome | None = None
    simulated: bool = added(False)


class ListingFacts(Model):
    """All that the venue keeps of a listing, for nobody but itself."""

    listing_id: Identifier
    seller: AccountId
    buyer: AccountId | None
    state: ListingState
    kind: ListingKind
    title: Text
    grade: Grade
    hub: Hub
    condition: Condition
    price_micros: PositiveAmount
    fee_micros: Annotated[int, Field(ge=0)]
    currency: Asset
    gpus: tuple[ListedGpu, ...]
    inspection_id: Digest
    simulated: bool
    escrow_id: Identifier | None
    note: str
    changed_ms: Milliseconds
    deadline_ms: Milliseconds | None
    node: str
    inspected_ms: Milliseconds | None
    difference: Difference | None


class ListingRecorded(Model):
    """A change of a listing (`change_seq`: its number on `listings.events`) or a step of its sale, for a database that
    is made again. `seq` is the service's own.
    """

    type: Literal["listing_recorded"] = "listing_recorded"
    seq: Annotated[int, Field(ge=1)]
    change_seq: Annotated[int, Field(ge=1)] | None
    listing: ListingFacts
    step: SaleStep | None


class ListingRequestAnswered(Model):
    """The first answer to a request about a listing, behind the records of what it did."""

    type: Literal["listing_request_answered"] = "listing_request_answered"
    listing_id: Identifier
    first: FirstAnswer


ListingsRecord = Annotated[ListingRecorded | ListingRequestAnswered, Field(discriminator="type")]
LISTINGS_RECORD: TypeAdapter[ListingRecorded | ListingRequestAnswered] = TypeAdapter(ListingsRecord)


class ListingView(Model):
    """A listing over HTTP. `seller`, `buyer` and `history` are shown to the two of them and to an arbiter alone,
    and so is `difference`, what the buyer's own inspection showed. `inspected_ms` says how old the listing's is.

    `note` says why the listing is where it is, in a code; `default_outcome` is what happens at `deadline_ms` (log time)
    if nobody does anything: the money goes back (`refund`) or to the seller (`release`), the goods count as `received`,
    or the sale goes to the `arbiter`.
    """

    listing_id: Identifier
    state: ListingState
    kind: ListingKind
    title: Text
    grade: Grade
    hub: Hub
    condition: Condition
    price: DecimalString
    currency: Asset
    gpus: tuple[ListedGpu, ...]
    inspection_id: Digest
    simulated: bool
    note: str
    changed_ms: Milliseconds
    escrow_id: Identifier | None
    seller: AccountId | None
    buyer: AccountId | None
    deadline_ms: Milliseconds | None
    default_outcome: DefaultOutcome | None
    inspected_ms: Milliseconds | None = None
    difference: Difference | None = None
    history: tuple[SaleStep, ...] = ()


class ListingPage(Model):
    """Listings, newest first; `cursor` asks for the next page, null at the end."""

    listings: tuple[ListingView, ...]
    cursor: str | None
