"""What an operator declares of his nodes: maintenance before it is sold, and recalls of interruptible GPUs."""

import secrets
from collections.abc import Mapping
from typing import Annotated

from fastapi import Depends, FastAPI, Response

from schemas.delivery import (
    GpusRecalled,
    MaintenanceDeclared,
    MaintenanceView,
    RecallForm,
    RecallView,
    TimeWindow,
)
from schemas.ids import tier_of
from services.delivery.effects import Effects, now_ms
from services.delivery.settings import Settings, notice_ms
from services.delivery.store import Store
from services.kit.auth import Authenticator, Caller
from services.kit.http import ProblemError

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


def recall_start_ms(form: RecallForm, position: Mapping, at_ms: int, period_ms: int) -> int:
    """Returns from when a recall counts. Raises ProblemError for one that cannot be."""
    if tier_of(position["contract"]) != INTERRUPTIBLE_TIER:
        raise ProblemError("conflict", f"position {form.position_id} is not interruptible")
    if position["state"] not in RUNNING or position["end_ms"] <= at_ms:
        raise ProblemError("conflict", f"position {form.position_id} is over")
    if not set(form.gpus) <= set(position["gpus"]):
        raise ProblemError(
            "conflict", f"position {form.position_id} does not have these GPUs; before the gate name none"
        )
    from_ms = at_ms + notice_ms(period_ms) if form.from_ms is None else form.from_ms
    if from_ms < at_ms:
        raise ProblemError("malformed_request", "from_ms is in the past", 422)
    return from_ms


def add_operator_routes(app: FastAPI, settings: Settings, effects: Effects, authenticator: Authenticator) -> None:
    """Adds what the account of a node may declare."""
    operate = Annotated[Caller, Depends(authenticator.require("operate"))]

    @app.post("/v1/nodes/{node_id}/maintenance", status_code=201, response_model=MaintenanceView)
    async def declare_maintenance(node_id: str, window: TimeWindow, caller: operate) -> Response:
        at_ms, maintenance_id = now_ms(), f"mt-{secrets.token_hex(8)}"
        check_window(window, at_ms, settings)
        async with effects.transaction() as store:
            await _own_node(store, node_id, caller)
            known = await store.rows("maintenance_to_come", node_id, at_ms, settings.maintenance_windows_max)
            if len(known) == settings.maintenance_windows_max:
                raise ProblemError("conflict", f"the node has {len(known)} windows declared already")
            sold = await store.value("sold_in_window", node_id, window.start_ms, window.end_ms)
            if sold is not None:
                raise ProblemError("conflict", f"position {sold} was sold in this window already")
            span = {"start_ms": window.start_ms, "end_ms": window.end_ms}
            await store.run("insert_maintenance", maintenance_id, node_id, *span.values(), at_ms)
            await store.tell(MaintenanceDeclared, node_id, at_ms, maintenance_id=maintenance_id, **span)
        return Response(MaintenanceView(maintenance_id=maintenance_id, **span).canonical(), 201, media_type=JSON)

    @app.post("/v1/nodes/{node_id}/recalls", status_code=201, response_model=RecallView)
    async def recall(node_id: str, form: RecallForm, caller: operate) -> Response:
        at_ms = now_ms()
        async with effects.transaction() as store:
            await _own_node(store, node_id, caller)
            position = await store.row("find_position", form.position_id)
            if position is None or position["node_id"] != node_id:
                raise ProblemError("not_found", f"the node has no position {form.position_id}")
            period_ms = position["end_ms"] - position["start_ms"]
            view = RecallView(
                recall_id=f"rc-{secrets.token_hex(8)}",
                position_id=form.position_id,
                gpus=form.gpus,
                from_ms=(from_ms := recall_start_ms(form, position, at_ms, period_ms)),
                noticed=from_ms - at_ms >= notice_ms(period_ms),
            )
            await store.run("insert_recall", view.recall_id, form.position_id, list(form.gpus), from_ms, at_ms)
            told = view.model_dump() | {"contract": position["contract"]}
            await store.tell(GpusRecalled, node_id, at_ms, **told)
        return Response(view.canonical(), 201, media_type=JSON)


async def _own_node(store: Store, node_id: str, caller: Caller) -> None:
    row = await store.row("find_node", node_id)
    if row is None or row["account"] != caller.account:
        raise ProblemError("not_found", f"you have no node {node_id}")
