"""Intervals scale with the period; a gate that comes late is the venue's fault; a settlement waits for its reports."""

import pytest
from cryptography.exceptions import InvalidTag

from services.delivery.credentials import CredentialBox
from services.delivery.gate import answer_deadline_ms
from services.delivery.settings import Settings, notice_ms
from services.delivery.settling import Moment, may_settle
from tests.fixtures.delivery_rows import position


@pytest.mark.parametrize(
    ("period_ms", "figures"),
    [
        (None, (10_000, 30_000, 60_000, 30_000)),
        (3_600_000, (10_000, 30_000, 60_000, 30_000)),
        (20_000, (3_333, 9_999, 19_998, 15_000)),
        (3_000, (1_000, 3_000, 6_000, 15_000)),
    ],
)
def test_intervals_scale_with_the_period(period_ms, figures):
    settings = Settings()
    limits = settings.limits(period_ms)
    liveness_ms = settings.liveness_ms(limits)
    assert (limits.interval_ms, limits.gap_ms_max, limits.silence_ms_max, liveness_ms) == figures


def test_a_challenge_is_due_at_the_start_unless_the_venue_came_late():
    assert answer_deadline_ms(start_ms=100_000, gate_ms=10_000, now_ms=90_300) == 100_000
    assert answer_deadline_ms(start_ms=100_000, gate_ms=10_000, now_ms=95_001) == 105_001
    assert answer_deadline_ms(start_ms=100_000, gate_ms=10_000, now_ms=130_000) == 140_000


METERED = {"wait_seq": 10, "meter_seq": 10, "last_live_ms": 100_000, "end_ms": 100_000}


@pytest.mark.parametrize(
    ("changes", "now_ms", "settles"),
    [
        ({}, 110_000, True),
        ({"meter_seq": 9}, 999_000, False),
        ({"wait_seq": None}, 999_000, False),
        ({"last_live_ms": 99_999}, 119_999, False),
        ({"last_live_ms": 99_999}, 120_000, True),
        ({"last_live_ms": None}, 120_000, True),
        ({"gpus": (), "meter_seq": 0}, 110_000, True),
    ],
)
def test_a_position_that_is_due_settles_when_its_reports_are_in_or_the_node_stays_away(changes, now_ms, settles):
    assert may_settle(position(**METERED | changes), Moment(now_ms, back_ms=80_000), hold_ms=40_000) is settles


def test_after_an_outage_of_ours_silent_nodes_get_time_to_bring_their_reports():  # A18
    silent = position(**METERED | {"last_live_ms": 150_000})
    assert [may_settle(silent, Moment(now_ms, 200_000), 10_000) for now_ms in (209_999, 210_000)] == [False, True]


@pytest.mark.parametrize(
    ("period_s", "figures"), [(3_600, (900, 30, 120)), (60, (15, 5, 2)), (20, (5, 5, 0.666)), (3, (1, 5, 0.1))]
)
def test_provisional_time_grace_of_opening_and_notice_scale_with_the_period(period_s, figures):
    settings, period_ms = Settings(), period_s * 1000
    found = (settings.provisional_ms(period_ms), settings.opening_grace_ms(period_ms), notice_ms(period_ms))
    assert tuple(ms / 1000 for ms in found) == figures


def test_a_credential_opens_for_its_own_lease_alone(tmp_path):
    box = CredentialBox.load(tmp_path / "keys")
    sealed = box.seal("lease-1", "secret")
    again = CredentialBox.load(tmp_path / "keys")
    assert (again.open("lease-1", sealed), again.open("lease-1", None)) == ("secret", "")
    assert b"secret" not in sealed
    with pytest.raises(InvalidTag):
        again.open("lease-2", sealed)
