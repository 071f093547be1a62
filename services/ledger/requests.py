"""Deposits, withdrawals, moves between shards: sent to the engine once per idempotency key, answered with their end."""

import asyncio
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from schemas.currencies import CURRENCIES
from schemas.money import AMOUNT_MAX_MICROS, format_micros, parse_micros
from schemas.venue import Credit, Deallocate, Debit, VenueCommand
from schemas.vouchers import DefundProgramme, FundProgramme, IssueVoucher
from services.kit.http import ProblemError
from services.ledger.handlers import Poster
from services.ledger.settings import LedgerSettings
from services.ledger.store import LedgerStore, OtherRequest, Request

ACCOUNT_LOOK_S = 0.05


class Requests:
    """Money in and out on request."""

    def __init__(
        self,
        settings: LedgerSettings,
        store: LedgerStore,
        poster: Poster,
        wake_outbox: Callable[[], None],
        has_account: Callable[[str], bool],
    ):
        self._settings, self._store, self._poster, self._wake_outbox = settings, store, poster, wake_outbox
        self._has_account = has_account

    async def transfer(
        self, caller: str, key: str, kind: str, account: str, asset: str, amount: str
    ) -> tuple[dict[str, Any], bool]:
        """Returns what became of a deposit or withdrawal, and whether this was its first request."""
        require_currency(asset)
        if kind == "deposit":
            await self._require_account(account)
        command = (Credit if kind == "deposit" else Debit)(
            transfer_id=transfer_id(kind, caller, key),
            account=account,
            asset=asset,
            amount_micros=positive_micros(amount),
        )
        return await self._carry_out(caller, key, kind, command)

    async def move(self, caller: str, key: str, asset: str, amount: str, to_shard: int) -> tuple[dict[str, Any], bool]:
        """Returns what became of the caller's money on its way to another shard; only to shards that the venue has."""
        if to_shard == self._settings.shard or to_shard not in self._settings.ledger_shards:
            raise ProblemError("unknown_shard", f"the venue has no shard {to_shard}", status=422)
        require_currency(asset)
        command = Deallocate(
            transfer_id=transfer_id("shard_transfer", caller, key),
            account=caller,
            asset=asset,
            amount_micros=positive_micros(amount),
            to_shard=to_shard,
        )
        return await self._carry_out(caller, key, "shard_transfer", command)

    async def programme(
        self, caller: str, key: str, kind: str, name: str, amount: str, holder: str | None = None
    ) -> tuple[dict[str, Any], bool]:
        """Returns what became of the caller's wish to `fund`, `defund` or `issue` vouchers of his programme."""
        fields = {"transfer_id": transfer_id(kind, caller, key), "programme": name, "issuer": caller}
        fields["amount_micros"] = positive_micros(amount)
        if kind == "issue":
            await self._require_account(holder)
            return await self._carry_out(caller, key, kind, IssueVoucher(**fields, account=holder))
        return await self._carry_out(
            caller, key, kind, (FundProgramme if kind == "fund" else DefundProgramme)(**fields)
        )

    async def _require_account(self, account: str) -> None:
        """Raises `not_found` where no key was ever made; a new one may take a moment to be heard of."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._settings.ledger_account_wait_s
        while not self._has_account(account):
            if loop.time() >= until_s:
                raise ProblemError("not_found", f"there is no account {account} with a key")
            await asyncio.sleep(ACCOUNT_LOOK_S)

    async def _carry_out(self, caller: str, key: str, kind: str, command: VenueCommand) -> tuple[dict[str, Any], bool]:
        try:
            asked, fresh = await self._store.ask(caller, key, kind, command)
        except OtherRequest as error:
            raise ProblemError("conflict", "this Idempotency-Key was used for another request") from error
        self._wake_outbox()
        if asked.state == "pending":
            asked = await self._await_outcome(caller, key)
        if asked.state == "refused":
            raise ProblemError(asked.code, f"the engine refused {asked.transfer_id}", status=422)
        return _body(asked), fresh

    async def _await_outcome(self, caller: str, key: str) -> Request:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._settings.ledger_answer_wait_s
        while True:
            seq = self._poster.seq
            asked = await self._store.request(caller, key)
            left_s = until_s - loop.time()
            if asked.state != "pending" or left_s <= 0:
                return asked
            await self._poster.wait_for(seq + 1, left_s)
            if self._poster.is_over:
                return asked


def require_currency(asset: str) -> None:
    """Raises `unknown_currency` for what is no money here."""
    if asset not in CURRENCIES:
        raise ProblemError("unknown_currency", f"asset: should be one of {', '.join(CURRENCIES)}", status=422)


def transfer_id(kind: str, caller: str, key: str) -> str:
    """Derives the transfer's id from its cause, so that the engine itself refuses a second one."""
    return f"{kind}-{sha256(f'{caller}/{key}'.encode()).hexdigest()[:32]}"


def positive_micros(amount: str) -> int:
    """Returns a decimal string's micro-units. Raises ProblemError for nothing, or for more than an account can hold."""
    micros = parse_micros(amount)
    if not 0 < micros <= AMOUNT_MAX_MICROS:
        raise ProblemError("malformed_request", "amount: should be more than zero and at most what an account can hold")
    return micros


def _body(asked: Request) -> dict[str, Any]:
    return {
        "transfer_id": asked.transfer_id,
        "kind": asked.kind,
        "account": asked.account,
        "asset": asked.asset,
        "amount": format_micros(asked.amount),
        "state": asked.state,
        "seq": asked.seq,
    }
