"""Who may write and read which of Kafka's topics: logins for each service, and rights taken from the registry."""

import logging
from collections.abc import Iterable
from pathlib import Path

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError, for_code

from infra.kafka_protocol import (
    ALLOW,
    EVERYWHERE,
    GROUP,
    LITERAL,
    PREFIXED,
    READ,
    TOPIC,
    WRITE,
    AlterScramCredentials,
    CreateRights,
    DeleteRights,
    DescribeRights,
    Right,
)
from infra.keys import INFRA, OWNERS, make_password
from infra.ports import LOOPBACK
from infra.processes import DidNotStart
from infra.scram import ITERATIONS, new_salt, salted_password
from schemas.topics import TOPICS, Topic
from services.kit.kafka import operator_options

PUBLIC = "public"
USERS = (*OWNERS, INFRA, PUBLIC)
SCRAM_SHA_256 = 1


class RightsNotSet(DidNotStart):
    """The broker refused a login or a right; the message is the broker's reason."""


def rights_of(topics: Iterable[Topic] = TOPICS) -> set[Right]:
    """Every right that the registry gives; writing and reading include asking about the topic."""
    rights = set()
    for topic in topics:
        readers = (*topic.readers, PUBLIC) if topic.public else topic.readers
        rights |= {
            Right(TOPIC, topic.name, LITERAL, f"User:{name}", EVERYWHERE, WRITE, ALLOW) for name in topic.writers
        }
        rights |= {Right(TOPIC, topic.name, LITERAL, f"User:{name}", EVERYWHERE, READ, ALLOW) for name in readers}
        rights |= {Right(GROUP, f"{name}.", PREFIXED, f"User:{name}", EVERYWHERE, READ, ALLOW) for name in readers}
    return rights


async def secure_broker(bootstrap: str, keys_dir: Path) -> None:
    """Give every user its login and exactly the rights of the registry. Safe to run again. Raises RightsNotSet.

    Infra logs in by the broker's own settings, since other logins are in a log that only the broker can begin.
    """
    make_password(keys_dir, INFRA, "kafka")
    client = AIOKafkaClient(**operator_options(bootstrap, keys_dir, INFRA) | {"sasl_mechanism": "PLAIN"})
    if bootstrap.startswith(f"{LOOPBACK}:"):
        logging.getLogger("aiokafka.conn").addFilter(_is_no_warning_of_plain_passwords)
    await client.bootstrap()
    try:
        node = client.get_random_node()
        if not await client.ready(node):
            raise KafkaConnectionError(f"no connection to {bootstrap}")
        answer = await client.send(node, AlterScramCredentials([_credential(keys_dir, user) for user in USERS]))
        _require((user, code, reason) for user, code, reason, _ in answer.results)
        found = await client.send(node, DescribeRights())
        there = {Right(kind, name, pattern, *acl) for kind, name, pattern, acls in found.resources for acl in acls}
        wanted = rights_of()
        if there - wanted:
            removed = await client.send(node, DeleteRights(sorted(there - wanted)))
            _require(("right", code, reason) for code, reason, _ in removed.filter_responses)
        if wanted - there:
            made = await client.send(node, CreateRights(sorted(wanted - there)))
            _require(("right", code, reason) for code, reason in made.creation_responses)
    finally:
        await client.close()


def _is_no_warning_of_plain_passwords(record: logging.LogRecord) -> bool:
    return not record.getMessage().endswith("in the clear")


def _credential(keys_dir: Path, user: str) -> tuple[str, int, int, bytes, bytes, dict[int, bytes]]:
    salt = new_salt()
    salted = salted_password(make_password(keys_dir, user, "kafka"), salt)
    return (user, SCRAM_SHA_256, ITERATIONS, salt, salted, {})


def _require(answers: Iterable[tuple[str, int, str | None]]) -> None:
    for what, code, reason in answers:
        error = for_code(code)
        if code and error.retriable:  # a controller that has only just begun
            raise error(f"{what}: {reason}")
        if code:
            raise RightsNotSet(f"Kafka refused {what}: {error.__name__}: {reason}")
