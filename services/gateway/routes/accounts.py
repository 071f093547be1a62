"""Accounts and API keys: made on request, the public halves published for every edge to follow."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Request, Response

from schemas.accounts import AccountOpened, AnyKeyEvent, ApiKeySet, SignedRequest
from schemas.ids import AccountId
from schemas.replies import AccountView, KeyView, Page, rfc3339
from schemas.rest import AccountForm, KeyForm
from services.gateway.context import GatewayContext
from services.gateway.keys.registry import KeyRegistry
from services.gateway.keys.sign_ups import SignUps
from services.gateway.projections.views import NS_PER_MS
from services.gateway.routes.authorize import caller_if_known, caller_with
from services.gateway.routes.reading import page_of
from services.kit.auth import Caller, check_scope, signed_request_of
from services.kit.http import ProblemError
from services.kit.idempotency import IdempotencyKey, attempt
from services.kit.key_directory import KeyDirectory
from services.kit.key_requests import UnprovenRecord, first_key_of, key_of
from services.kit.openapi import REPEATED
from services.kit.store import DatabaseAway

View = TypeVar("View", AccountView, KeyView)


@dataclass
class Accounts:
    """What the routes do. Each is idempotent: the same request again changes nothing and says so."""

    gateway: GatewayContext
    registry: KeyRegistry
    sign_ups: SignUps

    async def open(self, form: AccountForm, request: Request) -> tuple[AccountView, bool]:
        """Open an account as an administrator asks; return it, and whether it is new.

        Raises `conflict` where a stranger was first: what is meant for somebody else must not become his.
        """
        is_new = not self.gateway.directory.has_account(form.account)
        if is_new:
            proof = signed_request_of(request, await request.body())
            await self.registry.publish(AccountOpened(account=form.account, proof=proof))
        if self.gateway.directory.account(form.account).by_itself:
            raise ProblemError("conflict", f"the account '{form.account}' was opened by a key of its own")
        return self._view(form.account), is_new

    async def open_by_itself(
        self, form: AccountForm, caller: Caller | None, request: Request
    ) -> tuple[AccountView, bool]:
        """Open an account with the key that signs the request; return it, and whether it is new.

        Raises `sign_up_closed`, `scope_missing` for a name that only an administrator gives, `conflict` for one that is
        taken.
        """
        if caller is None:
            self.sign_ups.admit(request)
        proof, directory = signed_request_of(request, await request.body()), self.gateway.directory
        try:
            key = first_key_of(proof)
        except UnprovenRecord as error:
            raise ProblemError("scope_missing", str(error)) from error
        if proof.key_id != key.key_id:
            raise ProblemError("bad_request_signature", f"the request is to be signed by the key `{key.key_id}`")
        if caller is None:
            self.gateway.auth.verify_new_key(proof, key)
        is_new = caller is None and directory.is_free(form.account)
        if is_new:
            self.sign_ups.count()
            is_new = await self.registry.try_to_publish(key.model_copy(update={"proof": proof}))
        if directory.get(key.key_id) != key:
            raise ProblemError("conflict", f"the account '{form.account}' was opened before, with another key")
        return self._view(form.account, key.key_id), is_new

    def show_account(self, opening: AccountOpened | ApiKeySet) -> AccountView:
        """Show the account that a record opened."""
        return self._view(opening.account, opening.key_id if isinstance(opening, ApiKeySet) else None)

    def _view(self, account: AccountId, key_id: str | None = None) -> AccountView:
        opened_ms = self.gateway.directory.account(account).opened_ms
        return AccountView(account=account, created=rfc3339(opened_ms * NS_PER_MS), key_id=key_id)

    async def add_key(self, form: KeyForm, request: Request) -> tuple[KeyView, bool]:
        """Register a key as its signer asks; return it, and whether it is new.

        Raises `scope_missing` where the signer may not give it, `conflict` for another key of the same id.
        """
        try:
            key = key_of(form)
        except ValueError as error:
            raise ProblemError("malformed_request", f"ip_networks: {error}") from error
        record = key.model_copy(update={"proof": signed_request_of(request, await request.body())})
        self.registry.check(record)
        is_new = self.gateway.directory.get(key.key_id) is None
        if is_new:
            if not self.gateway.directory.has_account(key.account):
                raise ProblemError("not_found", f"there is no account '{key.account}'")
            await self.registry.publish(record)
        if self.gateway.directory.get(key.key_id) != key:
            raise ProblemError("conflict", f"there is another key `{key.key_id}`")
        return self.gateway.views.key(key), is_new


async def bootstrap_admin(registry: KeyRegistry, directory: KeyDirectory, request: SignedRequest) -> None:
    """Register the first operator of the venue, whose key root has signed, unless the key ever was on the topic: a
    revoked one stays revoked.
    """
    key = key_of(KeyForm.model_validate_json(request.body))
    if directory.get(key.key_id) is None:
        await registry.publish(key.model_copy(update={"proof": request}))


def make_router(gateway: GatewayContext, registry: KeyRegistry) -> APIRouter:
    """Return the routes."""
    router, accounts = APIRouter(tags=["accounts and keys"]), Accounts(gateway, registry, SignUps(gateway.settings))
    Anyone = Annotated[Caller, Depends(caller_with(gateway, None))]

    @router.post("/v1/accounts", status_code=201, responses=REPEATED)
    async def open_account(
        caller: Annotated[Caller | None, Depends(caller_if_known(gateway))],
        form: AccountForm,
        request: Request,
        response: Response,
        idempotency_key: IdempotencyKey = None,
    ) -> AccountView:
        """Opens an account: a stranger's with the key that signs the request, any other for `admin` alone."""

        async def work() -> tuple[AccountView, bool]:
            if form.public_key is not None:
                return await accounts.open_by_itself(form, caller, request)
            if caller is None:
                detail = "no such key; a request that opens an account by itself brings its key"
                raise ProblemError("unknown_key", detail)
            check_scope(caller, "admin")
            return await accounts.open(form, request)

        key = idempotency_key if caller else None
        view, is_new = await once_under(gateway, caller, key, request, accounts.show_account, work)
        return _created(response, view, is_new)

    @router.post("/v1/keys", status_code=201, responses=REPEATED)
    async def add_key(
        caller: Anyone, form: KeyForm, request: Request, response: Response, idempotency_key: IdempotencyKey = None
    ) -> KeyView:
        """Registers the public half of an API key, as far as the signer's own key reaches; `admin` for any account."""

        async def work() -> tuple[KeyView, bool]:
            return await accounts.add_key(form, request)

        view, is_new = await once_under(gateway, caller, idempotency_key, request, gateway.views.key, work)
        return _created(response, view, is_new)

    @router.get("/v1/keys")
    async def list_keys(
        caller: Annotated[Caller, Depends(caller_with(gateway, "read"))], account: AccountId | None = None
    ) -> Page[KeyView]:
        """The keys of the caller's account; `admin` may name another."""
        if account not in (None, caller.account) and "admin" not in caller.scopes:
            raise ProblemError("scope_missing", "only `admin` sees the keys of others")
        keys = gateway.directory.keys_of(account or caller.account)
        return page_of(keys, gateway.views.key, gateway.history.seq)

    return router


async def once_under(
    gateway: GatewayContext,
    caller: Caller | None,
    key: str | None,
    request: Request,
    show: Callable[[AnyKeyEvent], View],
    work: Callable[[], Awaitable[tuple[View, bool]]],
) -> tuple[View, bool]:
    """Do the work, under an idempotency key once; return what it shows, and whether that is new.

    `show` shows the record that a request made, which the topic knows. Raises `conflict` where the key names another
    request.
    """
    if key is None:
        return await answered(work())
    asked = attempt(caller.account, key, f"{request.method} {request.scope['path']}", await request.body())
    async with gateway.turns.of((asked.account, key)):
        made = gateway.directory.first_under(asked)
        return (show(made), False) if made is not None else await answered(work())


async def answered(work):
    """Return what the work returns. Raises `unavailable` while PostgreSQL does not answer."""
    try:
        return await work
    except DatabaseAway as error:
        raise ProblemError("unavailable", f"PostgreSQL does not answer: {error}", retryable=True) from error


def _created(response: Response, view: View, is_new: bool) -> View:
    if not is_new:
        response.status_code = 200
        response.headers["Idempotent-Replayed"] = "true"
    return view


def now_ms() -> int:
    """Return the machine's clock in milliseconds."""
    return time.time_ns() // NS_PER_MS
