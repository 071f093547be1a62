"""Makes a new installation ready before its services start: keys, topics, genesis, roles. Safe to run again.

`python -m infra.prepare` does it for Kafka at HOURBOOK_KAFKA and the database at HOURBOOK_DATABASE_URL, waiting for
both; the supervisor and the containers use it.
"""

import asyncio
import sys
import time
from pathlib import Path

from infra.database import prepare_database
from infra.genesis import write_genesis
from infra.keys import make_keys
from infra.ports import accepts
from infra.settings import InfraSettings
from infra.topics import create_topics


async def prepare_log(bootstrap: str, keys_dir: Path) -> None:
    """Create the topics, and write the genesis into a new command log."""
    await create_topics(bootstrap)
    await write_genesis(bootstrap, keys_dir)


async def prepare_servers(kafka: str, owner_url: str, settings: InfraSettings) -> None:
    """Prepare the log, and the database with its owner's login."""
    await prepare_log(kafka, settings.keys_dir)
    if settings.database_roles:
        await prepare_database(owner_url, settings.keys_dir)


def main() -> None:
    settings = InfraSettings()
    make_keys(settings.keys_dir)
    deadline = time.monotonic() + settings.ready_within_s
    for name, address in (("Kafka", settings.kafka), ("PostgreSQL", settings.database_url)):
        while not accepts(address):
            if time.monotonic() > deadline:
                sys.exit(f"{name} does not answer at {address.rpartition('@')[2]}")
            time.sleep(0.5)
    asyncio.run(prepare_servers(settings.kafka, settings.database_url, settings))


if __name__ == "__main__":
    main()
