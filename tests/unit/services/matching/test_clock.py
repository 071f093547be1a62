"""A jump of the broker's clock is noticed once, in either direction; time that merely passed is none."""

from services.matching.clock import ClockWatch


def test_a_jump_is_told_once_and_waiting_is_no_jump():
    now_s = [100.0]
    watch = ClockWatch(60_000, lambda: now_s[0])

    def after(seconds: float, stamp_ms: int) -> int:
        now_s[0] += seconds
        return watch.look(stamp_ms)

    assert [
        after(0, 1_000_000),
        after(0.25, 1_000_250),
        after(600, 1_600_250),  # the broker was away
        after(0.25, 5_200_500),
        after(0.25, 5_200_750),
        after(0.25, 1_601_000),
        after(0.25, 1_601_250),
    ] == [0, 0, 0, 3_600_000, 0, -3_600_000, 0]
