"""How events change what orders and positions draw on vouchers, and what is known of voucher programmes."""

from schemas import events as ev
from schemas.vouchers import VoucherPart
from services.gateway.projections.history import History


def total(parts: tuple[VoucherPart, ...]) -> int:
    return sum(part.amount_micros for part in parts)


def on_programme_defined(history: History, event: ev.ProgrammeDefined) -> None:
    history.programmes[event.terms.programme] = event.terms
    history.changes.programmes[event.terms.programme] = event.terms


def on_vouchers_assigned(history: History, event: ev.VouchersAssigned) -> None:
    order = history.orders[event.order_id]
    order.use_vouchers = True
    order.voucher_micros = sum(total(assigned.parts) for assigned in event.positions)
    history.changed(order, event)
    for assigned in event.positions:
        position = history.positions[assigned.position_id]
        position.voucher_micros = total(assigned.parts)
        history.changed(position, event)


def on_vouchers_settled(history: History, event: ev.VouchersSettled) -> None:
    position = history.positions.get(event.position_id)
    if position is None:
        return
    if event.revision == 0:
        position.voucher_micros -= total(event.returned)
    else:
        position.voucher_used_micros += total(event.used)
    if event.revision > 1:
        position.voucher_used_micros -= total(event.returned)
    history.changed(position, event)


HANDLERS = {
    "programme_defined": on_programme_defined,
    "vouchers_assigned": on_vouchers_assigned,
    "vouchers_settled": on_vouchers_settled,
}
