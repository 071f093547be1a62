"""A correction is sent where a new measurement says something else than the receipt that stands, and only there."""

import pytest

from services.delivery.meter import measure
from services.delivery.settling import differs, settle_command
from tests.fixtures.receipts import receipt_file

FILE = receipt_file()
OUTCOME = measure(FILE.meter, FILE.reports)


@pytest.mark.parametrize(
    ("changes", "is_other"),
    [
        ({}, False),
        ({"intervals": (), "quality_gpu_ms": {}}, False),  # said in other words
        ({"delivered_gpu_s": OUTCOME.delivered_gpu_s + 1}, True),
        ({"excused_gpu_s": 1}, True),
        ({"used_gpu_s": 0}, True),
        ({"recalled_gpus": 1}, True),
        ({"noticed": True}, True),
    ],
)
def test_a_measurement_differs_where_the_engine_would_settle_otherwise(changes, is_other):
    assert differs(OUTCOME.model_copy(update=changes), FILE.receipt) is is_other


def test_what_goes_to_the_engine_is_what_the_meter_says():
    outcome = OUTCOME.model_copy(update={"recalled_gpus": 1, "noticed": True})
    command = settle_command(7, 3, outcome, "d" * 64)
    assert command.model_dump(exclude={"type"}) == {
        "position_id": 7,
        "revision": 3,
        "excused_gpu_s": outcome.excused_gpu_s,
        "delivered_gpu_s": outcome.delivered_gpu_s,
        "used_gpu_s": outcome.used_gpu_s,
        "noticed": True,
        "recalled_gpus": 1,
        "meter_digest": "d" * 64,
    }
