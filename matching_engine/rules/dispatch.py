"""Which command is which rule's, and how a refusal becomes an event."""

from collections.abc import Callable

from matching_engine.rules import (
    auctions,
    blocks,
    cancels,
    capacity,
    identity,
    orders,
    protection,
    replaces,
    reprices,
    resell_command,
    silence,
)
from matching_engine.rules.market import Market
from matching_engine.rules.privileged import apply_batch, apply_genesis, reject_record
from matching_engine.rules.refusals import RuleBroken
from schemas.commands import Command, read_command
from schemas.events import BatchDone, OrderRejected
from schemas.orders import PlaceBatch
from schemas.venue import Genesis, Privileged, Tick


def parse_command(value: bytes) -> Command | None:
    """Reads a record; None for anything but a command's canonical bytes."""
    try:
        return read_command(value)
    except ValueError:
        return None


def execute(market: Market, command: Command | None) -> None:
    """Applies one command; whatever is wrong with it becomes an event."""
    if command is None:
        reject_record(market, "malformed")
    elif isinstance(command, Genesis):
        apply_genesis(market, command)
    elif not market.state.ruleset:
        reject_record(market, "no_genesis", command if isinstance(command, Privileged) else None)
    elif isinstance(command, Privileged):
        apply_batch(market, command)
    elif isinstance(command, Tick):
        blocks.go_on_at_tick(market)
        auctions.indicate(market)
    elif isinstance(command, PlaceBatch):
        execute_batch(market, command)
    else:
        execute_order(market, command)
    protection.pull(market)


def execute_batch(market: Market, batch: PlaceBatch) -> None:
    """Applies the members in turn, each by itself, unless one of them speaks for another account. [M-21]"""
    if any(member.account != batch.account for member in batch.members):
        refuse(market, batch, RuleBroken("not_permitted"))
        return
    refused = sum(not execute_order(market, member) for member in batch.members)
    market.emit(
        BatchDone,
        command_id=batch.command_id,
        account=batch.account,
        members=len(batch.members),
        refused=refused,
    )


def execute_order(market: Market, command: Command) -> bool:
    """Applies a command of a trader or operator, or says why not. Returns whether it was carried out."""
    events = market.store.count_events()
    try:
        ON_ORDER[command.type](market, command)
    except RuleBroken as refusal:
        if market.store.count_events() != events:
            raise AssertionError(f"{command.type} refused after it had changed the state") from refusal
        refuse(market, command, refusal)
        return False
    return True


def refuse(market: Market, command: Command, refusal: RuleBroken) -> None:
    """Says why a command of a trader or operator was not carried out."""
    market.emit(
        OrderRejected,
        command_id=command.command_id,
        command=command.type,
        account=command.account,
        client_order_id=identity.own_id(command),
        order_id=refusal.order_id,
        code=refusal.code,
        why_unfilled=refusal.why,
    )


ON_ORDER: dict[str, Callable] = {
    "place_order": orders.place_order,
    "place_block": blocks.place_block,
    "post_capacity": capacity.post_capacity,
    "reprice_capacity": reprices.reprice_capacity,
    "withdraw_capacity": cancels.withdraw_window,
    "resell": resell_command.resell,
    "cancel_order": cancels.cancel,
    "mass_cancel": cancels.mass_cancel,
    "replace_order": replaces.replace_order,
    "cancel_all_after": silence.cancel_all_after,
    "set_protection": protection.set_protection,
}
