"""The topic registry is the one source of who writes and reads what: documents, code and rights follow it."""

import re
from pathlib import Path

import pytest
from aiokafka.errors import ClusterAuthorizationFailedError, KafkaError, NotControllerError

from infra.kafka_access import PUBLIC, USERS, RightsNotSet, _require, rights_of
from schemas.topics import TOPICS

ROOT = Path(__file__).resolve().parents[3]
ROW = re.compile(r"^\| `([a-z0-9.]+)` \| ([a-z_, ]+) \| ([a-z_, ]+) \| [^|]+ \| [^|]+ \|$", re.MULTILINE)
CLIENT = re.compile(r"AIOKafka(?:Consumer|Producer|Client|AdminClient)\((?!\)|\*\*)[^)]*bootstrap_servers=")


def test_the_table_of_topics_says_what_the_registry_says():
    told = {
        name: (set(writers.split(", ")), set(readers.split(", ")))
        for name, writers, readers in ROW.findall((ROOT / "ARCHITECTURE.md").read_text())
    }
    wanted = {
        topic.name: (set(topic.writers), {*topic.readers, *([PUBLIC] if topic.public else [])}) for topic in TOPICS
    }
    assert told == wanted


def test_every_writer_and_reader_has_a_login_and_dead_letters_are_written_by_readers():
    named = {name for topic in TOPICS for name in (*topic.writers, *topic.readers)}
    assert named <= set(USERS)
    known = {topic.name: topic for topic in TOPICS}
    buried = {topic.name: known[topic.dead].writers for topic in TOPICS if topic.dead}
    assert all(set(writers) <= set(known[name].readers) for name, writers in buried.items())


def test_rights_are_to_read_and_write_alone_and_nobody_gets_all_topics():
    rights = rights_of()
    assert {right.operation for right in rights} == {3, 4}
    assert {right.name for right in rights if right.kind == 2} == {topic.name for topic in TOPICS}
    assert not [right for right in rights if right.principal == f"User:{PUBLIC}" and right.operation == 4]


def test_no_client_of_services_and_tools_connects_past_the_one_function():
    sources = [path for folder in ("services", "infra", "clients", "console") for path in (ROOT / folder).rglob("*.py")]
    assert [str(path.relative_to(ROOT)) for path in sources if CLIENT.search(path.read_text())] == []


def test_what_a_new_controller_cannot_do_yet_is_tried_again_and_a_refusal_ends_the_start():
    _require([("gateway", 0, None)])
    with pytest.raises(KafkaError, match="gateway: the controller"):
        _require([("gateway", NotControllerError.errno, "the controller is another")])
    refused = "Kafka refused gateway: ClusterAuthorizationFailedError: no"
    with pytest.raises(RightsNotSet, match=refused):
        _require([("gateway", ClusterAuthorizationFailedError.errno, "no")])
