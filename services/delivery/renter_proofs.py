"""Proofs from inside a lease: the GPUs that a buyer rents prove themselves to him, under his meter key.

His own program computes them in what he rents, so an operator's agent hears nothing of it. Where a shopper asks, the
operator's idle GPUs are asked at the same moment.
"""

import structlog
from fastapi import FastAPI, Request, Response

from schemas.ids import Identifier
from schemas.nodes import Challenge
from schemas.renter import ProofRequest, renter_agent
from services.delivery.domain import DeliveryError
from services.delivery.edge_api import body_of, read_body
from services.delivery.effects import Effects, now_ms
from services.delivery.inside_proofs import RENTER
from services.delivery.leases import Lease
from services.delivery.proofs import issue_challenge
from services.delivery.releases import Releases
from services.delivery.renter import known_meter
from services.delivery.settings import Settings
from services.delivery.store import Store
from services.delivery.sweeps import Sweeps
from services.kit.auth import public
from services.kit.store import AWAY


class NoProofNow(DeliveryError):
    """The lease does not run, its GPUs cannot be proven, or as many proofs as it may have were asked."""

    code, status = "conflict", 409


def add_renter_proof_route(
    app: FastAPI, settings: Settings, effects: Effects, releases: Releases, sweeps: Sweeps
) -> None:
    """Adds what a program inside a lease asks; what follows goes over the routes of any challenge."""

    @app.post(
        "/v1/leases/{lease_id}/challenges",
        status_code=201,
        response_model=Challenge,
        openapi_extra=body_of(ProofRequest),
    )
    @public
    async def ask(lease_id: Identifier, request: Request) -> Response:
        question = await read_body(request, ProofRequest)
        async with effects.transaction() as store:
            lease = (await known_meter(store, lease_id, question)).lease
            challenge = await issue_to_renter(store, settings, lease, now_ms())
            operator = (await store.node(lease.node)).account
        if lease.buyer in settings.shoppers:
            try:
                await sweeps.sweep_beside(operator)
            except AWAY as error:
                structlog.get_logger().warning("a shopper's proof goes without a sweep", error=str(error))
        releases.note([challenge.challenge_id])
        return Response(challenge.canonical(), 201, media_type="application/json")


async def issue_to_renter(store: Store, settings: Settings, lease: Lease, time_ms: int) -> Challenge:
    """Gives out a challenge to all GPUs of a lease that runs. Raises NoProofNow.

    The door may open before the hour begins; what a buyer is shown then is not yet what he pays for. [D-35]
    """
    name = f"lease {lease.lease_id}"
    if lease.state != "started" or not lease.starts_ms <= time_ms < lease.ends_ms:
        raise NoProofNow(f"{name} does not run now")
    given = await store.renters.proofs(lease.lease_id)
    if given.open:
        raise NoProofNow(f"a proof of {name} is under way")
    if given.given >= settings.renter_proofs_max:
        raise NoProofNow(f"{name} has had its {settings.renter_proofs_max} proofs")
    node = await store.node(lease.node)
    if reason := settings.unprovable(node.grade, node.simulated):
        raise NoProofNow(f"the GPUs of {name} cannot be proven: {reason}")
    due = (time_ms, time_ms + settings.challenge_deadline_ms, lease.lease_id)
    prover = renter_agent(lease.lease_id)
    return await issue_challenge(store, settings, node, RENTER, list(lease.gpus), *due, prover)
