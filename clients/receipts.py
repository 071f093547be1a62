"""A receipt checked by anybody: from its file alone, with the venue's public key, and nothing of a running venue.

What the meter and the settlement function make of the file's inputs is computed again by the same pure code.
"""

from collections.abc import Iterator

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from matching_engine.settlement import BadMeterValues, Settlement, settle, undisputed
from schemas.delivery import MeterInputs
from schemas.ids import contract_start_s, product_of, tier_of
from schemas.nodes import GENESIS_HASH, SignedMessage, message_hash, node_id_of, signing_bytes
from schemas.receipts import Receipt, ReceiptFile, key_id_of
from schemas.renter import renter_agent
from services.delivery.meter import cite_report, measure, meter_digest

NO_METER = "0" * 64


def faults_of(file: ReceiptFile, venue_key: str) -> list[str]:
    """Returns what is wrong with a receipt, one line each; nothing where all of it follows from the file."""
    faults = list(signature_faults(file, venue_key))
    try:
        contract_start_s(file.receipt.contract)
    except ValueError:
        return [*faults, f"receipt: {file.receipt.contract} names no date"]
    faults += meter_faults(file.receipt, file.meter)
    if file.meter is not None:
        broken = list(report_faults(file, file.meter))
        faults += broken or outcome_faults(file, file.meter)
    return faults + list(settlement_faults(file.receipt))


def is_signed(message: SignedMessage, public_key: str) -> bool:
    """Says whether the message bears this key's signature."""
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
        # Every kind of signed message ends in its own field of that name.
        signature = message.signature  # pyright: ignore[reportAttributeAccessIssue]
        key.verify(bytes.fromhex(signature), signing_bytes(message))
    except (InvalidSignature, ValueError):
        return False
    return True


def signature_faults(file: ReceiptFile, venue_key: str) -> Iterator[str]:
    """The venue's own signature."""
    if file.key_id != key_id_of(venue_key):
        yield f"signature: the receipt names key {file.key_id}, the venue's key is {key_id_of(venue_key)}"
    if not is_signed(file, venue_key):
        yield "signature: it is not the venue's signature over this file"


def meter_faults(receipt: Receipt, meter: MeterInputs | None) -> Iterator[str]:
    """The meter's inputs are those that the settlement was made on, and speak of this position."""
    if meter is None:
        if receipt.meter_digest != NO_METER:
            yield "meter: the file has no inputs, but the receipt names some"
        return
    if meter_digest(meter) != receipt.meter_digest:
        yield f"meter: the inputs' digest is {meter_digest(meter)}, the receipt names {receipt.meter_digest}"
    start_ms = contract_start_s(receipt.contract) * 1000
    facts = {
        "position_id": receipt.position_id,
        "contract": receipt.contract,
        "node": receipt.node,
        "qty": receipt.qty,
        "gpus": receipt.gpus,
        "start_ms": start_ms,
        "end_ms": start_ms + receipt.period_s * 1000,
    }
    for name, value in facts.items():
        if getattr(meter, name) != value:
            yield f"meter: {name} of the inputs is not the receipt's"


def report_faults(file: ReceiptFile, meter: MeterInputs) -> Iterator[str]:
    """Every report is one that the inputs name, bears its node's signature, and follows the one before it."""
    node_key = file.node_key or ""
    if file.reports and (not node_key or node_id_of(node_key) != meter.node):
        yield f"reports: the node's key is not that of {meter.node}"
        return
    if len(file.reports) != len(meter.reports):
        yield f"reports: the inputs name {len(meter.reports)}, the file has {len(file.reports)}"
    previous: tuple[int, str] = (0, GENESIS_HASH)
    for cited, record in zip(meter.reports, file.reports, strict=False):
        report = record.report
        if cite_report(record) != cited or report.agent != meter.node:
            yield f"reports: report {report.seq} is not the one that the inputs name"
        if not is_signed(report, node_key):
            yield f"reports: report {report.seq} is not signed by its node"
        if report.seq == previous[0] + 1 and report.prev_hash != previous[1]:
            yield f"reports: report {report.seq} does not follow the one before it"
        previous = (report.seq, message_hash(report))
    yield from renter_faults(file, meter)


def renter_faults(file: ReceiptFile, meter: MeterInputs) -> Iterator[str]:
    """The renter's reports are those that the inputs name, by the key that the buyer registered for the lease."""
    if tuple(map(cite_report, file.renter_reports)) != meter.renter_reports:
        yield "renter's reports: they are not those that the inputs name"
    for record in file.renter_reports:
        is_own = file.renter_key is not None and is_signed(record.report, file.renter_key)
        if not is_own or record.report.agent != renter_agent(meter.lease_id or ""):
            yield f"renter's reports: report {record.report.seq} is not signed by the renter"


def outcome_faults(file: ReceiptFile, meter: MeterInputs) -> Iterator[str]:
    """The meter makes of these reports what the receipt says."""
    receipt = file.receipt
    try:
        outcome = measure(meter, file.reports, file.renter_reports)
    except (ValueError, ArithmeticError):
        # The file is anybody's: inputs that the meter was never made for must not end the check.
        yield "meter: nothing can be measured on these inputs"
        return
    for name in ("delivered_gpu_s", "excused_gpu_s", "used_gpu_s", "quality_gpu_ms"):
        if getattr(outcome, name) != getattr(receipt, name):
            yield f"meter: {name} is {getattr(outcome, name)}, the receipt says {getattr(receipt, name)}"
    for name in ("noticed", "recalled_gpus", "disputed_gpu_s", "disputed_used_gpu_s") if receipt.terms else ():
        if getattr(outcome, name) != getattr(receipt.terms, name):
            yield f"meter: {name} is {getattr(outcome, name)}, the receipt says {getattr(receipt.terms, name)}"


def settlement_faults(receipt: Receipt) -> Iterator[str]:
    """The settlement function makes of these figures the receipt's amounts."""
    if receipt.terms is None:
        yield "settlement: the receipt does not say what it was computed from"
        return
    if receipt.terms.tier != tier_of(receipt.contract):
        yield f"settlement: {product_of(receipt.contract)} is not of tier {receipt.terms.tier}"
    if receipt.contracted_gpu_s != receipt.qty * receipt.period_s:
        yield "settlement: contracted_gpu_s is not qty times the period"
    try:
        low, high = settled(receipt), settled(receipt, with_disputed=True)
    except BadMeterValues as error:
        yield f"settlement: {error}"
        return
    outcome = undisputed(low, high)
    escrow_micros = receipt.qty * -(-receipt.price_micros * receipt.period_s // 3600)
    if receipt.held_micros > high.gross - low.gross:
        yield f"settlement: held_micros is {receipt.held_micros}, the meters differ about {high.gross - low.gross}"
    if receipt.payout_held_micros > max(outcome.operator, 0) + receipt.terms.bond_micros:
        yield f"settlement: payout_held_micros is {receipt.payout_held_micros}, the operator earned {outcome.operator}"
    amounts = {
        "paid_micros": outcome.gross,
        "refunded_micros": escrow_micros - outcome.gross - receipt.held_micros,
        "damages_micros": outcome.ld,
        "fee_micros": outcome.fee,
        "operator_micros": outcome.operator,
    }
    for name, value in amounts.items():
        if getattr(receipt, name) != value:
            yield f"settlement: {name} is {value}, the receipt says {getattr(receipt, name)}"


def settled(receipt: Receipt, with_disputed: bool = False) -> Settlement:
    """Returns what the settlement function makes of the receipt's own figures, the lower or the higher ones. Raises
    BadMeterValues.
    """
    if (terms := receipt.terms) is None:
        raise BadMeterValues("the receipt names no terms")
    more = (terms.disputed_gpu_s, terms.disputed_used_gpu_s) if with_disputed else (0, 0)
    return settle(
        q=receipt.qty,
        T=receipt.period_s,
        P=receipt.price_micros,
        I=receipt.index_micros,
        E=receipt.excused_gpu_s,
        r=terms.reservation_permille,
        hi=terms.dead_band_permille,
        lo=terms.full_damage_permille,
        bond=terms.bond_micros,
        fee_bps=terms.fee_bps,
        D=receipt.delivered_gpu_s + more[0],
        U=receipt.used_gpu_s + more[1],
        interruptible=terms.tier == "I",
        noticed=terms.noticed,
        recalled_gpus=terms.recalled_gpus,
    )
