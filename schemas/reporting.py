"""How often nodes report, and what follows from it for the times of a product."""

REPORT_INTERVAL_MS_MAX = 10_000
REPORT_INTERVAL_MS_MIN = 1_000
REPORTS_PER_PERIOD = 6
# Within this a node must hear of its gate's challenge although two reports in a row were lost.
LEAD_IN_INTERVALS = 3
CHALLENGE_S = 5


def report_interval_ms(
    period_ms: int, longest_ms: int = REPORT_INTERVAL_MS_MAX, per_period: int = REPORTS_PER_PERIOD
) -> int:
    """Returns how often nodes report that serve periods of this length."""
    return max(REPORT_INTERVAL_MS_MIN, min(longest_ms, period_ms // per_period))


def gate_lead_min_s(period_s: int) -> int:
    """Returns the least time between gate and start: three report intervals and a challenge's time."""
    return -(-LEAD_IN_INTERVALS * report_interval_ms(period_s * 1000) // 1000) + CHALLENGE_S
