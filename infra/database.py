"""PostgreSQL's roles: each service logs in with one of its own that owns its schema and reaches no other."""

from pathlib import Path

import asyncpg

from infra.keys import make_password
from infra.scram import postgres_verifier

SCHEMAS = ("gateway", "market_data", "delivery", "listings", "ledger")
CONNECTIONS_MAX = 30
LOCK = 7_402_174
# Tables take their indexes and the sequences of their own columns along.
OTHERS_OBJECTS = """
select format('alter %s %I.%I owner to %I', case relkind when 'v' then 'view' when 'm' then 'materialized view'
    when 'S' then 'sequence' else 'table' end, nspname, relname, $2::text)
from pg_class join pg_namespace n on n.oid = relnamespace
where nspname = $1 and relkind in ('r', 'p', 'v', 'm', 'S') and pg_get_userbyid(relowner) = current_user
  and not exists (
    select from pg_depend where classid = 'pg_class'::regclass and objid = pg_class.oid and deptype in ('a', 'i'))
union all
select format('alter routine %s owner to %I', p.oid::regprocedure, $2::text)
from pg_proc p join pg_namespace n on n.oid = pronamespace
where nspname = $1 and pg_get_userbyid(proowner) = current_user
union all
select format('alter type %I.%I owner to %I', nspname, typname, $2::text)
from pg_type t join pg_namespace n on n.oid = typnamespace
where nspname = $1 and typtype in ('e', 'd', 'r') and pg_get_userbyid(typowner) = current_user
"""
# A role without login, through which alone the ledger's postings are written (its first migration).
POSTER = "hourbook_ledger_poster"
MAY_MAKE_ROLES = "select rolsuper from pg_roles where rolname = current_user"


class NoRoles(RuntimeError):
    """The configured login may not make roles."""


def role_of(service: str) -> str:
    """The name that the service logs in with."""
    return f"hourbook_{service}"


async def prepare_database(owner_url: str, keys_dir: Path) -> None:
    """Make each service's role and schema, give it what an older installation's owner holds there, and take from
    everybody else what PostgreSQL gives to all. Safe to run again. Raises NoRoles.
    """
    connection = await asyncpg.connect(owner_url, timeout=10)
    try:
        if not await connection.fetchval(MAY_MAKE_ROLES):
            raise NoRoles(
                "the login of HOURBOOK_DATABASE_URL may not make a role for each service: give it a superuser's, or"
                " set HOURBOOK_DATABASE_ROLES=false, and every service logs in with it"
            )
        async with connection.transaction():
            await connection.execute("select pg_advisory_xact_lock($1)", LOCK)
            await _close_to_strangers(connection)
            for service in SCHEMAS:
                await _make_role(connection, role_of(service), make_password(keys_dir, service, "postgres"))
                await _give_schema(connection, service, role_of(service))
            await _make_poster(connection)
    finally:
        await connection.close()


async def _close_to_strangers(connection: asyncpg.Connection) -> None:
    here = await connection.fetchval("select current_database()")
    for database in {here, "postgres", "template1"}:
        if await connection.fetchval("select true from pg_database where datname = $1", database):
            await connection.execute(f'revoke all on database "{database}" from public')
    await connection.execute("revoke all on schema public from public")


async def _make_role(connection: asyncpg.Connection, role: str, password: str) -> None:
    here = await connection.fetchval("select current_database()")
    if not await connection.fetchval("select true from pg_roles where rolname = $1", role):
        await connection.execute(f'create role "{role}"')
    # Every start sets the password: a restored copy of the database may know another one.
    await connection.execute(
        f'alter role "{role}" login nosuperuser nocreatedb nocreaterole noreplication nobypassrls'
        f" connection limit {CONNECTIONS_MAX} password '{postgres_verifier(password)}'"
    )
    await connection.execute(f'grant connect on database "{here}" to "{role}"')


async def _give_schema(connection: asyncpg.Connection, schema: str, role: str) -> None:
    await connection.execute(f'create schema if not exists "{schema}"')
    await connection.execute(f'alter schema "{schema}" owner to "{role}"')
    for statement in await connection.fetch(OTHERS_OBJECTS, schema, role):
        await connection.execute(statement[0])
    await connection.execute(f'revoke all on schema "{schema}" from public')


async def _make_poster(connection: asyncpg.Connection) -> None:
    if not await connection.fetchval("select true from pg_roles where rolname = $1", POSTER):
        await connection.execute(f"create role {POSTER} nologin")
    await connection.execute(f'grant {POSTER} to "{role_of("ledger")}" with admin option')
