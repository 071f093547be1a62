"""A row that cannot be shown costs that row, and is told."""

from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.kit.rows import show_rows


def unshown() -> float:
    return REGISTRY.get_sample_value("hourbook_rows_unshown_total")


def test_rows_that_cannot_be_shown_are_told_one_by_one_and_the_others_are_shown_in_their_order():
    before = unshown()
    with capture_logs() as logs:
        assert show_rows([1, 0, 4, None, 2], lambda row: 8 // row) == (8, 2, 4)
    assert [(entry["event"], entry["row"], entry["detail"].partition(":")[0]) for entry in logs] == [
        ("a row cannot be shown", "0", "ZeroDivisionError"),
        ("a row cannot be shown", "None", "TypeError"),
    ]
    assert unshown() - before == 2
