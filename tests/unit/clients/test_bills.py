"""What `hourbook access` shows a person."""

from clients.cli.bills import access_lines

ACCESS = {
    "position_id": 86,
    "state": "started",
    "endpoint": "played://lease-86",
    "credential": "izE4",
    "starts_ms": 1_796_044_200_000,
    "ends_ms": 1_796_044_260_000,
    "gpus": ["GPU-1", "GPU-2"],
    "recalls": [],
    "maintenance": [],
    "host_key": "",
    "user": None,
    "port": 0,
}


def test_access_shows_times_as_one_reads_them_and_nothing_that_is_not_there():
    assert access_lines(ACCESS) == {
        "position_id": 86,
        "state": "started",
        "endpoint": "played://lease-86",
        "credential": "izE4",
        "starts": "2026-11-30 13:10:00",
        "ends": "2026-11-30 13:11:00",
        "gpus": ["GPU-1", "GPU-2"],
    }
