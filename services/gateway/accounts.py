"""Accounts and API keys: made on request, the public halves published for every edge to follow."""

import time
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request, Response

from schemas.accounts import ADMIN_ACCOUNT, SignedRequest
from schemas.ids import AccountId
from schemas.replies import AccountView, KeyView, Page, rfc3339
from schemas.rest import AccountForm, KeyForm
from services.gateway.desk import Desk
from services.gateway.key_registry import KeyRegistry
from services.gateway.reading import page_of
from services.gateway.views import NS_PER_MS
from services.kit.auth import Caller, signed_request_of
from services.kit.http import ProblemError
from services.kit.key_directory import key_of
from services.kit.store import DatabaseAway

IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key", pattern=r"^[\x21-\x7e]{1,128}$")]


@dataclass
class Accounts:
    """What the routes do. Each is idempotent: the same request again changes nothing and says so."""

    desk: Desk
    registry: KeyRegistry

    async def open(self, form: AccountForm) -> tuple[AccountView, bool]:
        """Makes an account; returns it, and whether it is new."""
        created_ms, is_new = await self.desk.store.add_account(form.account, now_ms())
        return AccountView(account=form.account, created=rfc3339(created_ms * NS_PER_MS)), is_new

    async def add_key(self, form: KeyForm, request: Request) -> tuple[KeyView, bool]:
        """Registers a key as its signer asks; returns it, and whether it is new.

        Raises `scope_missing` where the signer may not give it, `conflict` for another key of the same id.
        """
        try:
            key = key_of(form)
        except ValueError as error:
            raise ProblemError("malformed_request", f"ip_networks: {error}") from error
        record = key.model_copy(update={"proof": signed_request_of(request, await request.body())})
        self.registry.check(record)
        is_new = self.desk.directory.get(key.key_id) is None
        if is_new:
            await self._require_account(key.account)
            await self.registry.publish(record)
        if self.desk.directory.get(key.key_id) != key:
            raise ProblemError("conflict", f"there is another key `{key.key_id}`")
        return self.desk.views.key(key), is_new

    async def bootstrap_admin(self, request: SignedRequest) -> None:
        """Registers the first operator of the venue, whose key root has signed, unless the key ever was on the topic:
        a revoked one stays revoked.
        """
        await self.desk.store.add_account(ADMIN_ACCOUNT, now_ms())
        key = key_of(KeyForm.model_validate_json(request.body))
        if self.desk.directory.get(key.key_id) is None:
            await self.registry.publish(key.model_copy(update={"proof": request}))

    async def _require_account(self, account: AccountId) -> None:
        is_known = self.desk.directory.keys_of(account) or await self.desk.store.has_account(account)
        if not is_known and account != ADMIN_ACCOUNT:
            raise ProblemError("not_found", f"there is no account '{account}'")


def make_router(desk: Desk, registry: KeyRegistry) -> APIRouter:
    """Returns the routes."""
    router, accounts = APIRouter(tags=["accounts and keys"]), Accounts(desk, registry)
    Admin = Annotated[Caller, Depends(desk.caller("admin"))]
    Anyone = Annotated[Caller, Depends(desk.caller(None))]

    @router.post("/v1/accounts", status_code=201)
    async def open_account(caller: Admin, form: AccountForm, response: Response) -> AccountView:
        """Opens an account. Who is behind a name is the operator's business, so that only `admin` may."""
        view, is_new = await answered(accounts.open(form))
        return _created(response, view, is_new, f"/v1/accounts/{view.account}")

    @router.post("/v1/keys", status_code=201)
    async def add_key(caller: Anyone, form: KeyForm, request: Request, response: Response) -> KeyView:
        """Registers the public half of an API key, as far as the signer's own key reaches; `admin` for any account."""
        view, is_new = await answered(accounts.add_key(form, request))
        return _created(response, view, is_new, f"/v1/keys/{view.key_id}")

    @router.get("/v1/keys")
    async def list_keys(
        caller: Annotated[Caller, Depends(desk.caller("read"))], account: AccountId | None = None
    ) -> Page[KeyView]:
        """The keys of the caller's account; `admin` may name another."""
        if account not in (None, caller.account) and "admin" not in caller.scopes:
            raise ProblemError("scope_missing", "only `admin` sees the keys of others")
        keys = desk.directory.keys_of(account or caller.account)
        return page_of(keys, desk.views.key, desk.history.seq)

    return router


async def answered(work):
    """Returns what the work returns. Raises `unavailable` while PostgreSQL does not answer."""
    try:
        return await work
    except DatabaseAway as error:
        raise ProblemError("unavailable", f"PostgreSQL does not answer: {error}", retryable=True) from error


def _created(response: Response, view, is_new: bool, location: str):
    response.headers["Location"] = location
    if not is_new:
        response.status_code = 200
        response.headers["Idempotent-Replayed"] = "true"
    return view


def now_ms() -> int:
    """Returns the machine's clock in milliseconds."""
    return time.time_ns() // NS_PER_MS
