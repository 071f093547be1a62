"""Writes the first record of a new command log: which shard it is, and whose signatures count."""

from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from infra.kafka_clients import started
from infra.keys import INFRA, OWNERS
from schemas.topics import COMMANDS, SHARD
from schemas.venue import NEWEST_RULESET, Genesis, ServiceKeyEntry
from services.kit.kafka import operator_options
from services.kit.keys import load_public_key


def genesis_command(keys_dir: Path) -> Genesis:
    """The command that names every owner's public key."""
    entries = (ServiceKeyEntry(source=owner, public_key=load_public_key(keys_dir, owner)) for owner in OWNERS)
    return Genesis(shard=SHARD, ruleset=NEWEST_RULESET, service_keys=tuple(entries))


async def write_genesis(bootstrap: str, keys_dir: Path) -> bool:
    """Append the genesis to an empty command log; answer whether it was empty."""
    partition = TopicPartition(COMMANDS.name, 0)
    options = operator_options(bootstrap, keys_dir, INFRA)
    async with started(AIOKafkaConsumer(**options)) as consumer:
        if (await consumer.end_offsets([partition]))[partition]:
            return False
    async with started(AIOKafkaProducer(**options, enable_idempotence=True, acks="all")) as producer:
        await producer.send_and_wait(COMMANDS.name, genesis_command(keys_dir).canonical(), partition=0)
    return True
