"""Accounts and API keys: made on request, the public halves published for every edge to follow."""

import time
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import ip_network
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Response

from schemas.accounts import ApiKeySet
from schemas.ids import AccountId
from schemas.money import format_micros, parse_micros
from schemas.replies import AccountView, KeyView, Page, rfc3339
from schemas.rest import AccountForm, KeyForm
from services.gateway.desk import Desk
from services.gateway.views import NS_PER_MS
from services.kit.auth import Caller
from services.kit.http import ProblemError
from services.kit.store import DatabaseAway

ADMIN_ACCOUNT = "venue-admin"
ADMIN_KEY_ID = "admin"
ALL_SCOPES = ("read", "trade", "operate", "sell_hw", "withdraw", "arbiter", "admin")
IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key", pattern=r"^[\x21-\x7e]{1,128}$")]


@dataclass
class Accounts:
    """What the routes do. Each is idempotent: the same request again changes nothing and says so."""

    desk: Desk

    async def open(self, form: AccountForm) -> tuple[AccountView, bool]:
        """Makes an account; returns it, and whether it is new."""
        created_ms, is_new = await self.desk.store.add_account(form.account, now_ms())
        return AccountView(account=form.account, created=rfc3339(created_ms * NS_PER_MS)), is_new

    async def add_key(self, form: KeyForm) -> tuple[KeyView, bool]:
        """Registers a key; returns it, and whether it is new. Raises `conflict` for another key of the same id."""
        key = key_of(form)
        known = self.desk.directory.get(key.key_id)
        if known is not None and known != key:
            raise ProblemError("conflict", f"there is another key `{key.key_id}`")
        if known is None:
            await self._publish(key)
        return show_key(key), known is None

    async def bootstrap_admin(self, public_key: str) -> None:
        """Registers the operator of the venue under the key that lies in the venue's own key folder, unless his key
        ever was on the topic: a revoked one stays revoked.
        """
        await self.desk.store.add_account(ADMIN_ACCOUNT, now_ms())
        form = KeyForm(account=ADMIN_ACCOUNT, public_key=public_key, scopes=ALL_SCOPES, key_id=ADMIN_KEY_ID)
        if self.desk.directory.get(ADMIN_KEY_ID) is None:
            await self._publish(key_of(form))

    async def _publish(self, key: ApiKeySet) -> None:
        if self.desk.directory.keys_of(key.account):  # known by the topic, whatever has become of the table
            await self.desk.store.add_account(key.account, now_ms())
        try:
            await self.desk.store.set_key(key)
        except KeyError as error:
            raise ProblemError("not_found", f"there is no account {error}") from error
        self.desk.directory.put(key)
        self.desk.publisher.wake()


def make_router(desk: Desk) -> APIRouter:
    """Returns the routes."""
    router, accounts = APIRouter(tags=["accounts and keys"]), Accounts(desk)
    Admin = Annotated[Caller, Depends(desk.caller("admin"))]

    @router.post("/v1/accounts", status_code=201)
    async def open_account(caller: Admin, form: AccountForm, response: Response) -> AccountView:
        """Opens an account. Who is behind a name is the operator's business, so that only `admin` may."""
        view, is_new = await answered(accounts.open(form))
        return _created(response, view, is_new, f"/v1/accounts/{view.account}")

    @router.post("/v1/keys", status_code=201)
    async def add_key(caller: Admin, form: KeyForm, response: Response) -> KeyView:
        """Registers the public half of an API key."""
        view, is_new = await answered(accounts.add_key(form))
        return _created(response, view, is_new, f"/v1/keys/{view.key_id}")

    @router.get("/v1/keys")
    async def list_keys(
        caller: Annotated[Caller, Depends(desk.caller("read"))], account: AccountId | None = None
    ) -> Page[KeyView]:
        """The keys of the caller's account; `admin` may name another."""
        if account not in (None, caller.account) and "admin" not in caller.scopes:
            raise ProblemError("scope_missing", "only `admin` sees the keys of others")
        keys = desk.directory.keys_of(account or caller.account)
        return Page(items=tuple(map(show_key, keys)), cursor=None, seq=desk.history.seq)

    return router


def key_of(form: KeyForm) -> ApiKeySet:
    """Returns the key that a form asks for. Raises `malformed_request` for an address range that is none."""
    try:
        networks = tuple(str(ip_network(text)) for text in form.ip_networks)
    except ValueError as error:
        raise ProblemError("malformed_request", f"ip_networks: {error}") from error
    return ApiKeySet(
        key_id=form.key_id or f"k-{sha256(bytes.fromhex(form.public_key)).hexdigest()[:16]}",
        account=form.account,
        public_key=form.public_key,
        scopes=tuple(scope for scope in ALL_SCOPES if scope in form.scopes),
        expires_ms=int(form.expires.timestamp() * 1000) if form.expires else None,
        ip_networks=networks,
        order_limit_micros=parse_micros(form.order_limit) if form.order_limit else None,
        revoked=False,
    )


def show_key(key: ApiKeySet) -> KeyView:
    """Shows a key as its account reads it."""
    limit_micros = key.order_limit_micros
    return KeyView(
        key_id=key.key_id,
        account=key.account,
        public_key=key.public_key,
        scopes=key.scopes,
        expires=rfc3339(key.expires_ms * NS_PER_MS) if key.expires_ms is not None else None,
        ip_networks=key.ip_networks,
        order_limit=format_micros(limit_micros) if limit_micros is not None else None,
        revoked=key.revoked,
        node=key.node,
    )


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
