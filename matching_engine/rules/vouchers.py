"""Orders that draw on vouchers: held first, the earliest expiry before the others, in cash what they do not cover.

While an order or a position draws on vouchers, their money stands in its hold as cash does, lent by the issuer; so
matching and settlement need not know of them, and in the same record what was not used goes back to both.

What this file settles: such orders are immediate, blocks too; vouchers pay what GPUs cost, the
fee is cash; the holder's cash is at least the largest co-pay among the programmes drawn.
"""

from dataclasses import dataclass

from matching_engine.rules.market import Market
from matching_engine.rules.money import fee_unit_micros
from matching_engine.rules.refusals import require
from matching_engine.rules.state import Order, Position, Programme, VoucherEscrow
from matching_engine.rules.voucher_money import Movement, Parts, event_parts, less, share
from schemas.events import VouchersAssigned, VouchersHeld
from schemas.orders import PlaceBlock, PlaceOrder
from schemas.venue import DefineProduct
from schemas.vouchers import PositionVouchers, asset_of


@dataclass
class Drawing:
    """The vouchers of the order in hand: `whole_micros` is what its GPUs may cost, of which `parts` are vouchers."""

    account: str
    parts: Parts
    hold_micros: int
    whole_micros: int
    operators: frozenset[str] | None
    group: str | None
    last_position_id: int

    @property
    def lent_micros(self) -> int:
        return sum(self.parts.values())


# -- before the order is taken


def check_terms(command: PlaceOrder | PlaceBlock) -> None:
    """Such an order never rests, so that no book stays crossed; vouchers buy and never sell. [C-16]"""
    if command.use_vouchers:
        is_sell = isinstance(command, PlaceOrder) and command.side == "sell"
        require(command.tif in ("IOC", "FOK") and not is_sell, "bad_terms")


def plan(market: Market, account: str, terms: DefineProduct, hold_micros: int, gpu_periods: int) -> Drawing:
    """Chooses the vouchers of an order. Refuses where the account has none for it, or not the cash beside them.
    [C-16]
    """
    bps = max(terms.maker_fee_bps, terms.taker_fee_bps)
    whole = hold_micros * 10_000 // (10_000 + bps)
    room = whole - (gpu_periods if bps else 0)  # each may round a fee up, which is cash
    parts, operators, unaffiliated = {}, None, False
    for name, programme in usable(market, account, terms):
        served = common(operators, programme)
        capped = min(room, whole * (1000 - programme.terms.copay_permille) // 1000)
        amount = min(market.accounts.available(account, asset_of(name)), capped - sum(parts.values()))
        if amount > 0 and served != frozenset():
            parts[name], room, operators = amount, capped, served
            unaffiliated = unaffiliated or programme.terms.unaffiliated
    require(bool(parts), "no_voucher")
    market.accounts.require_available(account, terms.currency, hold_micros - sum(parts.values()))
    group = market.state.affiliations.get(account) if unaffiliated else None
    return Drawing(account, parts, hold_micros, whole, operators, group, market.state.last_position_id)


def usable(market: Market, account: str, terms: DefineProduct) -> list[tuple[str, Programme]]:
    """The account's programmes that may pay for a product now, the earliest expiry first."""
    found = []
    for name, programme in market.state.programmes.items():
        its = programme.terms
        in_time = its.starts_ms <= market.now_ms < its.expires_ms and its.currency == terms.currency
        scopes = ((its.grades, terms.grade), (its.hubs, terms.hub), (its.tiers, terms.tier))
        if in_time and account in programme.issued and all(not scope or one in scope for scope, one in scopes):
            found.append((name, programme))
    return sorted(found, key=lambda each: (each[1].terms.expires_ms, each[0]))


def common(operators: frozenset[str] | None, programme: Programme) -> frozenset[str] | None:
    """The operators whose asks suit a programme too; None: all."""
    scope = frozenset(programme.terms.operators)
    if not scope:
        return operators
    return scope if operators is None else operators & scope


def lend(market: Market, drawing: Drawing, currency: str) -> None:
    """Holds the vouchers of an order that is about to be taken, and puts their money where the order holds its own."""
    movement = Movement(market, currency)
    for name, amount in drawing.parts.items():
        movement.hold(name, drawing.account, amount)
    market.emit(
        VouchersHeld,
        order_id=market.state.last_order_id + 1,
        account=drawing.account,
        parts=event_parts(drawing.parts),
        postings=movement.post(),
    )


# -- while it trades


def passes_over(market: Market, ask: Order) -> bool:
    """Whether the order in hand draws on vouchers that may not be spent on an ask. [C-17]"""
    drawing = market.drawing
    if drawing is None:
        return False
    is_foreign = drawing.operators is not None and ask.account not in drawing.operators
    is_affiliated = drawing.group is not None and market.state.affiliations.get(ask.account) == drawing.group
    return ask.node is None or is_foreign or is_affiliated


# -- after it has traded


def assign(market: Market, drawing: Drawing, order_id: int, currency: str) -> None:
    """Says which positions the vouchers stand in; the rest goes back. Every position since is the order's own.
    [C-18]
    """
    first, last = drawing.last_position_id + 1, market.state.last_position_id
    positions = [market.state.positions[each] for each in range(first, last + 1)]
    left, whole, assigned = drawing.parts, drawing.whole_micros, {}
    for position in positions:
        # Where `max_cost` bounds the hold and makers pay the dearer fee, GPUs may cost a little more than `whole`.
        cost = min(position.escrow_micros, whole)
        assigned[position.id] = share(left, cost, whole) if cost else {}
        left, whole = less(left, assigned[position.id]), whole - cost
    spent = sum(position.escrow_micros + fee_of(market, position) for position in positions)
    left = fill_up(positions, assigned, left, drawing.hold_micros - spent)
    movement = Movement(market, currency)
    for name, amount in left.items():
        movement.give_back(name, drawing.account, amount)
    for position_id, parts in assigned.items():
        if parts:
            market.state.voucher_escrows[position_id] = VoucherEscrow(parts)
    market.emit(
        VouchersAssigned,
        order_id=order_id,
        account=drawing.account,
        positions=tuple(
            PositionVouchers(position_id=each, parts=event_parts(parts)) for each, parts in assigned.items() if parts
        ),
        returned=event_parts(left),
        postings=movement.post(),
    )


def fee_of(market: Market, position: Position) -> int:
    """What the buyer of a new position paid to the venue as a taker."""
    bps = market.terms_of(position.contract).taker_fee_bps
    return position.qty * fee_unit_micros(position.escrow_micros // position.qty, bps)


def fill_up(positions: list[Position], assigned: dict[int, Parts], left: Parts, released_micros: int) -> Parts:
    """Fees that rounding made dearer took cash that should go back: as much more of the last escrows is vouchers."""
    for position in reversed(positions):
        has = assigned[position.id]
        for name in sorted(left):
            room = position.escrow_micros - sum(has.values())
            more = min(sum(left.values()) - released_micros, room, left[name])
            if more > 0:
                has[name] = has.get(name, 0) + more
                left = less(left, {name: more})
    return left
