"""Money that comes in from outside and goes out again; a transfer happens once."""

from matching_engine.reference.claims import pay_claims
from matching_engine.reference.market import Market
from matching_engine.reference.refusals import require
from schemas.events import Credited, Debited
from schemas.money import AMOUNT_MAX_MICROS
from schemas.venue import Credit, Debit


def credit(market: Market, command: Credit) -> None:
    """Money came in. All that is in the venue fits one balance, so no balance can overflow later."""
    supply = market.state.supply.get(command.asset, 0)
    require(command.transfer_id not in market.state.transfers, "transfer_exists")
    require(supply + command.amount_micros <= AMOUNT_MAX_MICROS, "amount_overflow")
    book(market, command, Credited, command.amount_micros)
    pay_claims(market, command.account, command.asset)


def debit(market: Market, command: Debit) -> None:
    """Money goes out, if it is available."""
    require(command.transfer_id not in market.state.transfers, "transfer_exists")
    market.accounts.require(command.account, command.asset, command.amount_micros)
    book(market, command, Debited, -command.amount_micros)


def book(market: Market, command: Credit | Debit, event: type, delta_micros: int) -> None:
    market.state.transfers[command.transfer_id] = market.offset
    market.state.supply[command.asset] = market.state.supply.get(command.asset, 0) + delta_micros
    entry = market.entry(command.asset).add(command.account, available=delta_micros)
    market.emit(event, **command.model_dump(exclude={"type"}), postings=entry.post())
