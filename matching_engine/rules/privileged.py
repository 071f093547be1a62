"""Signed batches of the venue's services: the signature, the number, the permission, then each command by itself."""

from collections.abc import Callable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from matching_engine.rules import (
    cancels,
    delivery,
    disputes,
    ending,
    hardware,
    limits,
    nodes,
    products,
    programmes,
    rulesets,
    settling,
    trading_states,
    transfers,
    voiding,
)
from matching_engine.rules.market import Market
from matching_engine.rules.refusals import RuleBroken, require
from schemas.events import (
    CommandRejected,
    EpochStarted,
    GenesisApplied,
    RecordRejected,
    RejectCode,
    RulesetSet,
    ServiceKeySet,
)
from schemas.signing import batch_text
from schemas.venue import (
    NEWEST_RULESET,
    PERMISSIONS,
    Epoch,
    Genesis,
    Privileged,
    ServiceKey,
    SetRuleset,
    VenueCommand,
)


def apply_genesis(market: Market, command: Genesis) -> None:
    """The first record: which shard this is and whose signatures count."""
    sources = tuple(entry.source for entry in command.service_keys)
    if market.state.ruleset or command.ruleset > NEWEST_RULESET or len(set(sources)) < len(sources):
        reject_record(market, "genesis_refused")
        return
    market.state.shard, market.state.ruleset = command.shard, command.ruleset
    market.state.keys = {entry.source: entry.public_key for entry in command.service_keys}
    market.emit(GenesisApplied, ruleset=command.ruleset, sources=sources)


def apply_batch(market: Market, batch: Privileged) -> None:
    """Takes a batch whole or refuses it whole; within it, a command that breaks a rule leaves the others standing.
    [C-9]
    """
    try:
        check_batch(market, batch)
    except RuleBroken as refusal:
        reject_record(market, refusal.code, batch)
        return
    market.state.numbers[batch.source] = batch.number
    for position, command in enumerate(batch.commands):
        events = market.store.count_events()
        try:
            require(command.type in PERMISSIONS[batch.source], "not_permitted")
            ON_COMMAND[command.type](market, command)
        except RuleBroken as refusal:
            if market.store.count_events() != events:
                raise AssertionError(f"{command.type} refused after it had changed the state") from refusal
            market.emit(
                CommandRejected,
                source=batch.source,
                number=batch.number,
                position=position,
                command=command.type,
                code=refusal.code,
            )


def check_batch(market: Market, batch: Privileged) -> None:
    key = market.state.keys.get(batch.source)
    if key is None:
        raise RuleBroken("unknown_source")
    require(is_signed(batch, key), "bad_signature")
    last = market.state.numbers.get(batch.source, 0)
    require(batch.number > last, "duplicate")
    require(batch.number == last + 1, "number_gap")


def is_signed(batch: Privileged, public_key: str) -> bool:
    """Whether the signature is the source's, over the canonical array of commands."""
    commands = b"[" + b",".join(command.canonical() for command in batch.commands) + b"]"
    text = batch_text(batch.source, batch.number, commands)
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(bytes.fromhex(batch.signature), text)
    except InvalidSignature:
        return False
    return True


def reject_record(market: Market, code: RejectCode, batch: Privileged | None = None) -> None:
    """Says why a whole record was not taken. [F-3]"""
    source, number = (batch.source, batch.number) if batch else (None, None)
    market.emit(RecordRejected, source=source, number=number, code=code)


def start_epoch(market: Market, command: Epoch) -> None:
    """A new engine process takes over."""
    nodes.start_epoch(market, command)
    market.emit(EpochStarted, epoch=command.epoch)


def set_service_key(market: Market, command: ServiceKey) -> None:
    """Checks a source's later batches with another key."""
    market.state.keys[command.source] = command.public_key
    market.emit(ServiceKeySet, source=command.source)


def set_ruleset(market: Market, command: SetRuleset) -> None:
    """Goes on by newer rules; those that this engine does not know are refused."""
    require(market.state.ruleset < command.ruleset <= NEWEST_RULESET, "bad_terms")
    market.store.terms.set_ruleset(command.ruleset)
    if rulesets.watches_from_acceptance(market):
        limits.watch_throttled(market)
    for name in market.state.products:
        products.forget_prices(market, name)
    market.emit(RulesetSet, ruleset=command.ruleset)


ON_COMMAND: dict[str, Callable[[Market, VenueCommand], None]] = {
    "epoch": start_epoch,
    "service_key": set_service_key,
    "set_ruleset": set_ruleset,
    "define_product": products.define_product,
    "set_product_state": trading_states.set_product_state,
    "cancel_account_orders": cancels.cancel_for_venue,
    "set_account_limits": limits.set_account_limits,
    "credit": transfers.credit,
    "debit": transfers.debit,
    "deallocate": transfers.deallocate,
    "allocate": transfers.allocate,
    "register_node": nodes.register_node,
    "nodes_alive": nodes.keep_alive,
    "node_down": nodes.handle_node_down,
    "nominate_gpus": delivery.nominate_gpus,
    "index_fixed": delivery.fix_index,
    "settle_position": settling.settle_position,
    "settle_disputed": settling.settle_position,
    "open_dispute": disputes.open_dispute,
    "close_dispute": disputes.close_dispute,
    "end_block": ending.end_block,
    "void_contract": voiding.void_contract,
    "lock_hardware": hardware.lock_hardware,
    "unlock_hardware": hardware.unlock_hardware,
    "open_escrow": hardware.open_escrow,
    "release_escrow": hardware.release_escrow,
    "refund_escrow": hardware.refund_escrow,
    "define_programme": programmes.define_programme,
    "set_affiliation": programmes.set_affiliation,
    "fund_programme": programmes.fund_programme,
    "defund_programme": programmes.defund_programme,
    "issue_voucher": programmes.issue_voucher,
}
