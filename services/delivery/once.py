"""Requests that count once under an `Idempotency-Key`, decided in the one transaction that may decide now."""

from collections.abc import Awaitable, Callable

from fastapi import Response

from schemas.base import Model
from services.delivery.effects import Effects
from services.delivery.store import Store
from services.kit.idempotency import Attempt, once


async def answer_once(
    effects: Effects, asked: Attempt, work: Callable[[Store], Awaitable[Model]], status: int = 200
) -> Response:
    """Does the work and answers with the view that it returns; a repeat gets the first answer."""
    async with effects.transaction() as store:

        async def text() -> str:
            return (await work(store)).model_dump_json()

        return await once(store.connection, asked, text, status)
