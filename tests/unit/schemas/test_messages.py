"""Canonical bytes: one spelling for each message, whatever the reader's language."""

import pytest
from pydantic import ValidationError

from schemas.base import NotCanonical
from schemas.commands import read_command
from schemas.events import EVENT, AnyEvent
from schemas.ids import contract_name, contract_start_s
from schemas.orders import CancelOrder
from schemas.topics import TOPICS

CANCEL = CancelOrder(command_id="c", account="a", order_id=7, client_order_id=None)
CANCEL_BYTES = b'{"type":"cancel_order","command_id":"c","account":"a","order_id":7,"client_order_id":null}'


def test_a_message_has_exactly_one_spelling():
    assert CANCEL.canonical() == CANCEL_BYTES
    assert read_command(CANCEL_BYTES) == CANCEL


@pytest.mark.parametrize(
    "other",
    [
        CANCEL_BYTES.replace(b":7", b": 7"),
        CANCEL_BYTES.replace(b'"command_id":"c","account":"a"', b'"account":"a","command_id":"c"'),
        CANCEL_BYTES.replace(b',"client_order_id":null', b""),
        CANCEL_BYTES.replace(b'"c"', b'"\\u0063"'),
    ],
)
def test_another_spelling_of_the_same_message_is_refused(other):
    with pytest.raises((NotCanonical, ValidationError)):
        read_command(other)


@pytest.mark.parametrize("value", [b"7.0", b'"7"', b"true", b"0", b"-1"])
def test_a_value_of_another_type_or_range_is_refused(value):
    with pytest.raises(ValidationError):
        read_command(CANCEL_BYTES.replace(b":7", b":" + value))


def test_an_unknown_field_is_refused():
    with pytest.raises(ValidationError):
        read_command(CANCEL_BYTES[:-1] + b',"extra":1}')


def test_a_contract_is_named_by_its_hour_and_by_its_second_where_periods_are_shorter():
    assert contract_name("H100SXM80.CNE.F", 1_795_352_400, 3_600) == "H100SXM80.CNE.F-26112213"
    assert contract_name("H100SXM80.CNE.F", 1_795_352_420, 20) == "H100SXM80.CNE.F-261122130020"
    assert contract_start_s("H100SXM80.CNE.F-261122130020") == 1_795_352_420


def test_every_event_states_its_type_first():
    union = AnyEvent.__origin__.__args__
    assert {next(iter(model.model_fields)) for model in union} == {"type"}
    assert len({model.model_fields["type"].default for model in union}) == len(union)
    schema = EVENT.core_schema.get("schema", EVENT.core_schema)  # beside definitions, where models share others
    assert schema["type"] == "tagged-union"


def test_the_topics_of_the_engine_have_one_partition_and_are_kept_for_ever():
    kept = {topic.name: (topic.partitions, topic.retention_ms) for topic in TOPICS if topic.name.endswith(".0")}
    assert kept == {"commands.0": (1, -1), "events.0": (1, -1)}
