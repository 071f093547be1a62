"""What an operator may declare: maintenance ahead of time, not for ever; recalls of what is interruptible and runs."""

from dataclasses import replace

import pytest

from schemas.delivery import RecallForm, TimeWindow
from services.delivery.declarations import check_window, recall_start_ms
from services.delivery.settings import Settings
from services.kit.http import ProblemError
from tests.fixtures.delivery import gpu_uuid
from tests.fixtures.delivery_rows import position

NOW_MS, PERIOD_MS = 1_000_000_000, 3_600_000
POSITION = position(
    contract="H100SXM80.CNE.I-26112213",
    state="locked",
    gpus=(gpu_uuid(1), gpu_uuid(2)),
    end_ms=NOW_MS + PERIOD_MS,
)


@pytest.mark.parametrize(
    ("start_ms", "end_ms"),
    [
        (NOW_MS + 60_000, NOW_MS + 60_000),
        (NOW_MS + 59_999, NOW_MS + 600_000),
        (NOW_MS + 60_000, NOW_MS + 60_001 + 7 * 86_400_000),
    ],
)
def test_maintenance_that_is_empty_too_soon_or_too_long_is_refused(start_ms, end_ms):
    with pytest.raises(ProblemError, match="malformed_request"):
        check_window(TimeWindow(start_ms=start_ms, end_ms=end_ms), NOW_MS, Settings())


def test_maintenance_in_time_is_taken():
    check_window(TimeWindow(start_ms=NOW_MS + 60_000, end_ms=NOW_MS + 600_000), NOW_MS, Settings())


@pytest.mark.parametrize(
    ("form", "from_ms"),
    [
        ({}, NOW_MS + 120_000),
        ({"gpus": (gpu_uuid(2),)}, NOW_MS + 120_000),
        ({"from_ms": NOW_MS + 5}, NOW_MS + 5),
    ],
)
def test_a_recall_counts_from_its_notice_on_unless_it_names_a_moment(form, from_ms):
    assert recall_start_ms(RecallForm(position_id=7, **form), POSITION, NOW_MS, PERIOD_MS) == from_ms


@pytest.mark.parametrize(
    ("form", "changes", "code"),
    [
        ({}, {"contract": "H100SXM80.CNE.F-26112213"}, "conflict"),
        ({}, {"state": "settled"}, "conflict"),
        ({}, {"end_ms": NOW_MS}, "conflict"),
        ({"gpus": (gpu_uuid(3),)}, {}, "conflict"),
        ({"gpus": (gpu_uuid(1),)}, {"gpus": ()}, "conflict"),
        ({"from_ms": NOW_MS - 1}, {}, "malformed_request"),
    ],
)
def test_a_recall_that_cannot_be_is_refused(form, changes, code):
    with pytest.raises(ProblemError, match=code):
        recall_start_ms(RecallForm(position_id=7, **form), replace(POSITION, **changes), NOW_MS, PERIOD_MS)


def test_a_recall_is_read_from_json_as_the_route_reads_it():
    body = {"position_id": 7, "gpus": [gpu_uuid(1)], "from_ms": None}
    assert RecallForm.model_validate(body).gpus == (gpu_uuid(1),)
