"""Nominations at the gate: every GPU once, a block keeps its machines, the youngest goes short."""

from services.delivery.leases import Lease, SoldPosition, block_end_ms, continues, nominate
from tests.fixtures.delivery import gpu_uuid

GPUS = tuple(gpu_uuid(number) for number in range(4))


def sold(position_id: int, qty: int, block_id: int | None = None, start_ms: int = 0) -> SoldPosition:
    return SoldPosition(position_id, "c", "node-1", "buyer", "ops", qty, block_id, start_ms, start_ms + 100)


def test_positions_get_different_gpus_the_oldest_first():
    assert nominate([sold(2, 1), sold(1, 2)], GPUS, {}) == {1: GPUS[:2], 2: (GPUS[2],)}


def test_a_block_keeps_the_gpus_of_its_hour_before_though_an_older_position_chooses_too():
    assert nominate([sold(1, 2), sold(2, 2, 9)], GPUS, {2: GPUS[:2]}) == {1: GPUS[2:], 2: GPUS[:2]}


def test_a_block_gets_another_gpu_for_one_that_is_no_longer_fit():
    assert nominate([sold(2, 2, 9)], GPUS[1:], {2: GPUS[:2]}) == {2: (GPUS[1], GPUS[2])}


def test_the_youngest_position_goes_short_where_gpus_are_missing():
    assert nominate([sold(1, 2), sold(2, 2), sold(3, 1)], GPUS[:3], {}) == {1: GPUS[:2], 2: (GPUS[2],)}


def test_a_lease_goes_on_only_with_the_same_gpus_and_without_a_break():
    lease = Lease("lease-1", "node-1", "c", 9, GPUS[:2], (1,), 0, 100, "started")
    ended = Lease("lease-1", "node-1", "c", 9, GPUS[:2], (1,), 0, 100, "ended")
    nxt = sold(2, 2, 9, start_ms=100)
    assert [
        continues(lease, nxt, GPUS[1::-1]),
        continues(lease, nxt, GPUS[1:3]),
        continues(lease, sold(2, 2, 9, start_ms=200), GPUS[:2]),
        continues(ended, nxt, GPUS[:2]),
        continues(None, nxt, GPUS[:2]),
    ] == [True, False, False, False, False]


def test_a_blocks_lease_lasts_to_the_end_of_its_unbroken_hours():
    first = sold(1, 1, 9)
    later = [sold(3, 1, 9, 200), sold(2, 1, 9, 100), sold(4, 1, 9, 400)]
    assert block_end_ms(first, later) == 300
