"""The oracle: records of the command log in, events out, as any engine does; judged by the rulebook alone."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from schemas.commands import read_command
from schemas.signing import batch_text
from schemas.venue import NEWEST_RULESET, PERMISSIONS
from tests.oracle import auctions, blocks, changes, delivery, limits, nodes, orders, venue, vouchers
from tests.oracle.world import Refused, Thing, World, gate_ms, is_known, need, start_of


class Oracle:
    """A world, and the rules that commands meet in it."""

    def __init__(self) -> None:
        self.world = World()

    def apply(self, records: Sequence[tuple[int, int, bytes]]) -> list[bytes]:
        """Applies records (offset, the broker's time stamp, value) and returns their events. [F-2]"""
        return [event for record in records for event in self.apply_record(*record)]

    def apply_record(self, offset: int, ts_ms: int, value: bytes) -> list[bytes]:
        """Time moves first, then the command applies, then makers' quotes are pulled."""
        w = self.world
        w.offset, w.events = offset, []
        try:
            command = read_command(value)
        except ValueError:
            command = None
        venue.move_time(w, ts_ms, command is not None and command.type == "tick")
        execute(w, command)
        venue.pull(w)
        if w.ruleset and offset % 4096 == 0:
            w.emit("balance_digest", digest=w.digest())
        return self.seal()

    def seal(self) -> list[bytes]:
        """Numbers the record's events and links them to those before. [F-1]"""
        w, sealed = self.world, []
        for index, (event, fields) in enumerate(w.events):
            w.seq += 1
            place = {"shard": w.shard, "seq": w.seq, "in_offset": w.offset, "index": index, "count": len(w.events)}
            sealed.append(event(**place, ts_ms=w.now, prev_link=w.link.hex(), **fields).canonical())
        if sealed:
            w.link = sha256(w.link + b"".join(sealed)).digest()
        return sealed


# -- whole records


def execute(w: World, command: Any) -> None:
    """Carries a record out; of a batch each member by itself. [M-21]"""
    kind = "" if command is None else command.type
    if command is None:
        reject(w, "malformed")
    elif kind == "genesis":
        sources = tuple(each.source for each in command.service_keys)
        if w.ruleset or command.ruleset > NEWEST_RULESET or len({*sources}) < len(sources):
            reject(w, "genesis_refused")
        else:
            w.shard, w.ruleset = command.shard, command.ruleset
            w.keys = {each.source: each.public_key for each in command.service_keys}
            w.emit("genesis_applied", ruleset=command.ruleset, sources=sources)
    elif not w.ruleset:
        reject(w, "no_genesis", command if kind == "privileged" else None)
    elif kind == "privileged":
        execute_signed(w, command)
    elif kind == "tick":
        blocks.tick(w)
        auctions.indicate(w)
    elif kind == "place_batch" and any(each.account != command.account for each in command.members):
        refuse(w, command, Refused("not_permitted"))
    elif kind == "place_batch":
        refused = sum(not execute_order(w, member) for member in command.members)
        fields = {"account": command.account, "members": len(command.members), "refused": refused}
        w.emit("batch_done", command_id=command.command_id, **fields)
    else:
        execute_order(w, command)


def reject(w: World, code: str, batch: Any = None) -> None:
    """Says why a whole record was not taken. [F-3]"""
    source, number = (batch.source, batch.number) if batch else (None, None)
    w.emit("record_rejected", source=source, number=number, code=code)


def execute_signed(w: World, batch: Any) -> None:
    """A service's batch counts whole or not at all; in it, what breaks a rule leaves the others standing. [C-9]"""
    text = b"[" + b",".join(each.canonical() for each in batch.commands) + b"]"
    key, last = w.keys.get(batch.source), w.numbers.get(batch.source, 0)
    try:
        need(key is not None, "unknown_source")
        signed = batch_text(batch.source, batch.number, text)
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(batch.signature), signed)
        need(batch.number > last, "duplicate")
        need(batch.number == last + 1, "number_gap")
    except (Refused, InvalidSignature) as refusal:
        reject(w, getattr(refusal, "code", "bad_signature"), batch)
        return
    w.numbers[batch.source] = batch.number
    for position, command in enumerate(batch.commands):
        try:
            need(command.type in PERMISSIONS[batch.source], "not_permitted")
            ON_VENUE[command.type](w, command)
        except Refused as refusal:
            names = {"source": batch.source, "number": batch.number, "position": position, "command": command.type}
            w.emit("command_rejected", **names, code=refusal.code)


def set_key(w: World, command: Any) -> None:
    w.keys[command.source] = command.public_key
    w.emit("service_key_set", source=command.source)


def set_ruleset(w: World, command: Any) -> None:
    need(w.ruleset < command.ruleset <= NEWEST_RULESET, "bad_terms")
    w.ruleset = command.ruleset
    w.emit("ruleset_set", ruleset=command.ruleset)


# -- orders: one result for each id of a client


def own_id(command: Any) -> str | None:
    return command.replace_id if command.type == "replace_order" else getattr(command, "client_order_id", None)


def execute_order(w: World, command: Any) -> bool:
    """Carries a command of a trader or operator out, or says why not. Returns whether it did."""
    try:
        if command.type in PACED:
            once(w, command, PACED[command.type])
        else:
            ON_ORDER[command.type](w, command)
    except Refused as refusal:
        refuse(w, command, refusal)
        return False
    finally:
        w.drawing = w.hand = None
    return True


def refuse(w: World, command: Any, refusal: Refused) -> None:
    names = {"command_id": command.command_id, "command": command.type, "account": command.account}
    names |= {"client_order_id": own_id(command), "order_id": refusal.order_id}
    w.emit("order_rejected", **names, code=refusal.code, why_unfilled=refusal.why)


def once(w: World, command: Any, decide: Callable[[World, Any], int]) -> None:
    """The same id and body get the first result again, another body is refused; until the order's last gate. [M-22]"""
    key, body = (command.account, own_id(command)), command.model_copy(update={"command_id": ""})
    if key[1] is not None and key in w.bindings:
        known = w.bindings[key]
        if known.body != body:
            raise Refused("client_order_id_conflict", known.order_id)
        names = {"command_id": command.command_id, "account": command.account, "client_order_id": key[1]}
        w.emit("order_duplicate", **names, order_id=known.order_id, first_offset=known.offset)
        return
    until = last_gate_ms(w, command) if key[1] is not None else None
    binding = Thing(body=body, order_id=None, offset=w.offset, until=until)
    try:
        limits.need_pace(w, command.account)
        binding.order_id = decide(w, command)
        limits.count_order(w, command.account)
    finally:
        if until is not None:
            w.bindings[key] = binding


def last_gate_ms(w: World, command: Any) -> int | None:
    """The gate of the order's last contract; None where that is not open."""
    contract = getattr(command, "contract", None)
    if command.type == "replace_order":
        contract = changes.replaceable(w, command).contract
    product = w.products.get(contract.rpartition("-")[0] if contract else command.product)
    if product is None:
        return None
    period = product.newest.period_s
    if contract:
        start = start_of(contract)
    elif command.type == "place_block":
        latest = command.start_s if command.latest_s is None else command.latest_s
        start = latest + (command.periods - 1) * period
    elif command.type == "resell":
        start = min(command.to_s // period * period - period, product.listed_to)
    else:
        start = command.to_s - period
    return gate_ms(product, start) if is_known(product, start) and start in product.open else None


PACED: dict[str, Callable] = {
    "place_order": orders.place_order,
    "place_block": blocks.place_block,
    "post_capacity": orders.post_capacity,
    "resell": orders.resell,
    "replace_order": changes.replace,
}
ON_ORDER: dict[str, Callable] = {
    "reprice_capacity": changes.reprice,
    "withdraw_capacity": changes.withdraw,
    "cancel_order": changes.cancel_one,
    "mass_cancel": changes.mass_cancel,
    "cancel_all_after": venue.cancel_all_after,
    "set_protection": venue.set_protection,
}
ON_VENUE: dict[str, Callable] = {
    "epoch": nodes.start_epoch,
    "service_key": set_key,
    "set_ruleset": set_ruleset,
    "define_product": venue.define_product,
    "set_product_state": venue.set_product_state,
    "cancel_account_orders": changes.mass_cancel,
    "set_account_limits": limits.set_account_limits,
    **dict.fromkeys(("credit", "debit", "deallocate", "allocate"), venue.transfer),
    "register_node": nodes.register_node,
    "nodes_alive": nodes.keep_alive,
    "node_down": nodes.take_down,
    "nominate_gpus": delivery.nominate,
    "index_fixed": delivery.fix_index,
    "settle_position": delivery.settle_position,
    "settle_disputed": delivery.settle_position,
    "open_dispute": delivery.open_dispute,
    "close_dispute": delivery.close_dispute,
    "end_block": delivery.end_block,
    "void_contract": delivery.void_contract,
    "lock_hardware": nodes.lock_hardware,
    "unlock_hardware": nodes.unlock_hardware,
    "open_escrow": nodes.open_escrow,
    "release_escrow": nodes.end_escrow,
    "refund_escrow": nodes.end_escrow,
    "define_programme": vouchers.define,
    "set_affiliation": vouchers.affiliate,
    "fund_programme": vouchers.fund,
    "defund_programme": vouchers.defund,
    "issue_voucher": vouchers.issue,
}
