"""Events of voucher programmes. Vouchers are an asset of their own: `V.` and the programme's name."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.events.header import Event, Posting
from schemas.ids import AccountId, Asset, Identifier
from schemas.measures import OrderId
from schemas.money import PositiveAmount
from schemas.vouchers import DefineProgramme, PositionVouchers, Programme, VoucherPart

PositionId = Annotated[int, Field(ge=1)]


class ProgrammeDefined(Event):
    """A programme's terms as they stand."""

    type: Literal["programme_defined"] = "programme_defined"
    terms: DefineProgramme


class ProgrammeFunded(Event):
    """Money of the issuer is held for the programme; as many vouchers come into being as its budget."""

    type: Literal["programme_funded"] = "programme_funded"
    transfer_id: Identifier
    programme: Programme
    issuer: AccountId
    asset: Asset
    amount_micros: PositiveAmount
    postings: tuple[Posting, ...]


class ProgrammeDefunded(Event):
    """Budget was taken back: its money is the issuer's again, its vouchers are held by him as used up."""

    type: Literal["programme_defunded"] = "programme_defunded"
    transfer_id: Identifier
    programme: Programme
    issuer: AccountId
    amount_micros: PositiveAmount
    postings: tuple[Posting, ...]


class VoucherIssued(Event):
    """A holder got vouchers."""

    type: Literal["voucher_issued"] = "voucher_issued"
    transfer_id: Identifier
    programme: Programme
    issuer: AccountId
    account: AccountId
    amount_micros: PositiveAmount
    postings: tuple[Posting, ...]


class VouchersHeld(Event):
    """Before an order is taken: its vouchers are held, and their money comes from the issuer into the order's hold."""

    type: Literal["vouchers_held"] = "vouchers_held"
    order_id: OrderId
    account: AccountId
    parts: tuple[VoucherPart, ...]
    postings: tuple[Posting, ...]


class VouchersAssigned(Event):
    """After an order traded: the positions in whose escrow its vouchers stand; the rest went back, with its money."""

    type: Literal["vouchers_assigned"] = "vouchers_assigned"
    order_id: OrderId
    account: AccountId
    positions: tuple[PositionVouchers, ...]
    returned: tuple[VoucherPart, ...]
    postings: tuple[Posting, ...]


class VouchersSettled(Event):
    """Of a position's vouchers so many were used up by this settlement, and so many went back (to the programme where
    it has lapsed).
    """

    type: Literal["vouchers_settled"] = "vouchers_settled"
    position_id: PositionId
    revision: int
    account: AccountId
    used: tuple[VoucherPart, ...]
    returned: tuple[VoucherPart, ...]
    postings: tuple[Posting, ...]


class VoucherLapsed(Event):
    """The programme's time is over: what a holder had available is its budget again."""

    type: Literal["voucher_lapsed"] = "voucher_lapsed"
    programme: Programme
    account: AccountId
    amount_micros: PositiveAmount
    postings: tuple[Posting, ...]


class ProgrammeLapsed(Event):
    """The programme's time is over; what is still held for positions returns to it when it is not used up."""

    type: Literal["programme_lapsed"] = "programme_lapsed"
    programme: Programme
    issuer: AccountId


class AffiliationSet(Event):
    """The group that an account belongs to."""

    type: Literal["affiliation_set"] = "affiliation_set"
    account: AccountId
    group: Identifier | None
