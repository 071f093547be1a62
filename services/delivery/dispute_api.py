"""HTTP for disputes: opened by a position's parties or its node's agent, read by both, decided by an arbiter."""

from typing import Annotated

from fastapi import Depends, FastAPI, Query, Request, Response

from schemas.base import Model
from schemas.disputes import BlockEnding, DisputeDecision, DisputeForm, DisputeState, DisputeView, NodeDispute
from schemas.ids import Identifier, NodeId
from schemas.nodes import signing_bytes
from services.delivery import disputes, endings
from services.delivery.dispute_rules import side_of
from services.delivery.domain import BadSignature, NotThisNode
from services.delivery.edge_api import body_of, read_body
from services.delivery.effects import Effects, now_ms
from services.delivery.once import answer_once
from services.delivery.positions import PositionId, RecentPositions
from services.delivery.rows import Dispute
from services.delivery.settings import Settings
from services.delivery.store import Store
from services.kit.auth import Authenticator, Caller, public
from services.kit.cursors import read_cursor, write_cursor
from services.kit.http import ProblemError
from services.kit.idempotency import Asked, asking
from services.kit.keys import signature_holds
from services.kit.rows import show_rows

JSON = "application/json"
LAST_MS = 2**63 - 1
PARTY_SCOPES = ("trade", "operate")


def add_dispute_routes(
    app: FastAPI, settings: Settings, effects: Effects, authenticator: Authenticator, recent: RecentPositions
) -> None:
    """Adds what parties do; whoever is none of them finds no such position and no such dispute."""
    read = Annotated[Caller, Depends(authenticator.require("read"))]
    party = Annotated[Asked, Depends(asking(authenticator, *PARTY_SCOPES))]
    rows_max = settings.delivery_page_rows_max

    @app.post("/v1/positions/{position_id}/disputes", status_code=201, response_model=DisputeView)
    async def open_dispute(position_id: PositionId, form: DisputeForm, asked: party) -> Response:
        account, key = asked.caller.account, asked.attempt.key
        if key is None:
            raise ProblemError("malformed_request", "Idempotency-Key: a dispute needs one")
        await recent.wait_for(position_id)

        async def work(store: Store) -> DisputeView:
            position = await store.positions.find(position_id)
            side = side_of(position, account) if position else None
            if side is None:
                raise ProblemError("not_found", f"you have no position {position_id}")
            opening = (side, account, key, form)
            return disputes.view_of(await disputes.open_dispute(store, settings, position, *opening, now_ms()))

        return await answer_once(effects, asked.attempt, work, 201, node=_node_of)

    @app.post("/v1/blocks/{block_id}/end", status_code=202, response_model=BlockEnding)
    async def end_block(block_id: PositionId, asked: party) -> Response:
        first_node = ""

        async def work(store: Store) -> BlockEnding:
            nonlocal first_node
            outage_ms, first_node = await endings.end_block(store, settings, block_id, asked.caller.account, now_ms())
            return BlockEnding(block_id=block_id, outage_ms=outage_ms)

        return await answer_once(effects, asked.attempt, work, 202, node=lambda _: first_node)

    @app.get("/v1/disputes")
    async def list_disputes(
        caller: read,
        state: DisputeState | None = None,
        limit: Annotated[int, Query(ge=1, le=rows_max)] = rows_max,
        cursor: Annotated[str | None, Query(max_length=128, description="As the last page gave it.")] = None,
    ) -> dict[str, object]:
        account = None if is_arbiter(caller) else caller.account
        after = (LAST_MS, "") if cursor is None else read_cursor(cursor, int, str)
        found = await Store(effects.pool).disputes.page(account, state, limit, *after)
        last = found[-1] if len(found) == limit else None
        return {
            "items": show_rows(found, lambda dispute: disputes.view_of(dispute).model_dump(mode="json")),
            "cursor": write_cursor(last.opened_ms, last.dispute_id) if last else None,
        }

    @app.get("/v1/disputes/{dispute_id}", response_model=DisputeView)
    async def show_dispute(dispute_id: Identifier, caller: read) -> Response:
        return _json(disputes.view_of(await _dispute(Store(effects.pool), dispute_id, caller)))

    @app.post("/v1/disputes/{dispute_id}/withdraw", response_model=DisputeView)
    async def withdraw(dispute_id: Identifier, asked: party) -> Response:
        async def work(store: Store) -> DisputeView:
            dispute = await _dispute(store, dispute_id, asked.caller)
            if asked.caller.account != dispute.account:
                raise ProblemError("not_yours", "a dispute is withdrawn by whoever opened it")
            await disputes.withdraw(store, dispute, now_ms())
            return disputes.view_of(await store.disputes.find(dispute_id))

        return await answer_once(effects, asked.attempt, work, node=_node_of)


def add_arbiter_routes(app: FastAPI, settings: Settings, effects: Effects, authenticator: Authenticator) -> None:
    """Adds the arbiter's decision: inputs of the meter, never an amount."""
    arbiter = Annotated[Asked, Depends(asking(authenticator, "arbiter"))]

    @app.post("/v1/disputes/{dispute_id}/decision", response_model=DisputeView, openapi_extra=body_of(DisputeDecision))
    async def decide(dispute_id: Identifier, request: Request, asked: arbiter) -> Response:
        form = await read_body(request, DisputeDecision)

        async def work(store: Store) -> DisputeView:
            dispute = await _dispute(store, dispute_id, asked.caller)
            if asked.caller.account in (dispute.buyer, dispute.operator):
                raise ProblemError("not_yours", "a party of the position cannot be its arbiter")
            await disputes.decide(store, settings, dispute, form.inputs, form.reason, now_ms())
            return disputes.view_of(await store.disputes.find(dispute_id))

        return await answer_once(effects, asked.attempt, work, node=_node_of)


def add_node_dispute_route(app: FastAPI, settings: Settings, effects: Effects) -> None:
    """Adds the agent's way: signed with the node's key, for a position of that node."""

    @app.post("/v1/nodes/{node_id}/disputes", status_code=201, response_model=DisputeView)
    @public
    async def open_by_agent(node_id: str, message: NodeDispute) -> Response:
        if message.agent != node_id:
            raise NotThisNode(f"the message is {message.agent}'s")
        async with effects.transaction() as store:
            node = await store.node(node_id)
            if not signature_holds(node.public_key, message.signature, signing_bytes(message)):
                raise BadSignature("the signature is not the node's")
            position = await store.positions.find(message.position_id)
            if position is None or position.node != node_id:
                raise ProblemError("not_found", f"the node has no position {message.position_id}")
            form = DisputeForm(reason=message.reason, evidence=message.evidence)
            opening = ("operator", position.operator, message.signature, form)
            dispute = await disputes.open_dispute(store, settings, position, *opening, now_ms())
        return _json(disputes.view_of(dispute), 201)


def is_arbiter(caller: Caller) -> bool:
    """Whether the caller may see everybody's disputes."""
    return not caller.scopes.isdisjoint({"arbiter", "admin"})


async def _dispute(store: Store, dispute_id: str, caller: Caller) -> Dispute:
    dispute = await store.disputes.find(dispute_id)
    if dispute is None or not (is_arbiter(caller) or caller.account in (dispute.buyer, dispute.operator)):
        raise ProblemError("not_found", f"you have no dispute {dispute_id}")
    return dispute


def _node_of(view: DisputeView) -> NodeId:
    return view.node


def _json(view: Model, status: int = 200) -> Response:
    return Response(view.canonical(), status, media_type=JSON)
