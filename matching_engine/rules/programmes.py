"""Voucher programmes: prefunded by their issuer, issued to holders, over at a time of the log.

Every voucher that somebody may still spend is backed: the issuer's money is held for as many as are available anywhere.
"""

from matching_engine.rules import deadlines
from matching_engine.rules.market import Market
from matching_engine.rules.money import RESERVED
from matching_engine.rules.refusals import RuleBroken, require
from matching_engine.rules.state import Programme
from matching_engine.rules.transfers import require_new
from matching_engine.rules.voucher_money import posted
from schemas.events import (
    AffiliationSet,
    ProgrammeDefined,
    ProgrammeDefunded,
    ProgrammeFunded,
    ProgrammeLapsed,
    VoucherIssued,
    VoucherLapsed,
)
from schemas.vouchers import (
    DefineProgramme,
    DefundProgramme,
    FundProgramme,
    IssueVoucher,
    SetAffiliation,
    asset_of,
    is_cash,
)


def define_programme(market: Market, command: DefineProgramme) -> None:
    """Sets a programme's terms, once."""
    require(command.programme not in market.state.programmes, "wrong_state")
    require(command.issuer not in RESERVED and is_cash(command.currency), "bad_terms")
    require(max(command.starts_ms, market.now_ms) < command.expires_ms, "bad_terms")
    market.state.programmes[command.programme] = Programme(command)
    market.at(command.expires_ms, deadlines.VOUCHERS, command.programme)
    market.emit(ProgrammeDefined, terms=command)


def set_affiliation(market: Market, command: SetAffiliation) -> None:
    """Says which group an account belongs to."""
    if command.group is None:
        market.state.affiliations.pop(command.account, None)
    else:
        market.state.affiliations[command.account] = command.group
    market.emit(AffiliationSet, account=command.account, group=command.group)


def find_programme(market: Market, name: str, issuer: str) -> Programme:
    """Returns a programme of the issuer."""
    programme = market.state.programmes.get(name)
    if programme is None:
        raise RuleBroken("unknown_programme")
    require(programme.terms.issuer == issuer, "not_the_owner")
    return programme


# -- budget


def fund_programme(market: Market, command: FundProgramme) -> None:
    """Holds the issuer's money and makes as many vouchers of it. [C-14]"""
    require_new(market, command)
    terms, asset = find_programme(market, command.programme, command.issuer).terms, asset_of(command.programme)
    require(market.now_ms < terms.expires_ms, "programme_lapsed")
    market.accounts.require_available(command.issuer, terms.currency, command.amount_micros)
    market.state.transfers[command.transfer_id] = market.offset
    cash = market.entry(terms.currency).hold(command.issuer, command.amount_micros)
    units = market.entry(asset).add(command.issuer, available=command.amount_micros)
    fields = command.model_dump(exclude={"type"})
    market.emit(ProgrammeFunded, **fields, asset=asset, postings=posted(cash, units))


def defund_programme(market: Market, command: DefundProgramme) -> None:
    """Gives budget that nobody holds back to the issuer."""
    require_new(market, command)
    terms, asset = find_programme(market, command.programme, command.issuer).terms, asset_of(command.programme)
    market.accounts.require_available(command.issuer, asset, command.amount_micros)
    market.state.transfers[command.transfer_id] = market.offset
    cash = market.entry(terms.currency).hold(command.issuer, -command.amount_micros)
    units = market.entry(asset).hold(command.issuer, command.amount_micros)
    market.emit(ProgrammeDefunded, **command.model_dump(exclude={"type"}), postings=posted(cash, units))


def issue_voucher(market: Market, command: IssueVoucher) -> None:
    """Gives a holder vouchers out of the budget; never to the issuer himself, and no more than the cap in all.
    [C-15]
    """
    require_new(market, command)
    programme, asset = find_programme(market, command.programme, command.issuer), asset_of(command.programme)
    require(market.now_ms < programme.terms.expires_ms, "programme_lapsed")
    require(command.account != command.issuer and command.account not in RESERVED, "not_permitted")
    issued = programme.issued.get(command.account, 0) + command.amount_micros
    require(issued <= (programme.terms.holder_cap_micros or issued), "holder_cap")
    market.accounts.require_available(command.issuer, asset, command.amount_micros)
    market.state.transfers[command.transfer_id] = market.offset
    programme.issued[command.account] = issued
    units = market.entry(asset).add(command.issuer, available=-command.amount_micros)
    units.add(command.account, available=command.amount_micros)
    market.emit(VoucherIssued, **command.model_dump(exclude={"type"}), postings=units.post())


# -- the end


def lapse(market: Market, name: str) -> None:
    """The programme's time is over: what holders have available returns to it. [C-21]"""
    programme, asset = market.state.programmes[name], asset_of(name)
    for account in sorted(programme.issued):
        left_micros = market.accounts.available(account, asset)
        if left_micros:
            units = market.entry(asset).add(account, available=-left_micros)
            units.add(programme.terms.issuer, available=left_micros)
            fields = {"programme": name, "account": account, "amount_micros": left_micros}
            market.emit(VoucherLapsed, **fields, postings=units.post())
    market.emit(ProgrammeLapsed, programme=name, issuer=programme.terms.issuer)
