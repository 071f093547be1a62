"""The AsyncAPI 3.0 document of all that travels: Kafka topics from the registry, the public feed from its models.

`python -m schemas.asyncapi` prints it; a test compares it with `docs/protocols/asyncapi.json`.
"""

import importlib
import json
from typing import Any, get_args

from pydantic.json_schema import models_json_schema

from schemas.base import Model
from schemas.market_data import FeedMessage, FeedRequest
from schemas.topics import TOPICS, Topic

VERSION = "1"
REF = "#/components/schemas/{model}"


def document() -> dict[str, Any]:
    """Returns the whole document."""
    topics = {topic: messages_of(topic) for topic in TOPICS}
    feed = models_in(FeedMessage)
    models = {model: None for found in topics.values() for model in found} | dict.fromkeys((*feed, FeedRequest))
    _, definitions = models_json_schema([(model, "validation") for model in models], ref_template=REF)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Hourbook",
            "version": VERSION,
            "description": "Kafka topics of the exchange (canonical JSON, money in micro-units) and the public "
            "WebSocket feed (decimal strings). Generated from the models that the services validate with.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {"host": "127.0.0.1:19092", "protocol": "kafka"},
            "market_data": {"host": "127.0.0.1:18081", "pathname": "/v1", "protocol": "ws"},
        },
        "channels": {topic.name: topic_channel(topic, found) for topic, found in topics.items()}
        | {"feed": feed_channel((*feed, FeedRequest))},
        "operations": {f"read.{topic.name}": operation("receive", topic.name) for topic in topics}
        | {
            "send.feed": feed_operation("send", [FeedRequest]),
            "read.feed": feed_operation("receive", feed),
        },
        "components": {
            "messages": {model.__name__: message(model) for model in models},
            "schemas": plain_discriminators(definitions["$defs"]),
        },
    }


def messages_of(topic: Topic) -> tuple[type[Model], ...]:
    """Returns the models that may stand in a topic; none for raw bytes."""
    if topic.model == "bytes":
        return ()
    module, _, name = topic.model.partition(":")
    return models_in(getattr(importlib.import_module(module), name))


def plain_discriminators(part: Any) -> Any:
    """Returns the schemas with the discriminator as AsyncAPI has it: the member's name alone."""
    if isinstance(part, list):
        return [plain_discriminators(item) for item in part]
    if not isinstance(part, dict):
        return part
    plain = {name: plain_discriminators(value) for name, value in part.items()}
    if "propertyName" in plain.get("discriminator", ()):
        plain["discriminator"] = plain["discriminator"]["propertyName"]
    return plain


def models_in(annotation: Any) -> tuple[type[Model], ...]:
    """Returns the models of a (nested, annotated) union, or the one model itself; metadata is no model."""
    if isinstance(annotation, type):
        return (annotation,) if issubclass(annotation, Model) else ()
    return tuple(model for part in get_args(annotation) for model in models_in(part))


def topic_channel(topic: Topic, found: tuple[type[Model], ...]) -> dict[str, Any]:
    """Describes a topic."""
    retention = {} if topic.retention_ms < 0 else {"retention.ms": topic.retention_ms}
    description = f"Key: {topic.key}." + (f" Broken records go to `{topic.dead}`." if topic.dead else "")
    return {
        "address": topic.name,
        "description": description,
        "servers": [{"$ref": "#/servers/kafka"}],
        "messages": {model.__name__: component(model) for model in found},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": retention or {"retention.ms": -1},
            }
        },
    }


def feed_channel(models: tuple[type[Model], ...]) -> dict[str, Any]:
    """Describes the public WebSocket."""
    return {
        "address": "/ws",
        "description": "The public feed: docs/protocols/feed.md.",
        "servers": [{"$ref": "#/servers/market_data"}],
        "messages": {model.__name__: component(model) for model in models},
    }


def feed_operation(action: str, models: Any) -> dict[str, Any]:
    """Describes one direction of the feed."""
    references = [{"$ref": f"#/channels/feed/messages/{model.__name__}"} for model in models]
    return operation(action, "feed") | {"messages": references}


def operation(action: str, channel: str) -> dict[str, Any]:
    """Describes what a reader of the document may do with a channel."""
    escaped = channel.replace("~", "~0").replace("/", "~1")
    return {"action": action, "channel": {"$ref": f"#/channels/{escaped}"}}


def component(model: type[Model]) -> dict[str, str]:
    """Returns the reference to a message."""
    return {"$ref": f"#/components/messages/{model.__name__}"}


def message(model: type[Model]) -> dict[str, Any]:
    """Describes a message by its model."""
    summary = (model.__doc__ or "").strip().split("\n\n")[0].replace("\n    ", " ")
    return {"name": model.__name__, "summary": summary, "payload": {"$ref": REF.format(model=model.__name__)}}


if __name__ == "__main__":
    print(json.dumps(document(), indent=1, ensure_ascii=False))
