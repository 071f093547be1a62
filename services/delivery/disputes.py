"""What becomes of disputes: opened in the engine, decided by rules, an arbiter or time, by measuring again.

Nobody gives amounts. A decision is a measurement of the position on what is on record, with an arbiter's inputs in
their place where he gave any; where it says something else than what stands, it is a new revision. Then the dispute is
closed in the engine, and the position may become final.
"""

from hashlib import sha256

from schemas.disputes import ArbiterInputs, Decider, DisputeForm, DisputeView, Side
from schemas.events import CommandRejected, PositionFinalized
from schemas.venue import CloseDispute, OpenDispute
from services.delivery.dispute_records import publish_dispute
from services.delivery.dispute_rules import require_disputable, waits_for_a_person
from services.delivery.domain import DeliveryError
from services.delivery.effects import Effects
from services.delivery.rows import Dispute, Position
from services.delivery.settings import Settings
from services.delivery.settling import differs, is_held, measure_position, send_revision, standing_receipt
from services.delivery.store import Store
from services.delivery.store.disputes import Ending, NewDispute

DISPUTES_PER_TURN = 16
# Where nobody has decided in time, the meter that the contract names stands: the operator's, which the venue checks.
OPERATORS_WORD = ArbiterInputs(differences="operator")


class KeyUsed(DeliveryError):
    """The idempotency key was used for another dispute."""

    code, status = "conflict", 409


class NotOpen(DeliveryError):
    """The dispute is over."""

    code, status = "conflict", 409


class StillApart(DeliveryError):
    """Two meters differ, and the inputs do not say whose word stands."""

    code, status = "difference_held", 409


class UnderWay(DeliveryError):
    """The engine has not answered the last revision yet."""

    code, status, retryable = "unavailable", 503, True


async def open_dispute(
    store: Store,
    settings: Settings,
    position: Position,
    side: Side,
    account: str,
    key: str,
    form: DisputeForm,
    now_ms: int,
) -> Dispute:
    """Opens a dispute, or returns the one that this key opened. Raises NotDisputable or KeyUsed."""
    digest = sha256(f"{account}\n{key}".encode()).hexdigest()[:32]
    disputes = await store.disputes.of_position(position.position_id)
    known = next((each for each in disputes if each.idempotency_key == digest), None)
    if known is not None:
        if (known.reason, known.evidence) != (form.reason, form.evidence):
            raise KeyUsed("this Idempotency-Key was used for another dispute")
        return known
    require_disputable(position, disputes, side, now_ms)
    dispute = await store.disputes.insert(
        NewDispute(
            dispute_id=f"d-{position.position_id}-{side}",
            position_id=position.position_id,
            side=side,
            account=account,
            idempotency_key=digest,
            reason=form.reason,
            evidence=form.evidence,
            opened_ms=now_ms,
            deadline_ms=now_ms + settings.dispute_decide_ms(position.period_ms),
            revision=position.revision,
        )
    )
    await store.command(OpenDispute(position_id=position.position_id, opened_by=side, reason=form.reason))
    await publish_dispute(store, dispute, now_ms)
    return dispute


async def on_refused(store: Store, event: CommandRejected, position_id: int) -> None:
    """The engine refused to open it, mostly because the position had become final meanwhile."""
    for dispute in await store.disputes.open_of_position(position_id):
        if dispute.engine_has:
            continue
        await end(store, dispute, "engine", event.code, "refused", dispute.revision, event.ts_ms)


async def on_final(store: Store, event: PositionFinalized) -> None:
    """What is final (a void contract's position too) is disputed no more."""
    for dispute in await store.disputes.open_of_position(event.position_id):
        await end(store, dispute, "engine", "position_final", "confirmed", dispute.revision, event.ts_ms)


async def decide_due(effects: Effects, settings: Settings, now_ms: int) -> None:
    """Rules look at what was opened; what nobody has decided by its deadline is decided on what is on record."""
    async with effects.transaction() as store:
        for dispute in await store.disputes.to_rule(DISPUTES_PER_TURN):
            revision = await measure_again(store, settings, dispute, now_ms)
            await store.disputes.note_ruled(dispute.dispute_id)
            if await is_apart(store, dispute.position_id):
                continue
            if not waits_for_a_person(dispute.reason, revision is not None):
                await close(store, dispute, "rules", "measured_again", revision, now_ms)
        for dispute in await store.disputes.overdue(now_ms, DISPUTES_PER_TURN):
            if await is_apart(store, dispute.position_id):
                await store.disputes.set_inputs(dispute.dispute_id, OPERATORS_WORD.canonical())
            revision = await measure_again(store, settings, dispute, now_ms)
            await close(store, dispute, "deadline", "nobody_decided", revision, now_ms)


async def decide(
    store: Store, settings: Settings, dispute: Dispute, inputs: ArbiterInputs, reason: str, now_ms: int
) -> None:
    """An arbiter's inputs stand from now on, whatever is measured later. Raises NotOpen."""
    require_open(dispute)
    await store.disputes.set_inputs(dispute.dispute_id, inputs.canonical())
    revision = await measure_again(store, settings, dispute, now_ms, must_decide=True)
    await close(store, dispute, "arbiter", reason, revision, now_ms)


async def withdraw(store: Store, dispute: Dispute, now_ms: int) -> None:
    """Who opened it lets it go. Raises NotOpen or StillApart."""
    require_open(dispute)
    if await is_apart(store, dispute.position_id):
        raise StillApart("two meters differ about the position: the dispute cannot be withdrawn")
    await store.command(CloseDispute(position_id=dispute.position_id, reason="withdrawn"))
    await end(store, dispute, "opener", "withdrawn", "", dispute.revision, now_ms, state="WITHDRAWN")


def require_open(dispute: Dispute) -> None:
    """Raises NotOpen."""
    if dispute.state != "OPEN":
        raise NotOpen(f"dispute {dispute.dispute_id} is {dispute.state}")


async def is_apart(store: Store, position_id: int) -> bool:
    """Whether what two meters differ about is held since the last revision."""
    standing = await standing_receipt(store, position_id)
    return standing.terms is not None and bool(standing.terms.disputed_gpu_s or standing.terms.disputed_used_gpu_s)


async def measure_again(
    store: Store, settings: Settings, dispute: Dispute, now_ms: int, must_decide: bool = False
) -> int | None:
    """Measures the position on what is on record now; returns the new revision, None where it says what stands.

    Raises UnderWay, or StillApart where a decision leaves open whose meter counts.
    """
    position = await store.positions.find(dispute.position_id)
    if position.state != "settled":
        raise UnderWay(f"a revision of position {position.position_id} is under way")
    measured = await measure_position(store, settings, position)
    if must_decide and is_held(measured.outcome):
        raise StillApart("two meters differ about the position: `differences` has to name one of them")
    if not differs(measured.outcome, await standing_receipt(store, position.position_id)):
        return None
    revision = position.revision + 1
    await send_revision(store, settings, position, measured, revision, now_ms)
    return revision


async def close(
    store: Store, dispute: Dispute, decider: Decider, reason: str, revision: int | None, now_ms: int
) -> None:
    """Closes it in the engine, behind the revision that came of it."""
    outcome = "confirmed" if revision is None else "corrected"
    await store.command(CloseDispute(position_id=dispute.position_id, reason=reason))
    await end(store, dispute, decider, reason, outcome, revision or dispute.revision, now_ms)


async def end(
    store: Store,
    dispute: Dispute,
    decider: Decider,
    reason: str,
    outcome: str,
    revision: int,
    now_ms: int,
    state: str = "DECIDED",
) -> None:
    """Writes how it ended, and tells both parties."""
    ending = Ending(state, decider, now_ms, reason, outcome, revision)
    ended = await store.disputes.end(dispute.dispute_id, ending)
    await publish_dispute(store, ended, now_ms)


def view_of(dispute: Dispute) -> DisputeView:
    """Returns what parties and arbiters read."""
    return DisputeView(
        dispute_id=dispute.dispute_id,
        position_id=dispute.position_id,
        contract=dispute.contract,
        node=dispute.node,
        simulated=dispute.simulated,
        buyer=dispute.buyer,
        operator=dispute.operator,
        opened_by=dispute.side,
        reason=dispute.reason,
        evidence=dispute.evidence,
        state=dispute.state,
        opened_ms=dispute.opened_ms,
        deadline_ms=dispute.deadline_ms,
        decided_by=dispute.decided_by,
        decided_ms=dispute.decided_ms,
        decision_reason=dispute.decision_reason,
        inputs=dispute.arbiter_inputs,
        outcome=dispute.outcome,
        revision=dispute.revision,
    )
