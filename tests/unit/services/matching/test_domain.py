"""What the logs must look like, decided without Kafka."""

import pytest

from services.matching.domain import (
    BrokenEventLog,
    EpochRefused,
    LogsDiffer,
    check_same,
    epoch_granted,
    header_of,
    in_sequence,
)


def event(seq: int, kind: str = "epoch_started", offset: int = 0, rest: str = "") -> bytes:
    return f'{{"type":"{kind}","shard":0,"seq":{seq},"in_offset":{offset},"index":0{rest}}}'.encode()


def test_the_header_is_read_from_the_first_fields():
    assert header_of(event(17, "order_accepted", 9)) == ("order_accepted", 17, 9)


def test_bytes_that_are_no_event_break_the_log():
    with pytest.raises(BrokenEventLog, match="no event"):
        in_sequence([b'{"seq":1}'], 0)


def test_repeated_events_are_dropped_wherever_a_second_engine_wrote_them():
    records = [event(seq) for seq in (3, 4, 3, 4, 5, 5, 6)]
    assert in_sequence(records, 3) == ([event(4), event(5), event(6)], 6)


def test_a_missing_sequence_number_breaks_the_log():
    with pytest.raises(BrokenEventLog, match="seq 6 follows 4"):
        in_sequence([event(4), event(6)], 3)


def test_equal_events_pass_and_the_first_other_one_is_named():
    check_same([event(1), event(2)], [event(1), event(2)])
    with pytest.raises(LogsDiffer, match="seq 2: the log has"):
        check_same([event(1), event(2, "trade")], [event(1), event(2)])
    with pytest.raises(LogsDiffer, match="the log has 1 events where the engine computes 2"):
        check_same([event(1), event(2)], [event(1)])


def test_an_epoch_is_granted_by_the_event_of_its_own_record_only():
    others = [event(1, offset=3), event(2, "record_rejected", 5)]
    assert epoch_granted(others, 4, 1) is None
    assert epoch_granted([*others, event(3, offset=4)], 4, 1) is True


def test_an_epoch_is_lost_to_a_process_that_took_the_number_first():
    for kind, code in (("record_rejected", "duplicate"), ("command_rejected", "stale_epoch")):
        assert epoch_granted([event(1, kind, 4, f',"code":"{code}"')], 4, 1) is False


def test_any_other_refusal_of_an_epoch_ends_the_process():
    with pytest.raises(EpochRefused, match="epoch 1 at offset 4: bad_signature"):
        epoch_granted([event(1, "record_rejected", 4, ',"code":"bad_signature"')], 4, 1)
