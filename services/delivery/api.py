"""HTTP for users: nodes and inspections for everyone; receipts, meter records and access for a position's parties."""

import secrets
from typing import Annotated

from fastapi import Depends, FastAPI, Query, Response

from schemas.base import Model
from schemas.delivery import (
    InspectionNonce,
    InspectionView,
    MeterRecordView,
    NodeAudited,
    NodeAuditForm,
    NodeRetirement,
    NodeReview,
)
from schemas.delivery import NodeView as NodeFacts
from schemas.ids import AccountId
from schemas.nodes import InspectionReport, NodeReported, Report
from schemas.receipts import ReceiptFile, ReceiptKey, key_id_of
from services.delivery.effects import Effects, now_ms
from services.delivery.level_reviews import note_audit
from services.delivery.moving import Moving
from services.delivery.node_views import node_view, node_views
from services.delivery.nodes import BARRED, take_down
from services.delivery.once import answer_once
from services.delivery.positions import PositionId, RecentPositions, position_of
from services.delivery.receipts import receipt_file
from services.delivery.report_records import unpack_record
from services.delivery.settings import Settings
from services.delivery.store import Store, transaction
from services.kit.auth import Authenticator, Caller, public
from services.kit.http import ProblemError
from services.kit.idempotency import Asked, IdempotencyKey, asking, attempt, once
from services.kit.keys import load_private_key, public_hex
from services.kit.store import Pool

JSON = "application/json"
LAST_POSITION = 2**63 - 1


def add_public_routes(app: FastAPI, settings: Settings, pool: Pool) -> None:
    """Adds what everyone may read."""
    rows_max = settings.delivery_page_rows_max

    @app.get("/v1/nodes")
    @public
    async def list_nodes(
        cursor: str = "",
        limit: Annotated[int, Query(ge=1, le=rows_max)] = rows_max,
        account: AccountId | None = None,
    ) -> dict[str, object]:
        store = Store(pool)
        rows = await store.rows("nodes_page", cursor, limit, account)
        items = [view.model_dump(mode="json") for view in await node_views(store, settings, rows)]
        return {"items": items, "cursor": rows[-1]["node_id"] if len(rows) == limit else None}

    @app.get("/v1/nodes/{node_id}", response_model=NodeFacts)
    @public
    async def show_node(node_id: str) -> Response:
        store = Store(pool)
        row = await store.row("find_node", node_id)
        if row is None:
            raise ProblemError("not_found", f"there is no node {node_id}")
        return _json(await node_view(store, settings, row))

    @app.get("/v1/inspections/{inspection_id}", response_model=InspectionView)
    @public
    async def show_inspection(inspection_id: str) -> Response:
        stored = await Store(pool).hardware.inspection(inspection_id)
        if stored is None:
            raise ProblemError("not_found", f"there is no inspection {inspection_id}")
        view = InspectionView(
            inspection_id=inspection_id,
            account=stored.account,
            received_ms=stored.received_ms,
            report=InspectionReport.model_validate_json(stored.report),
        )
        return _json(view)


def add_party_routes(
    app: FastAPI, settings: Settings, pool: Pool, authenticator: Authenticator, recent: RecentPositions
) -> None:
    """Adds what the parties of a position may read, by their API keys."""
    receipt_key = load_private_key(settings.keys_dir, "delivery")
    read = Annotated[Caller, Depends(authenticator.require("read"))]
    rows_max = settings.delivery_page_rows_max

    @app.get("/v1/receipts/key", response_model=ReceiptKey)
    @public
    async def show_receipt_key() -> Response:
        known = public_hex(receipt_key)
        return _json(ReceiptKey(key_id=key_id_of(known), public_key=known))

    @app.get("/v1/receipts")
    async def list_receipts(
        caller: read,
        cursor: Annotated[int, Query(ge=1, le=LAST_POSITION)] = LAST_POSITION,
        limit: Annotated[int, Query(ge=1, le=rows_max)] = rows_max,
        revisions: bool = False,
    ) -> Response:
        store = Store(pool)
        receipts = await store.positions.receipts_page(caller.account, cursor, limit)
        after = str(receipts[-1].position_id).encode() if len(receipts) == limit else b"null"
        if revisions:
            receipts = await store.positions.all_receipts_of([each.position_id for each in receipts])
        items = b",".join(each.document for each in receipts)
        return Response(b'{"items":[%s],"cursor":%s}' % (items, after), media_type=JSON)

    @app.get("/v1/receipts/{position_id}")
    async def show_receipt(position_id: PositionId, caller: read) -> Response:
        stored = await Store(pool).positions.receipt(position_id)
        if stored is None or caller.account not in stored.parties:
            raise ProblemError("not_found", f"you have no receipt for position {position_id}")
        return Response(stored.document, media_type=JSON)

    @app.get("/v1/receipts/{position_id}/revisions")
    async def list_revisions(position_id: PositionId, caller: read) -> Response:
        stored = await Store(pool).positions.receipt_revisions(position_id)
        if not stored or caller.account not in stored[0].parties:
            raise ProblemError("not_found", f"you have no receipt for position {position_id}")
        return Response(b'{"items":[%s]}' % b",".join(each.document for each in stored), media_type=JSON)

    @app.get("/v1/receipts/{position_id}/file", response_model=ReceiptFile)
    async def show_receipt_file(
        position_id: PositionId, caller: read, revision: Annotated[int | None, Query(ge=1, le=1_000)] = None
    ) -> Response:
        store = Store(pool)
        stored = await store.positions.receipt(position_id, revision)
        if stored is None or caller.account not in stored.parties:
            raise ProblemError("not_found", f"you have no such receipt for position {position_id}")
        return _json(await receipt_file(store, receipt_key, stored.receipt))

    @app.get("/v1/positions/{position_id}/meter", response_model=MeterRecordView)
    async def show_meter(position_id: PositionId, caller: read) -> Response:
        await recent.wait_for(position_id)
        return _json(await _meter_record(Store(pool), position_id, caller))

    @app.get("/v1/positions/{position_id}/meter/reports", response_model=list[Report])
    async def show_reports(position_id: PositionId, caller: read) -> Response:
        await recent.wait_for(position_id)
        store = Store(pool)
        inputs = (await _meter_record(store, position_id, caller)).inputs
        rows = await store.rows("records_by_seq", inputs.node, [report.seq for report in inputs.reports])
        reports = (NodeReported.model_validate_json(unpack_record(row["record"])).report.canonical() for row in rows)
        return Response(b"[%s]" % b",".join(reports), media_type=JSON)

    @app.post("/v1/inspections/nonces", status_code=201, response_model=InspectionNonce)
    async def give_nonce(asked: Annotated[Asked, Depends(asking(authenticator, "read"))]) -> Response:
        async with transaction(pool) as store:

            async def work() -> str:
                given = InspectionNonce(nonce=secrets.token_hex(32), expires_ms=now_ms() + settings.inspection_nonce_ms)
                await store.hardware.insert_nonce(given.nonce, asked.caller.account, given.expires_ms)
                return given.model_dump_json()

            return await once(store.connection, asked.attempt, work, 201)


def add_retirement_route(
    app: FastAPI, settings: Settings, effects: Effects, moving: Moving, authenticator: Authenticator
) -> None:
    """Adds what an account decides about its own nodes."""
    operator = Annotated[Caller, Depends(authenticator.require("operate"))]

    @app.post("/v1/nodes/{node_id}/retire", response_model=NodeFacts)
    async def retire(
        node_id: str, form: NodeRetirement, caller: operator, idempotency_key: IdempotencyKey = None
    ) -> Response:
        asked = attempt(caller.account, idempotency_key, f"retire {node_id}", form.canonical())

        async def work(store: Store) -> NodeFacts:
            await moving.retire(store, node_id, caller.account, form.release_to or caller.account)
            return await node_view(store, settings, await store.row("find_node", node_id))

        return await answer_once(effects, asked, work, node=lambda _: node_id)


def add_admin_routes(app: FastAPI, settings: Settings, effects: Effects, authenticator: Authenticator) -> None:
    """Adds what only a person of the venue may decide."""
    admin = Annotated[Asked, Depends(asking(authenticator, "admin"))]

    @app.post("/v1/nodes/{node_id}/review", response_model=NodeFacts)
    async def review(node_id: str, form: NodeReview, asked: admin) -> Response:
        async def work(store: Store) -> NodeFacts:
            node = await store.node(node_id, lock=True)
            if form.decision == "release" and node.state not in BARRED:
                raise ProblemError("conflict", f"the node is {node.state}, there is nothing to release")
            state = "enrolled" if form.decision == "release" else "banned"
            await take_down(store, node, state, form.reason, now_ms())
            await store.run("forget_doubts", node_id)
            return await node_view(store, settings, await store.row("find_node", node_id))

        return await answer_once(effects, asked.attempt, work, node=lambda _: node_id)

    @app.post("/v1/nodes/{node_id}/audits", response_model=NodeFacts)
    async def audit(node_id: str, form: NodeAuditForm, asked: admin) -> Response:
        async def work(store: Store) -> NodeFacts:
            node, time_ms = await store.node(node_id, lock=True), now_ms()
            if node.account == asked.caller.account:
                raise ProblemError("not_yours", "an account does not audit its own nodes")
            fields = dict(form) | {"audited_by": asked.caller.account}
            await note_audit(store, await store.publish(NodeAudited, node_id, time_ms, **fields))
            return await node_view(store, settings, await store.row("find_node", node_id))

        return await answer_once(effects, asked.attempt, work, node=lambda _: node_id)


async def _meter_record(store: Store, position_id: int, caller: Caller) -> MeterRecordView:
    position = await position_of(store, position_id, caller.account, ("buyer", "operator"))
    settlement = await store.positions.settlement(position_id)
    if settlement is None:
        raise ProblemError("not_found", f"position {position_id} is not metered yet", retryable=True)
    return MeterRecordView(
        position_id=position_id,
        simulated=position.simulated,
        revision=settlement.revision,
        meter_digest=settlement.digest,
        inputs=settlement.meter_inputs,
        outcome=settlement.meter_outcome,
    )


def _json(view: Model) -> Response:
    return Response(view.canonical(), media_type=JSON)
