"""The AsyncAPI document is what the models say, and it is whole."""

import json
from pathlib import Path

from schemas.asyncapi import document
from schemas.topics import TOPICS

WRITTEN = Path(__file__).resolve().parents[3] / "docs/protocols/asyncapi.json"


def references(part):
    if isinstance(part, dict):
        yield from ([part["$ref"]] if "$ref" in part else ())
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def resolve(found, reference):
    for name in reference.removeprefix("#/").split("/"):
        found = found[name.replace("~1", "/").replace("~0", "~")]
    return found


def test_the_written_document_is_the_generated_one():
    """After a change of a model: python -m schemas.asyncapi > docs/protocols/asyncapi.json"""
    assert json.loads(WRITTEN.read_text()) == document()


def test_every_topic_has_a_channel_and_every_reference_leads_somewhere():
    found = document()
    assert set(found["channels"]) == {topic.name for topic in TOPICS} | {"feed"}
    targets = [resolve(found, reference) for reference in set(references(found))]
    assert len(targets) > 100
    assert all(targets)
