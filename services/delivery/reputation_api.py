"""HTTP for reputations: of a node, and of an account with all its nodes, for everyone."""

from collections.abc import Mapping

from fastapi import FastAPI, Response

from schemas.delivery import ReputationView
from schemas.ids import AccountId
from services.delivery.edge_api import JSON
from services.delivery.effects import now_ms
from services.delivery.reputation import FACTS_SHOWN, FORMULA, days_of, facts_of, score_of
from services.delivery.settings import Settings
from services.delivery.store import Store
from services.kit.auth import public
from services.kit.http import ProblemError
from services.kit.store import Pool


def add_reputation_routes(app: FastAPI, settings: Settings, pool: Pool) -> None:
    """Adds what is on record of who sells."""

    @app.get("/v1/nodes/{node_id}/reputation", response_model=ReputationView)
    @public
    async def node_reputation(node_id: str) -> Response:
        node = await Store(pool).find_node(node_id)
        if node is None:
            raise ProblemError("not_found", f"there is no node {node_id}")
        return await answer(node.account, node_id, {node_id: node.simulated})

    @app.get("/v1/operators/{account}/reputation", response_model=ReputationView)
    @public
    async def operator_reputation(account: AccountId) -> Response:
        own = await Store(pool).nodes_of_account(account)
        if not own:
            raise ProblemError("not_found", f"{account} has no nodes")
        return await answer(account, None, own)

    async def answer(account: str, node: str | None, simulated: Mapping[str, bool]) -> Response:
        time_ms, facts = now_ms(), await facts_of(Store(pool), list(simulated))
        days = days_of(facts, settings, time_ms)
        view = ReputationView(
            account=account,
            node=node,
            nodes=len(simulated),
            simulated=any(simulated.values()),
            as_of_ms=time_ms,
            days=days,
            **{name: getattr(facts, name) for name in FACTS_SHOWN},
            score=score_of(facts, days),
            formula=FORMULA,
        )
        return Response(view.canonical(), media_type=JSON)
