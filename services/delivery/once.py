"""Requests that count once under an `Idempotency-Key`, decided in the one transaction that may decide now."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import Response

from schemas.answers import FirstAnswer, RequestAnswered
from schemas.base import Model
from schemas.ids import NodeId
from services.delivery.effects import Effects, now_ms
from services.delivery.store import Store
from services.kit.idempotency import Attempt, once

View = TypeVar("View", bound=Model)


async def answer_once(
    effects: Effects,
    asked: Attempt,
    work: Callable[[Store], Awaitable[View]],
    status: int = 200,
    node: Callable[[View], NodeId] | None = None,
) -> Response:
    """Does the work and answers with the view that it returns; a repeat gets the first answer.

    `node` says which node a view is about: beside its records the first answer outlives the database. It is left out
    where a repeat does nothing twice by itself.
    """
    async with effects.transaction() as store:
        view: View | None = None

        async def text() -> str:
            nonlocal view
            view = await work(store)
            return view.model_dump_json()

        async def publish(first: FirstAnswer) -> None:
            await store.record(about := node(view), RequestAnswered(node_id=about, received_ms=now_ms(), first=first))

        return await once(store.connection, asked, text, status, publish if node else None)
