"""What the books say, as HTTP answers: statements, totals, balances."""

from typing import Any

from schemas.money import format_micros
from services.kit.cursors import read_cursor, write_cursor
from services.kit.http import ProblemError
from services.kit.rows import show_rows
from services.ledger.domain import GPU_MS, digest_balances
from services.ledger.handlers import Poster
from services.ledger.settings import LedgerSettings
from services.ledger.store import LedgerStore

NEWEST = (2**62, 0, 0)
SIDES = ("debit", "credit")


class Views:
    """Everything that is read from the ledger."""

    def __init__(self, settings: LedgerSettings, store: LedgerStore, poster: Poster):
        self._settings, self._store, self._poster = settings, store, poster

    @property
    def page_lines_max(self) -> int:
        """The most lines that a page has."""
        return self._settings.ledger_page_lines_max

    async def statement(self, owner: str, asset: str | None, cursor: str | None, limit: int) -> dict[str, Any]:
        """Returns a page of an owner's lines, newest first."""
        if not 1 <= limit <= self._settings.ledger_page_lines_max:
            raise ProblemError("malformed_request", f"limit: 1 to {self._settings.ledger_page_lines_max}")
        before = NEWEST if cursor is None else read_cursor(cursor, int, int, int)
        rows = await self._store.statement(owner, asset, before, limit)
        last = rows[-1] if len(rows) == limit else None
        return {
            "lines": show_rows(rows, _line),
            "cursor": write_cursor(last["seq"], last["leg"], last["side"]) if last else None,
        }

    async def claims(self, party: str, cursor: int | None, limit: int) -> dict[str, Any]:
        """Returns a page of what corrections left owed by a party or to it, newest first."""
        rows = await self._store.claims(party, NEWEST[0] if cursor is None else cursor, limit)
        cursor = rows[-1]["seq"] if len(rows) == limit else None
        return {"items": show_rows(rows, lambda row: _claim(row, party)), "cursor": cursor}

    async def trial_balance(self) -> dict[str, Any]:
        """Returns the totals per asset: what the debits and the credits of all accounts add up to."""
        seq, totals, buckets = await self._store.trial_balance()
        held = {}
        for row in buckets:
            held.setdefault(row["asset"], {})[row["bucket"]] = int(row["balance"])
        assets = [
            {
                "asset": row["asset"],
                "debits": int(row["debits"]),
                "credits": int(row["credits"]),
                "accounts": row["accounts"],
                "balances": held[row["asset"]],
            }
            for row in totals
        ]
        return {"seq": seq, "balanced": all(row["debits"] == row["credits"] for row in assets), "assets": assets}

    async def balances(self, seq: int | None) -> dict[str, Any]:
        """Returns all balances of money with the digest that the engine takes of its own; waits for a later `seq`."""
        if seq is not None and not await self._poster.wait_for(seq, self._settings.ledger_answer_wait_s):
            raise ProblemError("unavailable", f"posted up to seq {self._poster.seq}", retryable=True)
        stands_at, balances = await self._store.balances(seq)
        rows = [
            {"account": account, "asset": asset, "available_micros": balance.available, "held_micros": balance.held}
            for (account, asset), balance in balances.items()
        ]
        return {"seq": stands_at, "balance_digest": digest_balances(balances), "balances": rows}

    async def audit(self) -> dict[str, Any]:
        """Returns how many transfers there are, and whether every account is the sum of its own."""
        seq, transfers, differing = await self._store.audit()
        mismatch = await self._store.mismatch()
        return {
            "seq": seq,
            "transfers": transfers,
            "differing_accounts": differing,
            "mismatch": str(mismatch) if mismatch else None,
        }


def _line(row) -> dict[str, Any]:
    amount = row["amount"]
    return {
        "seq": row["seq"],
        "leg": row["leg"],
        "ts_ms": row["ts_ms"],
        "cause": row["cause"],
        "reference": row["reference"],
        "asset": row["asset"],
        "bucket": row["bucket"],
        "side": SIDES[row["side"]],
        "amount": str(amount) if row["asset"] == GPU_MS else format_micros(amount),
    }


def _claim(row, party: str) -> dict[str, Any]:
    state = "covered" if row["kind"] == "guarantee" else "open" if row["owed"] else "paid"
    return {
        "seq": row["seq"],
        "ts_ms": row["ts_ms"],
        "kind": row["kind"],
        "claim_id": row["claim_id"],
        "position_id": row["position_id"],
        "revision": row["revision"],
        "role": "debtor" if row["debtor"] == party else "creditor",
        "debtor": row["debtor"],
        "creditor": row["creditor"],
        "asset": row["asset"],
        "amount": format_micros(row["amount"]),
        "owed": format_micros(row["owed"]),
        "state": state,
        "paid_ms": row["paid_ms"],
    }
