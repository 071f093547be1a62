"""PostgreSQL for every service: pool, numbered migrations, named queries, the cursor that makes effects exactly-once,
the outbox.
"""

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from types import SimpleNamespace
from urllib.parse import urlsplit

import asyncpg
import structlog

from schemas.venue import VenueCommand
from services.kit.recovery import Logged, Row, plan
from services.kit.settings import Settings

Pool = asyncpg.Pool
MIGRATION_LOCK = 7_402_173
SAME_EFFECT = re.compile(r"^-- same effect as ([0-9a-f]{64})$", re.MULTILINE)  # an older text of the migration
POOL_CLOSES_WITHIN_S = 3.0
ASIDE = 1 << 40  # above every number: where numbers wait while others take their places
NOT_THERE_YET = (
    OSError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InvalidCatalogNameError,
    # infra makes the service's role and schema while the services start
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InsufficientPrivilegeError,
)
# A connection that dies between two steps of one statement shows as an InternalClientError.
AWAY = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.DiskFullError,
)


class StoreError(Exception):
    """The base of this module's errors."""


class MigrationEdited(StoreError):
    """A migration that was applied before has other text now; write a new one instead."""


class NameTaken(StoreError):
    """Two statements have one name; the first would never run."""


class DatabaseAway(StoreError):
    """PostgreSQL does not answer; whoever can wait, waits."""


class Fenced(StoreError):
    """Another process moved this consumer's cursor; this one must stop."""


@dataclass(frozen=True)
class Position:
    """Where a reader stands: its last event, the offset it reads next, the SHA-256 of that event's record."""

    seq: int
    next_offset: int
    event_sha256: bytes | None


def load_queries(package: str) -> SimpleNamespace:
    """Reads `queries.sql` of a package: one attribute for each `-- name: x` block. Raises NameTaken."""
    return SimpleNamespace(**named_queries((files(package) / "queries.sql").read_text()))


def named_queries(text: str) -> dict[str, str]:
    """Returns the statements of a file by their names. Raises NameTaken for two of one name."""
    blocks = re.split(r"^-- name: (\w+)\s*$", text, flags=re.MULTILINE)
    found: dict[str, str] = {}
    for name, statement in zip(blocks[1::2], blocks[2::2], strict=True):
        if name in found:
            raise NameTaken(name)
        found[name] = statement.strip().rstrip(";")
    return found


QUERIES = load_queries("services.kit")


async def close_at_the_end(pool: Pool) -> None:
    """Closes the pool when the service stops; connections still in use by then are cut."""
    try:
        await asyncio.Event().wait()
    finally:
        try:
            await asyncio.wait_for(pool.close(), POOL_CLOSES_WITHIN_S)
        except TimeoutError:
            pool.terminate()


async def open_pool(settings: Settings, schema: str, package: str | None = None) -> asyncpg.Pool:
    """Waits for PostgreSQL and for the service's login, creates the service's schema where it is missing, migrates it,
    and returns a pool whose search path is that schema.
    """
    log = structlog.get_logger()
    while True:
        password = database_password(settings, schema)
        try:
            await _prepare_schema(settings, password, schema, package)
            break
        except NOT_THERE_YET as error:
            log.warning("waiting for PostgreSQL", address=settings.database_url.rpartition("@")[2], error=str(error))
            await asyncio.sleep(settings.reconnect_delay_s)
    return await asyncpg.create_pool(
        settings.database_url,
        password=password,
        min_size=1,
        max_size=settings.database_connections_max,
        server_settings={"search_path": schema, "application_name": f"hourbook-{schema}"},
        reset=_leave_as_it_is,
    )


def database_password(settings: Settings, service: str) -> str | None:
    """Returns the password from the service's own file, where there is one and the URL has none."""
    file = settings.keys_dir / service / "postgres.password"
    return file.read_text().strip() if urlsplit(settings.database_url).password is None and file.exists() else None


async def _prepare_schema(settings: Settings, password: str | None, schema: str, package: str | None) -> None:
    connection = await asyncpg.connect(settings.database_url, password=password, timeout=10)
    try:
        await connection.execute("select pg_advisory_lock($1)", MIGRATION_LOCK)
        # A role of the service's own may not make schemas: its own was made with it.
        if not await connection.fetchval("select true from pg_namespace where nspname = $1", schema):
            await connection.execute(f'create schema "{schema}"')
        await connection.execute(f'set search_path to "{schema}"')
        for owner in filter(None, ("services.kit", package)):
            await _migrate(connection, owner)
    finally:
        await connection.close()


async def _leave_as_it_is(connection: asyncpg.Connection) -> None:
    """Nothing of ours outlives a transaction on a connection, so giving it back needs no statement of its own."""


async def _migrate(connection: asyncpg.Connection, package: str) -> None:
    await connection.execute(QUERIES.create_migration_table)
    applied = dict(await connection.fetch("select name, sha256 from migration where package = $1", package))
    folder = (files(package) / "migrations").iterdir()
    for script in sorted((path for path in folder if path.name.endswith(".sql")), key=lambda path: path.name):
        text = script.read_text()
        digest = sha256(text.encode()).hexdigest()
        if script.name in applied:
            if applied[script.name] not in (digest, *SAME_EFFECT.findall(text)):
                raise MigrationEdited(f"{package}: {script.name}")
            continue
        async with connection.transaction():
            await connection.execute(text)
            await connection.execute("insert into migration values ($1, $2, $3)", package, script.name, digest)


async def read_position(connection: asyncpg.Connection, consumer: str, shard: int) -> Position:
    """Returns where the consumer stands; a new one stands at the start of the log."""
    await connection.execute(QUERIES.create_cursor, consumer, shard)
    return Position(*await connection.fetchrow(QUERIES.read_cursor, consumer))


async def advance(connection: asyncpg.Connection, consumer: str, shard: int, old: Position, new: Position) -> None:
    """Moves the cursor inside the caller's transaction. Raises Fenced if it does not stand where this reader thinks."""
    moved = await connection.fetchval(
        QUERIES.advance_cursor, consumer, shard, old.seq, new.seq, new.next_offset, new.event_sha256
    )
    if moved is None:
        raise Fenced(f"{consumer}: expected seq {old.seq}")


def commands_json(commands: tuple[VenueCommand, ...]) -> str:
    """Returns the canonical JSON array of commands, as it stands in the record and under the signature."""
    return "[" + ",".join(command.canonical().decode() for command in commands) + "]"


async def enqueue(connection: asyncpg.Connection, *commands: VenueCommand) -> int:
    """Puts one privileged batch into the outbox inside the caller's transaction; returns its dense number."""
    await connection.execute(QUERIES.lock_outbox)
    return await connection.fetchval(QUERIES.enqueue, commands_json(commands))


async def unsent_batches(pool: asyncpg.Pool, batches_max: int) -> list[tuple[int, str]]:
    """Returns the oldest batches that are not marked sent: (number, commands' JSON). Raises DatabaseAway."""
    with _away():
        return [tuple(row) for row in await pool.fetch(QUERIES.unsent, batches_max)]


async def mark_sent(pool: Pool, numbers: list[int], log_offset: int) -> None:
    """Notes that the broker acknowledged these batches, and where the log stood after them. Raises DatabaseAway."""
    with _away():
        await pool.execute(QUERIES.mark_sent, numbers, log_offset)


async def log_known_until(pool: Pool) -> int:
    """Returns up to which offset of the command log the outbox has all its batches; 0 where it has lost some.

    An outbox that is missing is made anew. Raises DatabaseAway.
    """
    with _away():
        await pool.execute(QUERIES.create_outbox)
        return await pool.fetchval(QUERIES.log_known_until) or 0


async def set_mark(pool: Pool, log_offset: int) -> None:
    """Notes that up to this offset the log has no batch that the outbox does not have. Raises DatabaseAway."""
    with _away():
        await pool.execute(QUERIES.set_mark, log_offset)


async def reconcile(pool: Pool, logged: Logged, numbered: str | None) -> dict[int, int]:
    """Brings the outbox in line with what the log has of it; returns old number → new where one changed.

    `numbered` is a table of the service's own with a column `number` that names batches. Raises DatabaseAway.
    """
    with _away():
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(QUERIES.lock_outbox)
            found = await connection.fetch(QUERIES.rows_from, min(logged.batches, default=ASIDE))
            made = plan([Row(*row) for row in found], logged.batches)
            for table in filter(None, ("outbox", numbered)):
                await _renumber(connection, table, made.moved)
            again = [made.moved.get(number, number) for number in made.again]
            applied = [*made.known, *(new for new in made.moved.values() if new in logged.batches)]
            await connection.execute(QUERIES.set_sent, applied, again)
            lost = sorted(made.lost.items())
            await connection.execute(
                QUERIES.put_recovered, [n for n, _ in lost], [text for _, text in lost], logged.events_end
            )
            await connection.execute(QUERIES.set_mark, logged.commands_end)
            return made.moved


async def _renumber(connection: asyncpg.Connection, table: str, moved: dict[int, int]) -> None:
    if moved:
        away, back = QUERIES.move_away.format(table=table), QUERIES.move_back.format(table=table)
        await connection.execute(away, list(moved), list(moved.values()), ASIDE)
        await connection.execute(back, ASIDE)


async def publish(connection: asyncpg.Connection, topic: str, key: str, value: bytes) -> None:
    """Puts a record for a topic of the service's own beside the change it tells of, in the caller's transaction."""
    await connection.execute(QUERIES.publish, topic, key.encode(), value)


async def publish_all(connection: asyncpg.Connection, topic: str, keys: Sequence[str], values: Sequence[bytes]) -> None:
    """Like `publish`, for many records of one topic, which leave in this order."""
    await connection.execute(QUERIES.publish_all, topic, [key.encode() for key in keys], values)


async def forget_first_answers(pool: Pool, days: int, answers_max: int) -> int:
    """Drops the oldest first answers that were kept for so many days, and returns how many. Raises DatabaseAway."""
    with _away():
        return await pool.fetchval(QUERIES.forget_first_answers, days, answers_max)


async def note_taken(connection: asyncpg.Connection, topic: str, ends: Mapping[int, int]) -> None:
    """Notes, in the transaction of the effects, up to where each partition of a topic is taken."""
    await connection.execute(QUERIES.note_taken, topic, list(ends), list(ends.values()))


async def taken(pool: Pool, topic: str) -> dict[int, int]:
    """Returns up to where this schema has each partition of a topic. Raises DatabaseAway."""
    with _away():
        return dict(await pool.fetch(QUERIES.taken, topic))


async def unpublished(pool: asyncpg.Pool, records_max: int) -> list[tuple[int, str, bytes, bytes]]:
    """Returns the oldest records not yet acknowledged by the broker: (id, topic, key, value). Raises DatabaseAway."""
    with _away():
        return [tuple(row) for row in await pool.fetch(QUERIES.unpublished, records_max)]


async def forget_published(pool: asyncpg.Pool, ids: list[int]) -> None:
    """Drops records that the broker acknowledged. Raises DatabaseAway."""
    with _away():
        await pool.execute(QUERIES.forget_published, ids)


@contextmanager
def _away() -> Iterator[None]:
    try:
        yield
    except AWAY as error:
        raise DatabaseAway(str(error)) from error
