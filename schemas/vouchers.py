"""Commands of voucher programmes: restricted money that its issuer has paid in before, and that buys GPU time only."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.base import Model
from schemas.ids import AccountId, Asset, Grade, Hub, Identifier, Tier
from schemas.money import COUNTER_MAX, PositiveAmount

Programme = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]{2,23}$")]
ASSET_PREFIX = "V."


def asset_of(programme: str) -> str:
    """Names the asset of a programme's vouchers."""
    return ASSET_PREFIX + programme


def is_cash(asset: str) -> bool:
    """Whether an asset is money of the outside world; vouchers never are."""
    return not asset.startswith(ASSET_PREFIX)


class VoucherPart(Model):
    """Vouchers of one programme, in micro-units of its currency."""

    programme: Programme
    amount_micros: PositiveAmount


class PositionVouchers(Model):
    """What of a position's escrow is vouchers."""

    position_id: Annotated[int, Field(ge=1, le=COUNTER_MAX)]
    parts: tuple[VoucherPart, ...]


class DefineProgramme(Model):
    """A programme's terms, once and for all (admin only). Empty lists: any grade, hub, tier, operator.

    Of what an order costs the holder pays at least `copay_permille` in cash. `unaffiliated`: never spent with an
    operator of the holder's own group.
    """

    type: Literal["define_programme"] = "define_programme"
    programme: Programme
    issuer: AccountId
    currency: Asset
    starts_ms: Annotated[int, Field(ge=0, le=COUNTER_MAX)]
    expires_ms: Annotated[int, Field(ge=0, le=COUNTER_MAX)]
    grades: tuple[Grade, ...]
    hubs: tuple[Hub, ...]
    tiers: tuple[Tier, ...]
    operators: tuple[AccountId, ...]
    copay_permille: Annotated[int, Field(ge=0, le=1000)]
    holder_cap_micros: PositiveAmount | None
    unaffiliated: bool


class FundProgramme(Model):
    """The issuer's money becomes the programme's budget (ledger only); refused when not available."""

    type: Literal["fund_programme"] = "fund_programme"
    transfer_id: Identifier
    programme: Programme
    issuer: AccountId
    amount_micros: PositiveAmount


class DefundProgramme(Model):
    """Budget that is not issued becomes the issuer's money again (ledger only)."""

    type: Literal["defund_programme"] = "defund_programme"
    transfer_id: Identifier
    programme: Programme
    issuer: AccountId
    amount_micros: PositiveAmount


class IssueVoucher(Model):
    """Budget becomes a holder's vouchers, up to the programme's cap per holder (ledger only)."""

    type: Literal["issue_voucher"] = "issue_voucher"
    transfer_id: Identifier
    programme: Programme
    issuer: AccountId
    account: AccountId
    amount_micros: PositiveAmount


class SetAffiliation(Model):
    """The group of companies that an account belongs to; null: none (admin only)."""

    type: Literal["set_affiliation"] = "set_affiliation"
    account: AccountId
    group: Identifier | None
