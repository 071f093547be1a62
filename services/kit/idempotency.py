"""`Idempotency-Key`: the first answer to a request, kept in the transaction of its effects and given again to a repeat.

A first answer is kept for `first_answers_days`. A refusal is not kept, because its transaction left nothing behind: the
same request may succeed later. What a repeat would do twice, or be refused for, is also told on a topic of the service,
from which a lost database has it again.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Annotated

import asyncpg
import structlog
from fastapi import Header, Request, Response

from schemas.accounts import Scope
from schemas.answers import FirstAnswer
from schemas.signing import IDEMPOTENCY_HEADER
from services.kit.auth import Authenticator, Caller
from services.kit.http import ProblemError
from services.kit.request_parts import headers_of
from services.kit.settings import Settings
from services.kit.store import QUERIES, DatabaseAway, Pool, forget_first_answers

REPLAYED = {"Idempotent-Replayed": "true"}
JSON = "application/json"
ANSWERS_PER_TURN = 500
PAUSE_S = 600.0  # between looks at answers that are old enough to go
USED = "this Idempotency-Key was used for another request"
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,128}$",
        description="Names this request: the same again gets the first answer, another one under the name is 409.",
    ),
]


HEADER = IDEMPOTENCY_HEADER.lower().encode()
KEY = re.compile(r"[\x21-\x7e]{1,128}")


@dataclass(frozen=True)
class Attempt:
    """A request under its caller's key; without a key every request is a new one."""

    account: str
    key: str | None
    request: str


@dataclass(frozen=True)
class Asked:
    """A request that changes something: who asks, and the attempt that it is."""

    caller: Caller
    attempt: Attempt


@dataclass
class Turn:
    """What those who work under one name wait for, and how many of them there are."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    comers: int = 0


class Turns:
    """One after the other: whoever works under the same name in this process waits for those before him."""

    def __init__(self):
        self._turns: dict[Hashable, Turn] = {}

    @asynccontextmanager
    async def of(self, name: Hashable) -> AsyncIterator[None]:
        """Waits for the turn of a name, and holds it."""
        turn = self._turns.setdefault(name, Turn())
        turn.comers += 1
        try:
            async with turn.lock:
                yield
        finally:
            # A lock that others wait for is not held between two of them: only their number says that they are there.
            turn.comers -= 1
            if not turn.comers:
                del self._turns[name]


def idempotency_key_of(request: Request) -> str | None:
    """Returns the key of a bare request. Raises ProblemError for one that is none."""
    sent = headers_of(request.scope).get(HEADER)
    key = None if sent is None else sent.decode("latin-1")
    if key is not None and not KEY.fullmatch(key):
        raise ProblemError("malformed_request", "Idempotency-Key: 1 to 128 visible ASCII characters")
    return key


def attempt(account: str, key: str | None, route: str, body: bytes = b"") -> Attempt:
    """Returns the attempt of a request; `route` names what is asked of what, the body is known by its hash."""
    return Attempt(account, key, f"{route} {sha256(body).hexdigest()}")


def asking(authenticator: Authenticator, *scopes: Scope) -> Callable:
    """Returns the dependency of a route that changes something, for a key with one of the scopes; it yields Asked.

    The attempt is known by its key, path and body.
    """
    caller_of = authenticator.require(*scopes)

    async def asked(request: Request, idempotency_key: IdempotencyKey = None) -> Asked:
        caller = await caller_of(request)
        route = f"{request.method} {request.scope['path']}"
        return Asked(caller, attempt(caller.account, idempotency_key, route, await request.body()))

    asked.declares_scope = True
    return asked


async def once(
    connection: asyncpg.Connection,
    asked: Attempt,
    work: Callable[[], Awaitable[str]],
    status: int = 200,
    publish: Callable[[FirstAnswer], Awaitable[None]] | None = None,
) -> Response:
    """Does the work inside the caller's transaction and answers with the JSON it returns, or with the first answer.

    `publish` puts the first answer on a topic; without it a lost database forgets the key, which is right only where
    the work done twice is the work done once. Copies that come at once wait for each other.

    Raises ProblemError `conflict` where the key names another request.
    """
    if asked.key is None:
        return Response(await work(), status, media_type=JSON)
    await connection.execute(QUERIES.lock_idempotency_key, asked.account, asked.key)
    known = await connection.fetchrow(QUERIES.first_answer, asked.account, asked.key)
    if known is None:
        first = to_keep(asked, status, await work())
        await keep(connection, first)
        if publish is not None:
            await publish(first)
        return Response(first.answer, status, media_type=JSON)
    if known["request"] != asked.request:
        raise ProblemError("conflict", USED)
    return Response(known["answer"], known["status"], REPLAYED, JSON)


async def forget_old(settings: Settings, pool: Pool, pause_s: float = PAUSE_S) -> None:
    """Drops first answers that were kept for as long as the settings say, a few at a time, for ever."""
    while True:
        forgotten = 0
        try:
            forgotten = await forget_first_answers(pool, settings.first_answers_days, ANSWERS_PER_TURN)
        except DatabaseAway as error:
            structlog.get_logger().warning("old first answers wait for PostgreSQL", error=str(error))
        await asyncio.sleep(settings.reconnect_delay_s if forgotten == ANSWERS_PER_TURN else pause_s)


def to_keep(asked: Attempt, status: int, answer: str) -> FirstAnswer:
    """Returns what is kept of an answer."""
    return FirstAnswer(account=asked.account, key=asked.key, request=asked.request, status=status, answer=answer)


async def keep(connection: asyncpg.Connection, first: FirstAnswer) -> None:
    """Keeps a first answer."""
    await connection.execute(QUERIES.keep_first_answer, *_row(first))


async def restore(connection: asyncpg.Connection, first: FirstAnswer) -> None:
    """Writes a first answer again where the table has lost it."""
    await connection.execute(QUERIES.restore_first_answer, *_row(first))


def _row(first: FirstAnswer) -> tuple[str, str, str, int, str]:
    return first.account, first.key, first.request, first.status, first.answer
