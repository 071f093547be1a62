"""Makes a new installation ready before its services start: keys, topics, genesis, roles. Safe to run again.

`python -m infra.prepare` does it for Kafka at HOURBOOK_KAFKA and the database at HOURBOOK_DATABASE_URL, waiting for
both; the supervisor and the containers use it.
"""

import asyncio
import sys
import time

from infra.database import prepare_database
from infra.genesis import write_genesis
from infra.kafka_access import secure_broker
from infra.keys import INFRA, keep_password, make_keys
from infra.plan import Servers
from infra.ports import accepts
from infra.settings import InfraSettings
from infra.topics import create_topics
from services.kit.kafka import operator_options


async def prepare_servers(servers: Servers, settings: InfraSettings) -> None:
    """Make logins and rights, the topics, and the genesis in a new command log; then the database's roles."""
    keys_dir = settings.keys_dir
    if servers.kafka_asks:
        await secure_broker(servers.kafka, keys_dir)
    login = operator_options(servers.kafka, keys_dir, INFRA) if servers.kafka_asks else {}
    await create_topics(servers.kafka, **login)
    await write_genesis(servers.kafka, keys_dir)
    if settings.database_roles:
        await prepare_database(servers.database_url, keys_dir)


def main() -> None:
    settings = InfraSettings()
    make_keys(settings.keys_dir)
    deadline = time.monotonic() + settings.ready_within_s
    for name, address in (("Kafka", settings.kafka), ("PostgreSQL", settings.database_url)):
        while not accepts(address):
            if time.monotonic() > deadline:
                sys.exit(f"{name} does not answer at {address.rpartition('@')[2]}")
            time.sleep(0.5)
    if settings.kafka_password:
        keep_password(settings.keys_dir, INFRA, "kafka", settings.kafka_password)
    servers = Servers(settings.kafka, bool(settings.kafka_user), settings.database_url, ())
    asyncio.run(prepare_servers(servers, settings))


if __name__ == "__main__":
    main()
