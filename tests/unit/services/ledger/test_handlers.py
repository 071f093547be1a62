"""The one writer of the books: where it starts again after PostgreSQL was away."""

from services.kit.readiness import Readiness
from services.kit.store import Position
from services.ledger.domain import Balance
from services.ledger.handlers import Poster
from services.ledger.settings import LedgerSettings


class SlowCommit:
    """A store whose last commit becomes visible after the cursor was read, and before the balances are."""

    def __init__(self) -> None:
        self.seqs = iter((4, 7))

    async def position(self) -> Position:
        seq = next(self.seqs)
        return Position(seq, seq, None)

    async def balances(self) -> tuple[int, dict[tuple[str, str], Balance]]:
        return 7, {("alice", "CNY"): Balance(7, 0)}


async def test_the_cursor_and_the_balances_that_posting_goes_on_from_hold_at_one_event(tmp_path):
    poster = Poster(LedgerSettings(data=tmp_path), SlowCommit(), Readiness(), lambda: None)
    assert (await poster._restore(), poster.seq) == (Position(7, 7, None), 7)
