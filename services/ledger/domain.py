"""Double entry from the engine's events: which transfers an event is, and whether they agree with the engine."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from typing import NamedTuple

from schemas.events import (
    Allocated,
    AnyEvent,
    BalanceDigest,
    CommandRejected,
    Credited,
    Deallocated,
    Debited,
    PositionSettled,
    Posting,
    ProgrammeDefunded,
    ProgrammeFunded,
    VoucherIssued,
)
from services.ledger.claims import Claims

EXTERNAL = "external"
IN_TRANSIT = "in_transit"
ISSUED = "issued"
GPU_MS = "GPU.MS"
TRANSFERS = (Credited, Debited, Deallocated, Allocated, ProgrammeFunded, ProgrammeDefunded, VoucherIssued)
REFERENCES = ("transfer_id", "position_id", "escrow_id", "order_id", "claim_id")


class LedgerMismatch(Exception):
    """The ledger and the engine do not agree; the market must halt."""

    def __init__(self, seq: int, detail: str):
        super().__init__(f"seq {seq}: {detail}")
        self.seq, self.detail = seq, detail


class AccountKey(NamedTuple):
    """One account of the ledger. Buckets of money: available, held, external, in_transit; of GPU time: contracted,
    delivered, …
    """

    owner: str
    asset: str
    bucket: str


class Transfer(NamedTuple):
    """An amount from one account to another; (shard, seq, leg) is its identity, so its cause posts it once."""

    seq: int
    leg: int
    ts_ms: int
    cause: str
    reference: str
    debit: AccountKey
    credit: AccountKey
    amount: int


class Balance(NamedTuple):
    """What an account has of an asset, in micro-units."""

    available: int
    held: int


class Delivered(NamedTuple):
    """GPU-seconds of one position as last settled."""

    delivered_gpu_s: int
    excused_gpu_s: int


class Outcome(NamedTuple):
    """What became of a deposit or withdrawal: named by its transfer, or, when refused, by its batch's number."""

    transfer_id: str | None
    number: int | None
    state: str
    code: str | None
    seq: int


@dataclass
class Plan:
    """What one batch of events writes."""

    transfers: list[Transfer] = field(default_factory=list)
    balances: dict[tuple[str, str], Balance] = field(default_factory=dict)
    delivered: dict[int, Delivered] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    claims: Claims = field(default_factory=Claims)


def plan_batch(
    events: Iterable[AnyEvent],
    balances: Mapping[tuple[str, str], Balance],
    delivered: Mapping[int, Delivered],
) -> Plan:
    """Turns events into transfers, starting from these balances and deliveries.

    Raises LedgerMismatch where an event does not balance or cannot be posted, or where the engine has other balances
    after it.
    """
    plan = Plan()
    for event in events:
        try:
            _plan_event(plan, event, balances, delivered)
        except LedgerMismatch:
            raise
        except Exception as error:  # what cannot be posted may be money
            detail = f"{event.type} cannot be posted: {type(error).__name__}: {error}"
            raise LedgerMismatch(event.seq, detail) from error
    return plan


def corrected_positions(events: Iterable[AnyEvent]) -> list[int]:
    """Returns the positions whose earlier settlement a batch of events corrects."""
    return [event.position_id for event in events if isinstance(event, PositionSettled) and event.revision > 1]


def money_legs(event: AnyEvent) -> list[tuple[AccountKey, int]]:
    """Returns an event's changes of money by account. What came in or went out has its counter-leg in `external`, what
    moves between shards in `in_transit`; vouchers, which come into being with their budget, have theirs in `issued`.
    """
    legs = []
    for account, asset, available_delta, held_delta, _, _ in event.postings:
        if available_delta:
            legs.append((AccountKey(account, asset, "available"), available_delta))
        if held_delta:
            legs.append((AccountKey(account, asset, "held"), held_delta))
    if isinstance(event, Credited | Debited | Deallocated | Allocated):
        amount = -event.amount_micros if isinstance(event, Credited | Allocated) else event.amount_micros
        outside = EXTERNAL if isinstance(event, Credited | Debited) else IN_TRANSIT
        legs.append((AccountKey(outside, event.asset, outside), amount))
    elif isinstance(event, ProgrammeFunded):
        legs.append((AccountKey(ISSUED, event.asset, EXTERNAL), -event.amount_micros))
    return legs


def gpu_time_legs(event: PositionSettled, before: Delivered | None, now: Delivered) -> list[tuple[AccountKey, int]]:
    """Returns the changes in GPU-milliseconds: all that was contracted is delivered, excused or undelivered."""
    contracted = event.qty * event.period_s if before is None else 0
    delivered = now.delivered_gpu_s - (before.delivered_gpu_s if before else 0)
    excused = now.excused_gpu_s - (before.excused_gpu_s if before else 0)
    return [
        (AccountKey(event.operator, GPU_MS, "contracted"), -contracted * 1000),
        (AccountKey(event.buyer, GPU_MS, "delivered"), delivered * 1000),
        (AccountKey(event.buyer, GPU_MS, "excused"), excused * 1000),
        (AccountKey(event.buyer, GPU_MS, "undelivered"), (contracted - delivered - excused) * 1000),
    ]


def pair_legs(event: AnyEvent, legs: list[tuple[AccountKey, int]], first_leg: int = 0) -> list[Transfer]:
    """Pairs what leaves with what arrives, per asset, in order. Raises LedgerMismatch unless they are equal."""
    reference = _reference(event)
    transfers = []
    for asset in dict.fromkeys(key.asset for key, _ in legs):
        leaving = [[key, -amount] for key, amount in legs if key.asset == asset and amount < 0]
        for credit, amount in legs:
            if credit.asset != asset:
                continue
            while amount > 0:
                if not leaving:
                    raise LedgerMismatch(event.seq, f"{event.type}: {amount} {asset} come from nowhere")
                part = min(amount, leaving[0][1])
                leg = first_leg + len(transfers)
                transfers.append(
                    Transfer(event.seq, leg, event.ts_ms, event.type, reference, leaving[0][0], credit, part)
                )
                amount -= part
                leaving[0][1] -= part
                if not leaving[0][1]:
                    leaving.pop(0)
        if leaving:
            raise LedgerMismatch(event.seq, f"{event.type}: {leaving[0][1]} {asset} go nowhere")
    return transfers


def digest_balances(balances: Mapping[tuple[str, str], Balance]) -> str:
    """Returns the SHA-256 over all balances, as the engine takes it for `balance_digest`."""
    lines = (f"{account}|{asset}|{held[0]}|{held[1]}\n" for (account, asset), held in sorted(balances.items()))
    return sha256("".join(lines).encode()).hexdigest()


def _plan_event(
    plan: Plan,
    event: AnyEvent,
    balances: Mapping[tuple[str, str], Balance],
    delivered: Mapping[int, Delivered],
) -> None:
    first_leg = len(plan.transfers)
    plan.claims.take(event)
    if _moves_money(type(event)) and event.postings:
        plan.transfers += pair_legs(event, money_legs(event))
        for posting in event.postings:
            _check_posting(event, posting, balances, plan.balances)
    match event:
        case PositionSettled():
            before = plan.delivered.get(event.position_id) or delivered.get(event.position_id)
            plan.delivered[event.position_id] = now = Delivered(event.delivered_gpu_s, event.excused_gpu_s)
            legs = gpu_time_legs(event, before, now)
            plan.transfers += pair_legs(event, legs, len(plan.transfers) - first_leg)
        case event if isinstance(event, TRANSFERS):
            plan.outcomes.append(Outcome(event.transfer_id, None, "posted", None, event.seq))
        case CommandRejected(source="ledger"):
            plan.outcomes.append(Outcome(None, event.number, "refused", event.code, event.seq))
        case BalanceDigest():
            _check_digest(event, {**balances, **plan.balances})


def _reference(event: AnyEvent) -> str:
    name = _reference_field(type(event))
    return f"{name.removesuffix('_id')}:{getattr(event, name)}" if name else ""


@cache
def _reference_field(kind: type[AnyEvent]) -> str | None:
    return next((name for name in REFERENCES if name in kind.model_fields), None)


@cache
def _moves_money(kind: type[AnyEvent]) -> bool:
    return "postings" in kind.model_fields


def _check_posting(
    event: AnyEvent,
    posting: Posting,
    before: Mapping[tuple[str, str], Balance],
    after: dict[tuple[str, str], Balance],
) -> None:
    key = (posting.account, posting.asset)
    available, held = after.get(key) or before.get(key) or (0, 0)
    ours = Balance(available + posting.available_delta, held + posting.held_delta)
    if ours != (posting.available, posting.held):
        theirs = f"{posting.available} available and {posting.held} held"
        raise LedgerMismatch(event.seq, f"{'/'.join(key)}: the engine has {theirs}, the ledger {ours[0]} and {ours[1]}")
    after[key] = ours


def _check_digest(event: BalanceDigest, balances: Mapping[tuple[str, str], Balance]) -> None:
    ours = digest_balances(balances)
    if ours != event.digest:
        raise LedgerMismatch(event.seq, f"digest of all balances: the engine has {event.digest}, the ledger {ours}")
