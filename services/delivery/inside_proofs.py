"""What a proof from inside a lease leads to (layer L6, the secret shopper).

Of an ordinary buyer it is evidence for himself: he could fail on purpose. Of an account that the venue rents with, a
shopper, it counts like any proof that a node failed. One that passes changes nothing that an operator could see, so
that no account gives itself away.
"""

from schemas.delivery import ChallengeFailed
from schemas.nodes import ChallengeJudged
from services.delivery import nodes
from services.delivery.challenges import first_reason, is_honest_failure, suspicion
from services.delivery.claw_back import claw_back_from_inside
from services.delivery.level_reviews import fall_to_proven
from services.delivery.settings import Settings
from services.delivery.store import Node, Store

RENTER = "renter"


async def judge_from_inside(store: Store, settings: Settings, node: Node, record: ChallengeJudged) -> None:
    """Takes what a shopper found; the node may be asked outside as often as it likes, that clears nothing."""
    lease, verdict, time_ms = await store.leases.find(record.lease_id), record.verdict, record.received_ms
    if lease is None or lease.buyer not in settings.shoppers or node.state in nodes.OUT:
        return
    if verdict.passed:
        await store.run("clear_inside_doubts", node.node_id)
        return
    doubt = suspicion(verdict)
    if is_honest_failure(verdict) and not doubt:
        return  # late or given up: that may be the shopper's own doing
    reason = f"inside_{doubt or first_reason(verdict)}"
    await store.challenges.put_fact(node.node_id, verdict)
    await store.challenges.put_proofs(node.node_id, verdict)
    fields = {"challenge_id": verdict.challenge_id, "cause": record.cause, "band": verdict.band}
    await store.publish(ChallengeFailed, node.node_id, time_ms, reason=first_reason(verdict), **fields)
    node = await fall_to_proven(store, node, time_ms)
    if doubt and await store.value("count_inside_doubt", node.node_id) < settings.score_failures_max:
        failed = [gpu.gpu_uuid for gpu in verdict.gpus if not gpu.passed]
        await nodes.withdraw_unproven(store, node, failed, reason, time_ms)
        return
    await claw_back_from_inside(store, node, verdict, time_ms, settings.shoppers)
    await nodes.take_down(store, node, "quarantined", reason, time_ms)
