"""What becomes of the vouchers in a position's escrow: used up for what was delivered, else restored; also on resale.

A correction that bills more draws again on what its holder still has of them; one that bills less restores as much as
money came back. Damages are cash.
"""

from matching_engine.rules.market import Market
from matching_engine.rules.state import Position
from matching_engine.rules.voucher_money import Movement, Parts, event_parts, less, more, share
from schemas.events import VouchersSettled
from schemas.vouchers import asset_of


def draw_again(market: Market, position: Position, currency: str, gross_micros: int) -> None:
    """Before a correction's money moves: what it bills more is paid by vouchers too, in their proportion."""
    escrow = market.state.voucher_escrows.get(position.id)
    if escrow is None or position.revision == 1 or gross_micros <= escrow.gross_micros:
        return
    due = share(escrow.parts, gross_micros, position.escrow_micros)
    before = share(escrow.parts, escrow.gross_micros, position.escrow_micros)
    drawn = {
        name: min(amount - before.get(name, 0), market.accounts.available(position.buyer, asset_of(name)))
        for name, amount in due.items()
    }
    drawn = {name: amount for name, amount in drawn.items() if amount > 0}
    if not drawn:
        return
    escrow.used = more(escrow.used, drawn)
    movement = Movement(market, currency)
    for name, amount in drawn.items():
        movement.hold(name, position.buyer, amount)
        movement.use_up(name, position.buyer, amount)
    emit_vouchers_settled(market, position, drawn, {}, movement)


def settle_vouchers(market: Market, position: Position, currency: str, gross_micros: int, received_micros: int) -> None:
    """Gross is drawn in the proportion in which voucher and cash were held, so a shortfall restores the voucher.

    `received_micros` is the cash that a correction has brought the buyer. [C-19]
    """
    escrow = market.state.voucher_escrows.get(position.id)
    if escrow is None:
        return
    due = share(escrow.parts, gross_micros, position.escrow_micros)
    escrow.gross_micros = gross_micros
    movement = Movement(market, currency)
    if position.revision == 1:
        used, back, escrow.used = due, less(escrow.parts, due), due
        for name, amount in used.items():
            movement.use_up(name, position.buyer, amount)
    else:
        used, back = {}, restorable(escrow.used, due, received_micros)
        escrow.used = less(escrow.used, back)
        for name, amount in back.items():
            movement.use_up(name, position.buyer, -amount)
    for name, amount in back.items():
        movement.give_back(name, position.buyer, amount)
    if used or back:
        emit_vouchers_settled(market, position, used, back, movement)


def restorable(used: Parts, due: Parts, received_micros: int) -> Parts:
    """What was used up beyond what is due, as far as its money came back."""
    excess = {name: amount - due.get(name, 0) for name, amount in used.items() if amount > due.get(name, 0)}
    total = sum(excess.values())
    return share(excess, min(total, max(0, received_micros)), total) if total else {}


def emit_vouchers_settled(market: Market, position: Position, used: Parts, back: Parts, movement: Movement) -> None:
    fields = {"position_id": position.id, "revision": position.revision, "account": position.buyer}
    market.emit(VouchersSettled, **fields, used=event_parts(used), returned=event_parts(back), postings=movement.post())


def give_all_back(market: Market, position: Position, currency: str) -> None:
    """The position ended before its gate: its vouchers are their holder's again, its escrow is released already."""
    escrow = market.state.voucher_escrows.pop(position.id, None)
    if escrow is None:
        return
    movement = Movement(market, currency)
    for name, amount in escrow.parts.items():
        movement.give_back(name, position.buyer, amount)
    emit_vouchers_settled(market, position, {}, escrow.parts, movement)


# -- resale


def split_off(market: Market, source: Position, escrow_micros: int) -> Parts:
    """Takes the vouchers out of a part of a position that is being resold, which is before its escrow changes."""
    escrow = market.state.voucher_escrows.get(source.id)
    if escrow is None:
        return {}
    parts = share(escrow.parts, escrow_micros, source.escrow_micros)
    escrow.parts = less(escrow.parts, parts)
    if not escrow.parts:
        del market.state.voucher_escrows[source.id]
    return parts


def return_resold(market: Market, position_id: int, seller: str, currency: str, parts: Parts) -> None:
    """The seller's voucher units leave the escrow for his voucher and the same amount of the price replaces them."""
    if not parts:
        return
    movement = Movement(market, currency)
    for name, amount in parts.items():
        movement.give_back(name, seller, amount)
    fields = {"position_id": position_id, "revision": 0, "account": seller}
    market.emit(VouchersSettled, **fields, used=(), returned=event_parts(parts), postings=movement.post())


def covers(market: Market, backing: list[tuple[int, int]], unit_micros: int) -> bool:
    """Whether a price per GPU pays for the vouchers in the positions behind an ask: below that part is refused.
    [C-20]
    """
    escrows, positions = market.state.voucher_escrows, market.state.positions
    return all(
        sum(escrows[each].parts.values()) <= unit_micros * positions[each].qty for each, _ in backing if each in escrows
    )
