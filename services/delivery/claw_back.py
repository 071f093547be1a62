"""What a failed proof takes back: a node's time since each GPU's last passed proof pays nothing, unless it is final.

A proof has failed where its verdict bars the node: wrong work, or odd speeds too often. One that was late, missed, or
spoilt by the venue itself takes nothing. What a node in doubt passes counts here once its doubts have ended. A proof
that was passed outside leases says nothing of what buyers get, so that one that fails inside takes back to the last one
that passed inside.
"""

from collections.abc import Collection, Mapping

from schemas.delivery import DeliveryDisproven, DisprovenTime
from schemas.nodes import ChallengeVerdict
from services.delivery.challenges import VENUE_BUSY
from services.delivery.store import Node, Store


async def claw_back(store: Store, node: Node, verdict: ChallengeVerdict, now_ms: int) -> None:
    """Notes the time of which a failed proof says that nothing was proven; what is not final is measured again.

    That is the time of all the node's GPUs, also of those that were not asked: whoever cheats with one answers for all.
    """
    await _take_back(store, node, verdict, now_ms, await store.challenges.last_passes(node.node_id))


async def claw_back_from_inside(
    store: Store, node: Node, verdict: ChallengeVerdict, now_ms: int, shoppers: Collection[str]
) -> None:
    """Notes the same of a proof that failed for a shopper inside his lease, since a shopper's last one that passed."""
    passes = await store.challenges.last_passes_inside(node.node_id, shoppers)
    await _take_back(store, node, verdict, now_ms, passes)


async def _take_back(
    store: Store, node: Node, verdict: ChallengeVerdict, now_ms: int, passes: Mapping[str, int]
) -> None:
    spared = {gpu.gpu_uuid for gpu in verdict.gpus if gpu.passed or gpu.reason == VENUE_BUSY}
    times = tuple(
        DisprovenTime(challenge_id=verdict.challenge_id, gpu=gpu, start_ms=passed_ms, end_ms=verdict.judged_ms)
        for gpu, passed_ms in passes.items()
        if gpu not in spared and passed_ms < verdict.judged_ms
    )
    if times:
        await note_disproven(store, await store.publish(DeliveryDisproven, node.node_id, now_ms, times=times))


async def note_disproven(store: Store, event: DeliveryDisproven) -> None:
    """Takes down what a failed proof took back."""
    for time in event.times:
        await store.challenges.insert_disproven(event.node, time)
    window = (min(time.start_ms for time in event.times), max(time.end_ms for time in event.times))
    await store.positions.note_change(event.node, *window, event.ts_ms)
