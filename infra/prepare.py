"""Makes a new installation ready before its services start: keys, topics, genesis. Safe to run again.

`python -m infra.prepare` does it for Kafka at HOURBOOK_KAFKA, waiting for it; the supervisor and the containers use it.
"""

import asyncio
import sys
import time
from pathlib import Path

from infra.genesis import write_genesis
from infra.keys import make_keys
from infra.ports import accepts
from infra.settings import InfraSettings
from infra.topics import create_topics


async def prepare_log(bootstrap: str, keys_dir: Path) -> None:
    """Create the topics, and write the genesis into a new command log."""
    await create_topics(bootstrap)
    await write_genesis(bootstrap, keys_dir)


def main() -> None:
    settings = InfraSettings()
    make_keys(settings.keys_dir)
    deadline = time.monotonic() + settings.ready_within_s
    while not accepts(settings.kafka):
        if time.monotonic() > deadline:
            sys.exit(f"Kafka does not answer at {settings.kafka}")
        time.sleep(0.5)
    asyncio.run(prepare_log(settings.kafka, settings.keys_dir))


if __name__ == "__main__":
    main()
