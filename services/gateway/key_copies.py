"""The keys' topic and its copy in the gateway's tables: what either has lost is written there again, at each start."""

import structlog

from schemas.accounts import AnyKeyEvent
from services.gateway.desk import Desk
from services.gateway.key_registry import KeyRegistry
from services.kit.key_directory import record_name


async def mend_keys(desk: Desk, registry: KeyRegistry, read: list[AnyKeyEvent]) -> None:
    """Publishes what the copy has and the topic has not, and copies what was read of the topic.

    Every record proves itself, so that a copy is as good as the topic: a key that had ended before Kafka was put back
    to an older copy has ended again. Raises DatabaseAway.
    """
    missing = [record for record in await desk.store.key_records() if not desk.directory.tells(record)]
    await desk.store.keep_key_records(read)
    published = 0
    while missing:
        left = [record for record in missing if not await registry.try_to_publish(record)]
        if len(left) == len(missing):
            break
        published, missing = published + len(missing) - len(left), left
    log = structlog.get_logger()
    if published:
        log.warning("the topic of keys was an older copy, its records are published again", records=published)
    if missing:
        named = [record_name(record) for record in missing[:20]]
        log.error("records of keys cannot be proven any more", records=len(missing), first=named)
