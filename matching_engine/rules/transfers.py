"""Money that comes in from outside, goes out again, or moves between shards; a transfer happens once."""

from matching_engine.rules.claims import pay_claims
from matching_engine.rules.market import Market
from matching_engine.rules.refusals import require
from schemas.events import Allocated, Credited, Deallocated, Debited
from schemas.money import AMOUNT_MAX_MICROS
from schemas.venue import Allocate, Credit, Deallocate, Debit
from schemas.vouchers import DefundProgramme, FundProgramme, IssueVoucher, is_cash

Transfer = Credit | Debit | Deallocate | Allocate


def credit(market: Market, command: Credit) -> None:
    """Money came in. [C-8]"""
    require_cash(market, command)
    book_incoming(market, command, Credited)


def debit(market: Market, command: Debit) -> None:
    """Money goes out, if it is available."""
    require_cash(market, command)
    book_outgoing(market, command, Debited)


def deallocate(market: Market, command: Deallocate) -> None:
    """Money leaves for another shard, if it is available; from now on it is in transit. [C-10]"""
    require_cash(market, command)
    require(command.to_shard != market.state.shard, "bad_terms")
    book_outgoing(market, command, Deallocated)


def allocate(market: Market, command: Allocate) -> None:
    """Money that another shard let go arrives."""
    require_cash(market, command)
    require(command.from_shard != market.state.shard, "bad_terms")
    book_incoming(market, command, Allocated)


def require_cash(market: Market, command: Transfer) -> None:
    """Vouchers are never cash: they neither come from outside nor leave."""
    require(is_cash(command.asset), "not_cash")
    require_new(market, command)


def require_new(market: Market, command: Transfer | FundProgramme | DefundProgramme | IssueVoucher) -> None:
    """The same id again moves nothing, whatever kind of transfer it names."""
    require(command.transfer_id not in market.state.transfers, "transfer_exists")


def book_incoming(market: Market, command: Credit | Allocate, event: type) -> None:
    """All that is in a shard fits one balance, so no balance can overflow later."""
    supply = market.state.supply.get(command.asset, 0)
    require(supply + command.amount_micros <= AMOUNT_MAX_MICROS, "amount_overflow")
    book_transfer(market, command, event, command.amount_micros)
    pay_claims(market, command.account, command.asset)


def book_outgoing(market: Market, command: Debit | Deallocate, event: type) -> None:
    market.accounts.require_available(command.account, command.asset, command.amount_micros)
    book_transfer(market, command, event, -command.amount_micros)


def book_transfer(market: Market, command: Transfer, event: type, delta_micros: int) -> None:
    market.state.transfers[command.transfer_id] = market.offset
    market.state.supply[command.asset] = market.state.supply.get(command.asset, 0) + delta_micros
    entry = market.entry(command.asset).add(command.account, available=delta_micros)
    market.emit(event, **command.model_dump(exclude={"type"}), postings=entry.post())
