"""Events as a trader would say them: one line each, money as decimals, and every account whose balance moved."""

from collections.abc import Callable
from datetime import UTC, datetime

from schemas.money import format_micros as money

Event = dict


def render(event: Event) -> list[str]:
    """The event's line, and one line for each posting."""
    return [PHRASES[event["type"]](event), *(posting(*each) for each in event.get("postings", ()))]


def posting(account: str, asset: str, available: int, held: int, available_after: int, held_after: int) -> str:
    moves = ", ".join(f"{name} {signed(delta)}" for name, delta in (("available", available), ("held", held)) if delta)
    return f"  {account}: {moves}  = {money(available_after)} + {money(held_after)} {asset}"


def signed(micros: int) -> str:
    return f"{'+' if micros > 0 else ''}{money(micros)}"


def hour(contract: str | None) -> str:
    """A contract by its delivery hour; the product is left out."""
    return f"{contract[-2:]}h" if contract else "block"


def clock(ts_ms: int) -> str:
    """A time of day in UTC."""
    return f"{datetime.fromtimestamp(ts_ms / 1000, UTC):%H:%M:%S}"


def day(ts_ms: int) -> str:
    return f"{datetime.fromtimestamp(ts_ms / 1000, UTC):%Y-%m-%d}"


def price(event: Event) -> str:
    return "market" if event["price_micros"] is None else money(event["price_micros"])


def accepted(event: Event) -> str:
    flags = "" if event["tif"] == "GTG" else f" {event['tif']}"
    flags += f" until {clock(event['expires_ms'])}" if event["expires_ms"] else ""
    flags += " post-only" if event["post_only"] else ""
    flags += f" showing {event['display_qty']}" if event["display_qty"] else ""
    flags += f" at least {event['min_qty']}" if event["min_qty"] else ""
    flags += f" {event['stp']}" if event["stp"] != "cancel_newest" else ""
    flags += f" from {event['node']}" if event["node"] else ""
    verb = "bids" if event["side"] == "buy" else "asks"
    what = f"{hour(event['contract'])} {event['qty']} @ {price(event)}{flags}"
    return f"#{event['order_id']} {event['account']} {verb} {what}"


def block_accepted(event: Event) -> str:
    most = f", at most {money(event['max_cost_micros'])}" if event["max_cost_micros"] else ""
    tif = "" if event["tif"] == "GTG" else f" {event['tif']}"
    size = f"{event['qty']} (at least {event['min_qty']}) × {event['periods']} h"
    what = "block" if event["latest_s"] is None else f"flex until {hour_of(event['latest_s'])}"
    return (
        f"#{event['order_id']} {event['account']} bids {what} {size} @ {money(event['limit_price_micros'])}{most}{tif}"
    )


def hour_of(start_s: int) -> str:
    return f"{start_s // 3600 % 24:02d}h"


def duplicate(event: Event) -> str:
    first = f"#{event['order_id']}" if event["order_id"] else "a refusal"
    return f"duplicate of {first} at offset {event['first_offset']}"


def trade(event: Event) -> str:
    maker, taker = event["maker_order_id"], event["taker_order_id"]
    what = f"{event['qty']} @ {money(event['price_micros'])} {hour(event['contract'])} on {event['node']}"
    money_held = f"escrow {money(event['escrow_micros'])}, bond {money(event['bond_micros'])}"
    left = f"left {event['maker_left']}/{event['taker_left']}"
    meets = "meets" if event["taker_side"] else "and"
    parties = f"{event['buyer']} buys {what} from {event['seller']}"
    if event["resale"]:
        settles = money(event["resale"]["settlement_price_micros"])
        money_held += f", split off position {event['resale']['from_position_id']}, settles at {settles}"
    return f"trade {event['trade_id']}: {parties} (#{maker} {meets} #{taker}, {left}): {money_held}"


def gone(verb: str) -> Callable[[Event], str]:
    def phrase(event: Event) -> str:
        reason = f", {event['reason']}" if "reason" in event else ""
        left = (
            f"{event['qty_left']} left" if "qty_off" not in event else f"by {event['qty_off']} to {event['qty_left']}"
        )
        return f"#{event['order_id']} {verb}{reason}: {left}{why(event)}"

    return phrase


def replaced(event: Event) -> str:
    changes = f"{event['old_qty_left']} @ {money(event['old_price_micros'])} is {event['qty_left']} @ {price(event)}"
    until = f" until {clock(event['expires_ms'])}" if event["expires_ms"] else ""
    priority = "in its place" if event["priority_kept"] else "at the back"
    return f"#{event['order_id']} replaced: {changes}{until} ({event['qty']} in all), {priority}"


def why(event: Event) -> str:
    miss = event.get("why_unfilled")
    if not miss:
        return ""
    best = "none" if miss["best_price_micros"] is None else money(miss["best_price_micros"])
    return f" ({miss['reason']}; best {best}, missing {miss['missing_gpus']})"


def rejected(event: Event) -> str:
    return f"rejected {event['command']} of {event['account']}: {event['code']}{why(event)}"


def settled(event: Event) -> str:
    parts = ("gross", "damages", "fee", "buyer", "operator", "refund")
    amounts = ", ".join(f"{part} {money(event[part + '_micros'])}" for part in parts)
    return f"position {event['position_id']} settled, revision {event['revision']}: {amounts}"


def debt(verb: str) -> Callable[[Event], str]:
    def phrase(event: Event) -> str:
        left = f", {money(event['left_micros'])} left" if "left_micros" in event else ""
        return f"{verb}: {event['debtor']} to {event['creditor']} {money(event['amount_micros'])}{left}"

    return phrase


def transfer(verb: str) -> Callable[[Event], str]:
    return lambda event: f"{verb} {event['account']} {money(event['amount_micros'])} {event['asset']}"


def budget(verb: str) -> Callable[[Event], str]:
    def phrase(event: Event) -> str:
        to = f" to {event['account']}" if "account" in event else ""
        return f"{event['programme']} of {event['issuer']} {verb} {money(event['amount_micros'])}{to}"

    return phrase


def parts(vouchers: list[Event]) -> str:
    return " and ".join(f"{money(each['amount_micros'])} of {each['programme']}" for each in vouchers) or "nothing"


def assigned(event: Event) -> str:
    held = "".join(f", {parts(each['parts'])} in position {each['position_id']}" for each in event["positions"])
    return f"#{event['order_id']} gives {parts(event['returned'])} back{held}"


def escrow(verb: str) -> Callable[[Event], str]:
    return lambda event: f"escrow {event['escrow_id']} {verb}"


def optional(micros: int | None) -> str:
    return "none" if micros is None else money(micros)


def auction(event: Event) -> str:
    """What an auction comes or came to."""
    side = {"buy": "wanted", "sell": "offered", None: ""}[event["surplus_side"]]
    surplus = f", {event['surplus_qty']} more {side}" if side else ""
    what = f"{event['qty']} @ {optional(event['price_micros'])}{surplus}"
    return f"{hour(event['contract'])} {what} (reference {optional(event['reference_micros'])})"


def block_rejected(event: Event) -> str:
    sums = f"limit {money(event['limit_sum_micros'])}, costs {optional(event['cost_sum_micros'])}"
    return f"#{event['order_id']} block without {event['qty_rejected']}: {event['reason']} ({sums})"


def account_limits(event: Event) -> str:
    shown = {name: event[name] for name in ("max_open_orders", "max_position_gpus") if event[name] is not None}
    shown |= {name: event[name] for name in event if name.startswith("throttle") and event[name]}
    return f"limits of {event['account']}: " + (", ".join(f"{name} {value}" for name, value in shown.items()) or "none")


def protection(event: Event) -> str:
    what = f"{event['qty']} GPUs in {event['window_ms']} ms" if event["qty"] else "none"
    return f"protection of {event['account']}: {what}"


PHRASES: dict[str, Callable[[Event], str]] = {
    "epoch_started": lambda event: f"epoch {event['epoch']}",
    "ruleset_set": lambda event: f"goes on by ruleset {event['ruleset']}",
    "product_defined": lambda event: f"{event['terms']['product']} defined",
    "product_state_changed": lambda event: (
        f"{event['product']} {event['state']}: {event['reason']}{', opens by itself' if event['opens_ms'] else ''}"
    ),
    "contracts_listed": lambda event: (
        f"{1 + (event['last_start_s'] - event['first_start_s']) // event['period_s']} contracts listed"
    ),
    "contract_state_changed": lambda event: (
        f"{hour(event['contract'])} {event['state']}, {event['positions']} positions"
    ),
    "index_set": lambda event: f"index of {hour(event['contract'])} is {money(event['index_micros'])}",
    "record_rejected": lambda event: f"record rejected: {event['code']}",
    "command_rejected": lambda event: f"rejected {event['command']} of {event['source']}: {event['code']}",
    "order_accepted": accepted,
    "block_accepted": block_accepted,
    "flex_narrowed": lambda event: (
        f"#{event['order_id']} starts {hour_of(event['start_s'])} to {hour_of(event['latest_s'])}"
    ),
    "block_trials_bounded": lambda event: (
        f"{event['trials']} of {event['bound']} block–node trials, {event['waiting']} blocks wait"
    ),
    "capacity_accepted": lambda event: (
        f"#{event['order_id']} {event['account']} posts {event['gpus']} of {event['node']}"
    ),
    "capacity_repriced": lambda event: f"#{event['order_id']} repriced, {event['changed']} asks",
    "resale_accepted": lambda event: f"#{event['order_id']} {event['account']} resells {event['qty']}",
    "order_rejected": rejected,
    "order_duplicate": duplicate,
    "order_canceled": gone("canceled"),
    "order_reduced": gone("reduced"),
    "order_expired": gone("expired"),
    "order_replaced": replaced,
    "order_displayed": lambda event: (
        f"#{event['order_id']} shows {event['qty_shown']} of {event['qty_left']} @ {price(event)}"
    ),
    "account_orders_canceled": lambda event: (
        f"the venue canceled {event['canceled']} of {event['account']}: {event['reason']}"
    ),
    "cancel_timer_set": lambda event: (
        f"{event['session']} of {event['account']} "
        + (f"cancels all at {clock(event['due_ms'])}" if event["due_ms"] else "cancels nothing")
    ),
    "cancel_timer_fired": lambda event: (
        f"{event['session']} of {event['account']} is silent: {event['canceled']} canceled"
    ),
    "batch_done": lambda event: f"batch of {event['members']} done, {event['refused']} refused",
    "cancel_done": lambda event: f"{event['canceled']} canceled",
    "trade": trade,
    "programme_defined": lambda event: f"{event['terms']['programme']} of {event['terms']['issuer']} defined",
    "programme_funded": budget("funded with"),
    "programme_defunded": budget("gives back"),
    "voucher_issued": budget("issues"),
    "vouchers_held": lambda event: f"#{event['order_id']} of {event['account']} draws on {parts(event['parts'])}",
    "vouchers_assigned": assigned,
    "vouchers_settled": lambda event: (
        f"position {event['position_id']} used {parts(event['used'])}, gives {parts(event['returned'])} back"
    ),
    "voucher_lapsed": lambda event: (
        f"{money(event['amount_micros'])} of {event['programme']} lapsed for {event['account']}"
    ),
    "programme_lapsed": lambda event: f"{event['programme']} lapsed",
    "affiliation_set": lambda event: f"{event['account']} belongs to {event['group'] or 'no group'}",
    "credited": transfer("credited"),
    "debited": transfer("debited"),
    "deallocated": lambda event: f"{transfer('deallocated')(event)} to shard {event['to_shard']}",
    "allocated": lambda event: f"{transfer('allocated')(event)} from shard {event['from_shard']}",
    "node_registered": lambda event: (
        f"{event['node']} of {event['account']}: {len(event['gpus'])} GPUs, {event['level']}"
    ),
    "node_liveness_changed": lambda event: (
        f"{event['node']} {'alive' if event['alive'] else 'not alive'}: {event['reason']}"
    ),
    "gpus_nominated": lambda event: (
        f"{event['node']} serves {', '.join(str(each['position_id']) for each in event['nominations'])}"
    ),
    "position_settled": settled,
    "contract_voided": lambda event: f"{hour(event['contract'])} is void: {event['reason']}",
    "fee_returned": lambda event: f"position {event['position_id']}: fee {money(event['amount_micros'])} returned",
    "difference_held": lambda event: (
        f"position {event['position_id']}: {money(event['held_micros'])} of {event['buyer']} held,"
        f" {event['disputed_gpu_s']} GPU-seconds in dispute"
    ),
    "dispute_opened": lambda event: (
        f"position {event['position_id']} disputed by the {event['opened_by']}: {event['reason']}"
    ),
    "dispute_closed": lambda event: (
        f"position {event['position_id']} disputed no more, revision {event['revision']}: {event['reason']}"
    ),
    "block_ended": lambda event: (
        f"block #{event['block_id']} of {event['account']} ended, {event['positions']} positions: {event['reason']}"
    ),
    "position_ended": lambda event: (
        f"position {event['position_id']} ended: escrow {money(event['escrow_micros'])},"
        f" bond {money(event['bond_micros'])}"
    ),
    "payout_held": lambda event: (
        f"position {event['position_id']}: {money(event['held_micros'])} of {event['operator']}'s payout held"
        f" until {day(event['until_ms'])} {clock(event['until_ms'])}"
    ),
    "position_finalized": lambda event: f"position {event['position_id']} final",
    "guarantee_drawn": debt("guarantee pays"),
    "claim_recorded": debt("claim recorded"),
    "claim_paid": debt("claim paid"),
    "hardware_locked": lambda event: f"listing {event['listing_id']} locks {len(event['gpus'])} GPUs",
    "hardware_unlocked": lambda event: f"listing {event['listing_id']} unlocked",
    "escrow_opened": escrow("opened"),
    "escrow_released": escrow("released"),
    "escrow_refunded": escrow("refunded"),
    "auction_indicated": lambda event: f"indicated {auction(event)}",
    "auction_uncrossed": lambda event: f"auction {auction(event)}",
    "auction_block_rejected": block_rejected,
    "account_limits_set": account_limits,
    "protection_set": protection,
    "protection_triggered": lambda event: (
        f"protection of {event['account']}: {event['traded_qty']} traded, {event['canceled']} pulled"
    ),
}
