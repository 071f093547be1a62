"""What an operator declares of his nodes: maintenance before it is sold, and recalls of interruptible GPUs.

By the account's API key, or by the node's own: its agent may take back what it has leased out, and declare its own
maintenance. What it has signed is taken once.
"""

import secrets
from hashlib import sha256
from typing import Annotated

from fastapi import Depends, FastAPI, Request, Response

from schemas.base import Model
from schemas.declarations import NodeMaintenance, NodeRecall
from schemas.delivery import (
    GpusRecalled,
    MaintenanceDeclared,
    MaintenanceView,
    RecallForm,
    RecallView,
    TimeWindow,
)
from schemas.ids import tier_of
from schemas.nodes import SignedMessage
from services.delivery.edge_api import body_of, read_body
from services.delivery.effects import Effects, now_ms
from services.delivery.once import answer_once
from services.delivery.rows import Position
from services.delivery.settings import Settings, notice_ms
from services.delivery.signatures import signed_node
from services.delivery.store import Store
from services.kit.auth import Authenticator, Caller, public
from services.kit.http import ProblemError
from services.kit.idempotency import IdempotencyKey, attempt

INTERRUPTIBLE_TIER = "I"
RUNNING = ("open", "locked")
JSON = "application/json"


def check_window(window: TimeWindow, at_ms: int, settings: Settings) -> None:
    """Raises ProblemError for a window of maintenance that is none, too long, or comes too soon."""
    if window.end_ms <= window.start_ms:
        raise ProblemError("malformed_request", "end_ms is not after start_ms", 422)
    if window.end_ms - window.start_ms > settings.maintenance_ms_max:
        raise ProblemError("malformed_request", f"a window lasts at most {settings.maintenance_ms_max} ms", 422)
    if window.start_ms < at_ms + settings.maintenance_ahead_ms:
        earliest_ms = at_ms + settings.maintenance_ahead_ms
        raise ProblemError("malformed_request", f"maintenance begins at the earliest at {earliest_ms}", 422)


def recall_start_ms(form: RecallForm, position: Position, at_ms: int, period_ms: int) -> int:
    """Returns from when a recall counts. Raises ProblemError for one that cannot be."""
    if tier_of(position.contract) != INTERRUPTIBLE_TIER:
        raise ProblemError("conflict", f"position {form.position_id} is not interruptible")
    if position.state not in RUNNING or position.end_ms <= at_ms:
        raise ProblemError("conflict", f"position {form.position_id} is over")
    if not set(form.gpus) <= set(position.gpus):
        raise ProblemError(
            "conflict", f"position {form.position_id} does not have these GPUs; before the gate name none"
        )
    from_ms = at_ms + notice_ms(period_ms) if form.from_ms is None else form.from_ms
    if from_ms < at_ms:
        raise ProblemError("malformed_request", "from_ms is in the past", 422)
    return from_ms


async def declare_maintenance(
    store: Store, settings: Settings, node_id: str, window: TimeWindow, maintenance_id: str, at_ms: int
) -> MaintenanceView:
    """Writes a window down and tells everyone; the same id again changes nothing. Raises ProblemError."""
    span = {"start_ms": window.start_ms, "end_ms": window.end_ms}
    view = MaintenanceView(maintenance_id=maintenance_id, **span)
    if await store.row("find_maintenance", maintenance_id) is not None:
        return view
    check_window(window, at_ms, settings)
    known = await store.rows("maintenance_to_come", node_id, at_ms, settings.maintenance_windows_max)
    if len(known) == settings.maintenance_windows_max:
        raise ProblemError("conflict", f"the node has {len(known)} windows declared already")
    sold = await store.positions.sold_between(node_id, window.start_ms, window.end_ms)
    if sold is not None:
        raise ProblemError("conflict", f"position {sold} was sold in this window already")
    await store.run("insert_maintenance", maintenance_id, node_id, *span.values(), at_ms)
    await store.publish(MaintenanceDeclared, node_id, at_ms, maintenance_id=maintenance_id, **span)
    return view


async def recall_gpus(store: Store, node_id: str, form: RecallForm, recall_id: str, at_ms: int) -> RecallView:
    """Writes a recall down and tells everyone; the same id again changes nothing. Raises ProblemError."""
    position = await store.positions.find(form.position_id)
    if position is None or position.node != node_id:
        raise ProblemError("not_found", f"the node has no position {form.position_id}")
    period_ms, known = position.end_ms - position.start_ms, await store.row("find_recall", recall_id)
    if known is not None:
        from_ms, at_ms = known["from_ms"], known["declared_ms"]
    else:
        from_ms = recall_start_ms(form, position, at_ms, period_ms)
    view = RecallView(
        recall_id=recall_id,
        position_id=form.position_id,
        gpus=form.gpus,
        from_ms=from_ms,
        noticed=from_ms - at_ms >= notice_ms(period_ms),
    )
    if known is None:
        await store.run("insert_recall", recall_id, form.position_id, list(form.gpus), from_ms, at_ms)
        fields = view.model_dump() | {"contract": position.contract}
        await store.publish(GpusRecalled, node_id, at_ms, **fields)
    return view


def add_operator_routes(app: FastAPI, settings: Settings, effects: Effects, authenticator: Authenticator) -> None:
    """Adds what the account of a node may declare."""
    operate = Annotated[Caller, Depends(authenticator.require("operate"))]

    @app.post("/v1/nodes/{node_id}/maintenance", status_code=201, response_model=MaintenanceView)
    async def declare(
        node_id: str, window: TimeWindow, caller: operate, idempotency_key: IdempotencyKey = None
    ) -> Response:
        maintenance_id = f"mt-{secrets.token_hex(8)}"
        asked = attempt(caller.account, idempotency_key, f"maintenance {node_id}", window.canonical())

        async def work(store: Store) -> MaintenanceView:
            await _own_node(store, node_id, caller)
            return await declare_maintenance(store, settings, node_id, window, maintenance_id, now_ms())

        return await answer_once(effects, asked, work, 201, node=lambda _: node_id)

    @app.post("/v1/nodes/{node_id}/recalls", status_code=201, response_model=RecallView)
    async def recall(
        node_id: str, form: RecallForm, caller: operate, idempotency_key: IdempotencyKey = None
    ) -> Response:
        asked = attempt(caller.account, idempotency_key, f"recall {node_id}", form.canonical())

        async def work(store: Store) -> RecallView:
            await _own_node(store, node_id, caller)
            return await recall_gpus(store, node_id, form, f"rc-{secrets.token_hex(8)}", now_ms())

        return await answer_once(effects, asked, work, 201, node=lambda _: node_id)


def add_node_declaration_routes(app: FastAPI, settings: Settings, effects: Effects) -> None:
    """Adds the agent's way: signed with the node's key, for that node alone. A repeat is answered as the first one."""

    @app.post(
        "/v1/nodes/{node_id}/signed-maintenance",
        status_code=201,
        response_model=MaintenanceView,
        openapi_extra=body_of(NodeMaintenance),
    )
    @public
    async def declare_by_agent(node_id: str, request: Request) -> Response:
        message = await read_body(request, NodeMaintenance)
        await signed_node(effects.pool, node_id, message)
        window = TimeWindow(start_ms=message.start_ms, end_ms=message.end_ms)
        async with effects.transaction() as store:
            return _json(await declare_maintenance(store, settings, node_id, window, id_of("mt", message), now_ms()))

    @app.post(
        "/v1/nodes/{node_id}/signed-recalls",
        status_code=201,
        response_model=RecallView,
        openapi_extra=body_of(NodeRecall),
    )
    @public
    async def recall_by_agent(node_id: str, request: Request) -> Response:
        message = await read_body(request, NodeRecall)
        await signed_node(effects.pool, node_id, message)
        form = RecallForm(position_id=message.position_id, gpus=message.gpus, from_ms=message.from_ms)
        async with effects.transaction() as store:
            return _json(await recall_gpus(store, node_id, form, id_of("rc", message), now_ms()))


def id_of(prefix: str, message: SignedMessage) -> str:
    """Names what a signed message declares, the same however often it comes."""
    return f"{prefix}-{sha256(message.signature.encode()).hexdigest()[:16]}"


async def _own_node(store: Store, node_id: str, caller: Caller) -> None:
    node = await store.find_node(node_id)
    if node is None or node.account != caller.account:
        raise ProblemError("not_found", f"you have no node {node_id}")


def _json(view: Model) -> Response:
    return Response(view.canonical(), 201, media_type=JSON)
