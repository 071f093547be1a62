"""What a correction takes back from a debtor without the money: the guarantee pays, what it lacks becomes a claim."""

from collections.abc import Iterator
from dataclasses import dataclass

from matching_engine.rules import payouts
from matching_engine.rules.market import Market
from matching_engine.rules.money import GUARANTEE
from matching_engine.rules.state import Claim, Position
from schemas.events import ClaimPaid, ClaimRecorded, GuaranteeDrawn


@dataclass
class Debt:
    """What one party of a position still owes another."""

    debtor: str
    creditor: str
    amount_micros: int


def pair_debts(missing: dict[str, int], unpaid: dict[str, int]) -> Iterator[Debt]:
    """Pairs what debtors lack with what creditors have not got yet, both in the order given."""
    unpaid = dict(unpaid)
    for debtor, lacking in missing.items():
        for creditor in unpaid:
            amount_micros = min(lacking, unpaid[creditor])
            if amount_micros:
                unpaid[creditor] -= amount_micros
                lacking -= amount_micros
                yield Debt(debtor, creditor, amount_micros)


def cover(market: Market, position: Position, asset: str, debt: Debt) -> None:
    """Draws on the venue's guarantee account, as separate events; what is still missing is a recorded claim.
    [C-11]
    """
    drawn = min(debt.amount_micros, market.accounts.available(GUARANTEE, asset))
    common = {"position_id": position.id, "revision": position.revision, "asset": asset}
    common |= {"debtor": debt.debtor, "creditor": debt.creditor}
    if drawn:
        entry = market.entry(asset).add(GUARANTEE, available=-drawn)
        payouts.receive(entry, position, debt.creditor, drawn)
        market.emit(GuaranteeDrawn, **common, amount_micros=drawn, postings=entry.post())
    left = debt.amount_micros - drawn
    if left:
        market.state.last_claim_id += 1
        claim = Claim(market.state.last_claim_id, debt.debtor, debt.creditor, asset, left)
        market.state.claims.append(claim)
        market.emit(ClaimRecorded, claim_id=claim.id, **common, amount_micros=left)


def pay_claims(market: Market, debtor: str, asset: str) -> None:
    """The debtor's credit pays his claims, the oldest first. [C-12]"""
    for claim in [each for each in market.state.claims if (each.debtor, each.asset) == (debtor, asset)]:
        paid = min(claim.left_micros, market.accounts.available(debtor, asset))
        if not paid:
            return
        claim.left_micros -= paid
        entry = market.entry(asset).add(debtor, available=-paid).add(claim.creditor, available=paid)
        market.emit(
            ClaimPaid,
            claim_id=claim.id,
            debtor=debtor,
            creditor=claim.creditor,
            asset=asset,
            amount_micros=paid,
            left_micros=claim.left_micros,
            postings=entry.post(),
        )
        if not claim.left_micros:
            market.state.claims.remove(claim)
