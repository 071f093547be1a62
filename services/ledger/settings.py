"""Settings of the ledger."""

from services.kit.settings import Settings


class LedgerSettings(Settings):
    """How much is posted at once, and how long a request waits for its posting."""

    ledger_batch_events_max: int = 5_000
    ledger_answer_wait_s: float = 3.0
    ledger_account_wait_s: float = 2.0
    ledger_page_lines_max: int = 1_000
    ledger_shards: tuple[int, ...] = (0,)
