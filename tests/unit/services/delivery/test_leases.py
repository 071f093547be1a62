"""Nominations at the gate: every GPU once, a block keeps its machines, the youngest goes short."""

from services.delivery.leases import (
    Lease,
    SoldPosition,
    block_end_ms,
    comes_later,
    continues,
    next_report_ms,
    nominate,
)
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


def test_a_lease_goes_on_without_a_break_on_its_own_gpus_though_one_was_lost():
    lease = Lease("lease-1", "node-1", "c", 9, GPUS[:2], (1,), 0, 100, "started")
    ended = Lease("lease-1", "node-1", "c", 9, GPUS[:2], (1,), 0, 100, "ended")
    nxt = sold(2, 2, 9, start_ms=100)
    assert [
        continues(lease, nxt, GPUS[1::-1]),
        continues(lease, nxt, GPUS[:1]),
        continues(lease, nxt, GPUS[1:3]),
        continues(lease, sold(2, 2, 9, start_ms=200), GPUS[:2]),
        continues(ended, nxt, GPUS[:2]),
        continues(None, nxt, GPUS[:2]),
    ] == [True, True, False, False, False, False]


def test_the_next_report_is_due_soon_while_a_lease_waits_and_just_after_one_ends():
    def lease(state: str, gpus: tuple[str, ...], starts_ms: int) -> Lease:
        return Lease("l", "n", "c", None, gpus, (1,), starts_ms, starts_ms + 60_000, state)

    running, next_buyer = lease("started", GPUS[:2], 0), lease("ready", GPUS[1:3], 60_000)
    assert [
        next_report_ms([], False, 50_000, 10_000),
        next_report_ms([next_buyer], False, 50_000, 10_000),
        next_report_ms([running], False, 30_000, 10_000),
        next_report_ms([running, next_buyer], False, 57_000, 10_000),
        next_report_ms([running, next_buyer], True, 60_010, 10_000),
    ] == [10_000, 1_000, 10_000, 3_020, 1_000]


def test_a_node_that_has_sold_reports_right_after_its_gate_and_soon_until_the_venue_has_locked_it():  # M28
    assert [
        next_report_ms([], False, 50_000, 10_000, gate_ms=55_000),
        next_report_ms([], False, 50_000, 10_000, gate_ms=65_000),
        next_report_ms([], False, 55_020, 10_000, gate_ms=55_000),
    ] == [5_020, 10_000, 1_000]


def test_a_blocks_lease_lasts_to_the_end_of_its_unbroken_hours():
    first = sold(1, 1, 9)
    later = [sold(3, 1, 9, 200), sold(2, 1, 9, 100), sold(4, 1, 9, 400)]
    assert block_end_ms(first, later) == 300


def test_a_lease_waits_for_the_earlier_one_of_its_gpus_that_a_late_venue_has_yet_to_hand_out():  # A18
    def lease(name: str, gpu: int, starts_ms: int, state: str) -> Lease:
        window = (starts_ms, starts_ms + 60_000)
        return Lease(name, "node", "contract", None, (gpu_uuid(gpu),), (1,), *window, state)

    later = lease("later", 1, 60_000, "ready")
    earlier = [lease("earlier", 1, 0, state) for state in ("pending", "ready", "started", "failed", "ended")]
    assert [comes_later(later, [later, other], 30_000) for other in earlier] == [True, True, False, False, False]
    assert not comes_later(earlier[0], [later, earlier[0]], 30_000)
    assert not comes_later(later, [later, earlier[0]], 60_000)  # its time is over: nobody waits for it
    assert not comes_later(later, [later, lease("other", 2, 0, "pending")], 30_000)
