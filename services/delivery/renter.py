"""The renter's meter at the edge: a key that the buyer registers for his lease, and a chain of reports by it."""

import secrets
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, FastAPI, Request, Response

from schemas.base import Model
from schemas.ids import Identifier
from schemas.nodes import RenterJoined, RenterReported, Report, message_hash, signing_bytes
from schemas.renter import MeterKeyForm, PlaceRequest, RenterPlace, renter_agent
from services.delivery.domain import BadSignature, DeliveryError, NotThisNode
from services.delivery.edge_api import body_of, read_body
from services.delivery.effects import Effects, now_ms
from services.delivery.leases import Lease
from services.delivery.reports import (
    Chain,
    check_named_once,
    check_nonce,
    extend_chain,
    first_chain,
    give_nonce,
    place_report,
)
from services.delivery.settings import Settings
from services.delivery.store import Store
from services.delivery.store.renters import Rented, RenterMeter
from services.kit.auth import Authenticator, public
from services.kit.http import ProblemError
from services.kit.idempotency import Asked, asking, once
from services.kit.keys import signature_holds
from services.kit.openapi import REPEATED

JSON = "application/json"
RUNNING = ("pending", "ready", "started")


class KeyTaken(DeliveryError):
    """The lease has a meter key already, or is over."""

    code, status = "conflict", 409


class UnknownMeter(DeliveryError):
    """No meter key was registered for the lease."""

    code, status = "not_found", 404


@dataclass(frozen=True)
class KnownMeter:
    """Whose key signed a message: the meter, and the lease that it is for."""

    rented: Rented
    meter: RenterMeter

    @property
    def lease(self) -> Lease:
        """The lease."""
        return self.rented.lease


def add_renter_routes(app: FastAPI, settings: Settings, effects: Effects, authenticator: Authenticator) -> None:
    """Adds the buyer's registration of a key, and the meter's reports."""
    trade = Annotated[Asked, Depends(asking(authenticator, "trade"))]

    @app.post("/v1/leases/{lease_id}/meter-key", status_code=201, response_model=RenterPlace, responses=REPEATED)
    async def register(lease_id: Identifier, form: MeterKeyForm, asked: trade) -> Response:
        async with effects.transaction() as store:
            known = await store.renters.meter(lease_id)

            async def work() -> str:
                rented = await store.renters.lease(lease_id)
                if rented is None or rented.lease.buyer != asked.caller.account:
                    raise ProblemError("not_found", f"you have no lease {lease_id}")
                meter = await register_key(store, rented.lease, form.public_key, now_ms())
                return place_of(settings, rented, meter.chain, now_ms()).model_dump_json()

            return await once(store.connection, asked.attempt, work, 201 if known is None else 200)

    @app.post("/v1/leases/{lease_id}/place", response_model=RenterPlace, openapi_extra=body_of(PlaceRequest))
    @public
    async def show_place(lease_id: Identifier, request: Request) -> Response:
        question = await read_body(request, PlaceRequest)
        async with effects.transaction() as store:
            known = await known_meter(store, lease_id, question)
            chain = give_nonce(known.meter.chain, secrets.token_hex(32), now_ms())
            await store.renters.save_chain(lease_id, chain)
        return _json(place_of(settings, known.rented, chain, now_ms()))

    @app.post("/v1/leases/{lease_id}/reports", response_model=RenterPlace, openapi_extra=body_of(Report))
    @public
    async def take(lease_id: Identifier, request: Request) -> Response:
        report = await read_body(request, Report)
        async with effects.transaction() as store:
            place = await take_report(store, settings, lease_id, report, now_ms())
        return _json(place)


async def register_key(store: Store, lease: Lease, public_key: str, now_ms: int) -> RenterMeter:
    """Registers a lease's meter key, unless it is registered; returns its meter. Raises KeyTaken."""
    known = await store.renters.meter(lease.lease_id)
    if known is not None:
        if known.public_key != public_key:
            raise KeyTaken(f"lease {lease.lease_id} has another meter key")
        return known
    if lease.state not in RUNNING:
        raise KeyTaken(f"lease {lease.lease_id} is {lease.state}")
    chain = first_chain("", secrets.token_hex(32), now_ms)
    await store.renters.insert(lease.lease_id, public_key, chain)
    facts = {"node_id": lease.node, "lease_id": lease.lease_id, "received_ms": now_ms}
    await store.record(lease.node, RenterJoined(**facts, public_key=public_key))
    return RenterMeter(public_key, chain)


async def known_meter(store: Store, lease_id: str, message: Report | PlaceRequest) -> KnownMeter:
    """Returns the meter whose key signed a message, and its lease. Raises UnknownMeter, NotThisNode or BadSignature."""
    meter, rented = await store.renters.meter(lease_id), await store.renters.lease(lease_id)
    if meter is None or rented is None:
        raise UnknownMeter(f"lease {lease_id} has no meter key")
    if message.agent != renter_agent(lease_id):
        raise NotThisNode(f"the message is {message.agent}'s")
    if not signature_holds(meter.public_key, message.signature, signing_bytes(message)):
        raise BadSignature("the signature is not the meter's")
    return KnownMeter(rented, meter)


async def take_report(store: Store, settings: Settings, lease_id: str, report: Report, now_ms: int) -> RenterPlace:
    """Takes the next report of a renter's chain; a repeat of the last one is answered again. Raises DeliveryError."""
    check_named_once(gpu.uuid for gpu in report.gpus)
    known = await known_meter(store, lease_id, report)
    lease, chain, digest = known.rented.lease, known.meter.chain, message_hash(report)
    limits = settings.limits(known.rented.period_ms)
    verdict = place_report(chain, report, digest, await store.renters.hash_of(lease_id, report.seq), limits)
    if verdict == "early":
        raise ProblemError("conflict", f"report {chain.seq + 1} is next", 409)
    if verdict == "next":
        check_nonce(chain, report, now_ms, limits)
        issued_ms = None if report.queued else chain.nonce_issued_ms
        chain = give_nonce(extend_chain(chain, report, digest, now_ms, limits), secrets.token_hex(32), now_ms)
        facts = {"node_id": lease.node, "lease_id": lease_id, "received_ms": now_ms}
        record = RenterReported(**facts, nonce_issued_ms=issued_ms, report=report)
        await store.renters.insert_report(digest, record)
        await store.renters.save_chain(lease_id, chain)
        await store.record(lease.node, record)
        await store.positions.note_change_of(lease.position_ids, now_ms)
    return place_of(settings, known.rented, chain, now_ms)


def place_of(settings: Settings, rented: Rented, chain: Chain, now_ms: int) -> RenterPlace:
    """Returns what a renter's meter is answered."""
    return RenterPlace(
        lease_id=rented.lease.lease_id,
        agent=renter_agent(rented.lease.lease_id),
        seq=chain.seq,
        hash=chain.hash,
        next_nonce=chain.nonce,
        server_time_ms=now_ms,
        report_interval_ms=settings.limits(rented.period_ms).interval_ms,
        ends_ms=rented.lease.told_ends_ms,
    )


def _json(view: Model) -> Response:
    return Response(view.canonical(), media_type=JSON)
