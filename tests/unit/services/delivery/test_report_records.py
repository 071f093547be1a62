"""A report's record: the same bytes as the model's, known again by them, packed small, and readable when it is old."""

import pytest
from pydantic import ValidationError

from schemas.nodes import message_hash, signing_bytes
from services.delivery.domain import RECORD_BYTES_MAX, RecordTooLarge
from services.delivery.report_records import FreshReports, VerifiedReport, pack_record, record_bytes, unpack_record
from services.delivery.store import Store
from tests.fixtures.delivery import TestNode, gpu_uuid, process, reading, reported


def verified(node: TestNode, nonce_issued_ms: int | None = 900, **changes: object) -> tuple[bytes, VerifiedReport]:
    """The next report of a node as record and as its bytes."""
    report = node.report("e" * 64, 0, 10, **changes)
    record = reported(report, 1_000, nonce_issued_ms)
    return record.canonical(), VerifiedReport(record, message_hash(report))


@pytest.mark.parametrize("issued_ms", [900, None])
@pytest.mark.parametrize("changes", [{}, {"gpus": ()}, {"driver_version": 'ü"\\\n'}])
def test_a_record_around_signed_bytes_is_the_models_own(issued_ms, changes):
    node = TestNode()
    value, each = verified(node, issued_ms, **changes)
    report = each.record.report
    assert record_bytes(node.node_id, 1_000, issued_ms, signing_bytes(report), report.signature) == value


def test_what_was_verified_here_is_known_once_and_by_its_very_bytes():
    fresh, (value, each) = FreshReports(), verified(TestNode())
    fresh.put(value, each)
    other = value.replace(b'"wall_ms":0', b'"wall_ms":1')
    assert [fresh.read(other), fresh.read(value), fresh.read(value)] == [
        type(each.record).model_validate_json(other),
        each,
        each.record,
    ]


def test_a_record_that_is_none_is_refused_as_ever():
    with pytest.raises(ValidationError):
        FreshReports().read(b'{"type":"node_reported"}')


def test_of_many_records_the_last_are_known():
    fresh, node = FreshReports(kept_max=2), TestNode()
    made = [verified(node) for _ in range(3)]
    for value, each in made:
        fresh.put(value, each)
    assert [fresh.read(value) for value, _ in made] == [made[0][1].record, made[1][1], made[2][1]]


def test_a_packed_record_is_a_fraction_of_it_and_comes_back_whole():
    value, _ = verified(TestNode(), gpus=tuple(reading(f"GPU-{n:08x}-0000-0000-0000-000000000000") for n in range(8)))
    assert unpack_record(pack_record(value)) == value
    assert len(pack_record(value)) * 4 < len(value)


def test_a_record_from_before_records_were_packed_is_itself():
    value, _ = verified(TestNode())
    assert unpack_record(value) == value


async def test_a_record_that_no_topic_takes_is_refused_before_it_is_written():
    """Whoever signs it, a node or a renter's meter: committed, it could never leave, and nothing behind it either."""
    many = tuple(process("lease-1") for _ in range(RECORD_BYTES_MAX // 50))
    record = reported(TestNode().report("e" * 64, 0, 1, gpus=(reading(gpu_uuid(1), processes=many),)), 1_000)
    nothing_written = Store(None)
    with pytest.raises(RecordTooLarge):
        await nothing_written.record("node-1", record)
