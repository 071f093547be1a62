"""Recovery of an outbox, the pure part: which records of the log are ours, and what a table that differs becomes."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.signing import batch_text
from services.kit.keys import public_hex, sign_hex
from services.kit.recovery import OwnRecords, Plan, Row, plan

KEY, OTHER = Ed25519PrivateKey.from_private_bytes(b"k" * 32), Ed25519PrivateKey.from_private_bytes(b"o" * 32)


def record(number: int, commands: str, source: str = "ledger", key: Ed25519PrivateKey = KEY) -> bytes:
    signature = sign_hex(key, batch_text(source, number, commands.encode()))
    head = f'{{"type":"privileged","source":"{source}","number":{number},'
    return f'{head}"commands":{commands},"signature":"{signature}"}}'.encode()


def taken(*records: bytes) -> dict[int, str]:
    own = OwnRecords("ledger", public_hex(KEY))
    for value in records:
        own.take(value)
    return own.batches


def test_only_what_the_source_signed_counts():
    forged, strange = record(2, "[{}]", key=OTHER), record(2, "[{}]", source="delivery")
    assert taken(record(1, "[1]"), forged, strange, b'{"type":"tick"}', b"", record(2, "[2]")) == {1: "[1]", 2: "[2]"}


def test_a_repeat_and_a_gap_were_not_taken_by_the_engine_and_do_not_count():
    log = (record(1, "[1]"), record(1, "[other]"), record(3, "[3]"), record(2, "[2]"), record(3, "[3]"))
    assert taken(*log) == {1: "[1]", 2: "[2]", 3: "[3]"}


def test_a_log_that_is_read_from_its_middle_counts_from_the_first_batch_seen():
    assert taken(record(7, "[7]"), record(8, "[8]")) == {7: "[7]", 8: "[8]"}


def test_a_table_that_agrees_with_the_log_stays_and_what_the_log_lacks_is_sent():
    rows = [Row(1, "[1]"), Row(2, "[2]"), Row(3, "[3]")]
    assert plan(rows, {1: "[1]", 2: "[2]"}) == Plan(known=[1, 2], again=[3])


def test_a_lost_table_learns_what_the_log_has():
    assert plan([], {1: "[1]", 2: "[2]"}) == Plan(lost={1: "[1]", 2: "[2]"})


def test_batches_under_numbers_that_were_taken_get_the_next_free_ones_in_their_order():
    rows = [Row(1, "[1]"), Row(2, "[new]"), Row(3, "[newer]")]
    made = plan(rows, {1: "[1]", 2: "[2]", 3: "[3]", 4: "[4]"})
    assert made == Plan(known=[1], again=[2, 3], moved={2: 5, 3: 6}, lost={2: "[2]", 3: "[3]", 4: "[4]"})


def test_a_batch_that_stands_in_the_log_under_another_number_is_that_one():
    made = plan([Row(1, "[2]"), Row(2, "[new]")], {1: "[1]", 2: "[2]"})
    assert made == Plan(again=[2], moved={1: 2, 2: 3}, lost={1: "[1]"})


def test_equal_commands_that_were_sent_twice_are_two_batches():
    made = plan([Row(1, "[halt]"), Row(2, "[halt]"), Row(3, "[halt]")], {1: "[halt]", 2: "[halt]"})
    assert made == Plan(known=[1, 2], again=[3])
