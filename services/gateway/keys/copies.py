"""The keys' topic and its copies in tables and a file: what one of them has lost is written there again at a start."""

import structlog

from schemas.accounts import AnyKeyEvent
from services.gateway.context import GatewayContext
from services.gateway.keys.registry import KeyRegistry
from services.kit.key_directory import record_name


async def mend_keys(gateway: GatewayContext, registry: KeyRegistry, read: list[AnyKeyEvent]) -> None:
    """Publish what a copy has and the topic has not, and copy what was read of the topic.

    Every record proves itself, so that a copy is as good as the topic: a key that had ended before Kafka was put back
    to an older copy, or with PostgreSQL to a backup, has ended again. Raises DatabaseAway.
    """
    copies = [*await gateway.store.key_records(), *await gateway.key_file.read()]
    missing = {record.canonical(): record for record in copies if not gateway.directory.tells(record)}
    await gateway.store.keep_key_records(read)
    await gateway.key_file.keep(read)
    left = await registry.publish_again(list(missing.values()))
    log = structlog.get_logger()
    if published := len(missing) - len(left):
        log.warning("the topic of keys was an older copy, its records are published again", records=published)
    if left:
        named = [record_name(record) for record in left[:20]]
        log.error("records of keys cannot be proven any more", records=len(left), first=named)
