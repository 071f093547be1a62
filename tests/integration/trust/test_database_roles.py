"""PostgreSQL's roles: a service that was broken into reaches its own schema, and nobody else's."""

from collections.abc import Iterator

import asyncpg
import pytest

from infra.database import SCHEMAS, prepare_database, role_of
from infra.embedded import Running, start_postgres
from services.kit import store
from services.kit.settings import Settings

PACKAGES = {name: f"services.{name}" for name in SCHEMAS}
OWNERS = """
select nspname, pg_get_userbyid(relowner), count(*) from pg_class join pg_namespace n on n.oid = relnamespace
where nspname = any($1) group by 1, 2 order by 1, 2
"""
POSTER = "hourbook_ledger_poster"


def login_of(owner_url: str, service: str) -> str:
    """The service's URL, without its password."""
    return f"postgresql://{role_of(service)}@{owner_url.rpartition('@')[2]}"


async def migrate_all(url_of, data) -> None:
    for schema, package in PACKAGES.items():
        pool = await store.open_pool(Settings(database_url=url_of(schema), data=data), schema, package)
        await pool.close()


@pytest.fixture(scope="module")
def server(servers_folder) -> Iterator[Running]:
    folder = servers_folder / "rooms"
    folder.mkdir()
    server = start_postgres(folder)
    yield server
    server.stop()


@pytest.fixture
async def owner_url(server) -> str:
    """The owner's login to an empty database."""
    connection = await asyncpg.connect(server.address)
    await connection.execute("drop database if exists rooms with (force)")
    await connection.execute("create database rooms")
    await connection.close()
    return f"{server.address.rpartition('/')[0]}/rooms"


@pytest.fixture
async def rooms(owner_url, tmp_path):
    """An installation with its roles and tables; answers how to log in as a service."""
    await prepare_database(owner_url, tmp_path / "keys")
    await migrate_all(lambda schema: login_of(owner_url, schema), tmp_path)

    async def log_in(service: str) -> asyncpg.Connection:
        settings = Settings(database_url=login_of(owner_url, service), data=tmp_path)
        return await asyncpg.connect(settings.database_url, password=store.database_password(settings, service))

    return log_in


def attacks(victim: str) -> dict[str, str]:
    """What a broken service would try on another's schema."""
    return {
        "read": f"select * from {victim}.outbox",
        "write": f"insert into {victim}.outbox (number, commands) values (1, '[]')",
        "make a table": f"create table {victim}.mine (a int)",
        "drop": f"drop schema {victim} cascade",
        "become": f"set role {role_of(victim)}",
        "take over": f"grant {role_of(victim)} to current_user",
        "become the owner": "set role hourbook",
        "make a role": "create role stranger superuser login",
        "read files": "select pg_read_file('postgresql.conf')",
        "run a program": "copy (select 1) to program 'true'",
        "read passwords": "select * from pg_authid",
        "use public": "create table public.mine (a int)",
        "make a schema": "create schema mine",
        "another database": "create database mine",
    }


@pytest.mark.parametrize(("broken", "victim"), [("gateway", "ledger"), ("delivery", "gateway")])
async def test_a_broken_service_reaches_no_schema_but_its_own(rooms, broken, victim):
    connection = await rooms(broken)
    done = {}
    for name, statement in attacks(victim).items():
        try:
            await connection.execute(statement)
            done[name] = "done"
        except asyncpg.InsufficientPrivilegeError:
            done[name] = "refused"
    own = await connection.fetchval(f"select count(*) from {broken}.outbox")
    await connection.close()
    assert (done, own) == (dict.fromkeys(attacks(victim), "refused"), 0)


async def test_the_owners_login_of_older_builds_could_do_what_is_refused_now(rooms, owner_url):
    connection = await asyncpg.connect(owner_url)
    for name in ("read", "write", "make a table", "become", "read files", "read passwords"):
        await connection.execute(attacks("ledger")[name])
        await connection.execute("reset role")
    await connection.close()


async def test_a_stranger_without_a_password_and_with_anothers_is_let_in_nowhere(rooms, owner_url, tmp_path):
    gateways = store.database_password(Settings(database_url=login_of(owner_url, "gateway"), data=tmp_path), "gateway")
    for login in ("hourbook", POSTER, "stranger", *map(role_of, SCHEMAS)):
        for password in ("", "hourbook", gateways if login != role_of("gateway") else "guess"):
            with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
                await asyncpg.connect(f"postgresql://{login}@{owner_url.rpartition('@')[2]}", password=password)
    connection = await rooms("gateway")
    for database in ("postgres", "template1"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            place = owner_url.rpartition("@")[2].rpartition("/")[0]
            await asyncpg.connect(f"postgresql://{role_of('gateway')}@{place}/{database}", password=gateways)
    await connection.close()
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "keys").glob("*/*.password")}
    assert modes == {0o600}


async def test_an_older_installations_tables_change_hands_and_its_services_go_on(owner_url, tmp_path):
    await migrate_all(lambda _: owner_url, tmp_path)
    for _ in range(2):
        await prepare_database(owner_url, tmp_path / "keys")
    connection = await asyncpg.connect(owner_url)
    owners = {(schema, owner) for schema, owner, _ in await connection.fetch(OWNERS, list(SCHEMAS))}
    await connection.close()
    assert owners == {*((name, role_of(name)) for name in SCHEMAS), ("ledger", POSTER)}
    await migrate_all(lambda schema: login_of(owner_url, schema), tmp_path)


async def test_an_older_text_of_a_migration_with_the_same_effect_is_no_edit(owner_url):
    settings = Settings(database_url=owner_url)
    pool = await store.open_pool(settings, "ledger", "services.ledger")
    older = "0c072fe91690449bc705da2163034c3858eef2e4082cab600907cd20edc6db48"
    await pool.execute("update migration set sha256 = $1 where name = '0001_journal.sql'", older)
    await pool.close()
    await (await store.open_pool(settings, "ledger", "services.ledger")).close()
