"""Tells a node where its chain stands, and lets it go on behind reports that neither side has any more.

A node asks after each start, so that a state folder from a backup signs no number twice. It may leave numbers out: that
proves nothing and costs it their time. It can never go back: a number that was taken stays taken.
"""

import secrets
from dataclasses import replace

from schemas.nodes import ChainMoved, ChainReply, ChainRequest
from services.delivery.domain import NodeBarred, NotThisNode
from services.delivery.effects import now_ms
from services.delivery.leases import Lease, must_stop, start_of, stop_of
from services.delivery.moving import check_not_out
from services.delivery.reports import Chain, give_nonce
from services.delivery.settings import Settings
from services.delivery.signatures import check_signature
from services.delivery.store import Store, transaction
from services.kit.outbox import PromptPublisher
from services.kit.store import Pool


class ChainPlaces:
    """Answers `ChainRequest`s."""

    def __init__(self, settings: Settings, pool: Pool, publisher: PromptPublisher):
        self._settings, self._pool, self._publisher = settings, pool, publisher

    async def place(self, node_id: str, request: ChainRequest) -> ChainReply:
        """Return where the node's chain stands, moved ahead where its base lies beyond. Raise a DeliveryError."""
        if request.agent != node_id:
            raise NotThisNode(f"the path names {node_id}, the request {request.agent}")
        received_ms = now_ms()
        async with transaction(self._pool) as store:
            chain, node = await store.chain(node_id), await store.node(node_id)
            check_signature(request, node.public_key)
            try:
                check_not_out(node)
            except NodeBarred as refusal:
                refusal.members |= {"stop_leases": await self._stops(store, node_id, received_ms)}
                raise
            before = chain
            if request.base_seq > chain.seq:
                chain = await self._move(store, node_id, chain, request, received_ms)
            if received_ms - chain.nonce_issued_ms > self._settings.limits(node.period_ms).interval_ms:
                chain = give_nonce(chain, secrets.token_hex(32), received_ms)
            if chain != before:
                await store.save_chain(node_id, chain)
            leases = await store.leases.of_node(node_id)
        await self._publisher.published()
        return ChainReply(
            seq=chain.seq,
            hash=chain.hash,
            server_nonce=chain.nonce,
            server_time_ms=received_ms,
            live_leases=tuple(start_of(each, admission) for each, admission in leases if _is_live(each, received_ms)),
        )

    async def _stops(self, store: Store, node_id: str, time_ms: int) -> list[dict]:
        """Return what a barred node still has to close: it hears of it nowhere else, and its buyers must not stay."""
        leases = await store.leases.of_node(node_id)
        return [stop_of(lease).model_dump(mode="json") for lease, _ in leases if must_stop(lease, time_ms)]

    async def _move(self, store: Store, node_id: str, chain: Chain, request: ChainRequest, received_ms: int) -> Chain:
        await store.run("drop_waiting", node_id)
        moved = ChainMoved(
            node_id=node_id,
            received_ms=received_ms,
            from_seq=chain.seq,
            seq=request.base_seq,
            hash=request.base_hash,
        )
        await store.record(node_id, moved)
        return replace(chain, seq=request.base_seq, hash=request.base_hash)


def _is_live(lease: Lease, time_ms: int) -> bool:
    """Say whether a lease's buyer is in, or should be."""
    return lease.is_open and lease.state in ("ready", "started") and lease.ends_ms > time_ms
