"""Fleets: tokens that admit many nodes, their end, and the nodes' own keys that are had by them."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import APIRouter, Depends, Response

from schemas.accounts import ApiKeySet, EnrolmentToken, NodeKeyForm
from schemas.ids import Identifier
from schemas.nodes import node_id_of
from schemas.replies import KeyView, Page, TokenView, rfc3339
from schemas.rest import EnrolmentTokenForm
from schemas.signing import enrolment_text, node_key_text
from services.gateway.accounts import IdempotencyKey, answered, now_ms, show_key
from services.gateway.desk import Desk
from services.gateway.records import Token
from services.gateway.views import NS_PER_MS
from services.kit.auth import Caller, public
from services.kit.http import ProblemError
from services.kit.idempotency import REPLAYED, attempt
from services.kit.keys import public_hex, sign_hex, signature_holds

NODE_SCOPES = ("read", "operate")
REFUSED = "enrolment_token_refused"


@dataclass
class Fleets:
    """What the routes do."""

    desk: Desk
    signing_key: Callable[[], Ed25519PrivateKey]

    async def issue(
        self, account: str, form: EnrolmentTokenForm, idempotency_key: str | None
    ) -> tuple[EnrolmentToken, bool]:
        """Signs a token that binds nodes to the account; returns it, and whether it is new.

        The same idempotency key gives the same token. Raises `conflict` where it was used for another request.
        """
        seed = f"{account}|{idempotency_key}" if idempotency_key else self.desk.next_command_id()
        token_id = f"enrol-{sha256(seed.encode()).hexdigest()[:24]}"
        is_new = True
        if idempotency_key:
            asked = attempt(account, idempotency_key, "POST /v1/enrolment-tokens", form.canonical())
            is_new = await self.desk.store.first_answer(asked) is None
            if is_new:
                await self.desk.store.keep_answer(asked, token_id)
        token = await self.desk.store.add_token(token_id, account, now_ms() + form.valid_s * 1000, form.nodes)
        signature = sign_hex(self.signing_key(), enrolment_text(account, token_id, token.expires_ms, token.nodes))
        return EnrolmentToken(
            account=account, token_id=token_id, expires_ms=token.expires_ms, signature=signature, nodes=token.nodes
        ), is_new

    async def revoke(self, caller: Caller, token_id: str, keys_too: bool) -> TokenView:
        """Ends a token of the caller's account, and with `keys_too` every key that a node got by it."""
        token = await self._own_token(caller, token_id)
        if token.revoked_ms is None:
            await self.desk.store.revoke_token(token, now_ms())
        for key_id in await self.desk.store.node_keys(token_id) if keys_too else ():
            await self._end_key(self.desk.directory.get(key_id))
        self.desk.publisher.wake()
        return await self.show(await self.desk.store.token(token_id))

    async def show(self, token: Token) -> TokenView:
        """Shows a token as its account reads it."""
        revoked = token.revoked_ms
        return TokenView(
            token_id=token.token_id,
            account=token.account,
            expires=rfc3339(token.expires_ms * NS_PER_MS),
            nodes=token.nodes,
            node_keys=tuple(await self.desk.store.node_keys(token.token_id)),
            revoked=rfc3339(revoked * NS_PER_MS) if revoked is not None else None,
        )

    async def give_key(self, form: NodeKeyForm) -> tuple[KeyView, bool]:
        """Registers a node's own key by its token; returns it, and whether it is new. A repeat changes nothing."""
        token, key_id = form.token, node_id_of(form.public_key)
        text = enrolment_text(token.account, token.token_id, token.expires_ms, token.nodes)
        if not signature_holds(public_hex(self.signing_key()), token.signature, text):
            raise ProblemError(REFUSED, "the token is not signed by this venue")
        if not signature_holds(form.public_key, form.signature, node_key_text(token.token_id, form.public_key)):
            raise ProblemError("bad_request_signature", "the request is not signed by the node's key")
        known = self.desk.directory.get(key_id)
        if known is not None and (known.account, known.revoked) == (token.account, False):
            return show_key(known), False
        if known is not None:
            raise ProblemError("conflict", f"the key of {key_id} was revoked, or belongs to another account")
        if token.expires_ms <= now_ms():
            raise ProblemError(REFUSED, "the token has expired")
        kept = await self.desk.store.token(token.token_id)
        key = ApiKeySet(
            key_id=key_id,
            account=token.account,
            public_key=form.public_key,
            scopes=NODE_SCOPES,
            expires_ms=None,
            ip_networks=(),
            order_limit_micros=None,
            revoked=False,
            node=key_id,
        )
        if kept is None or not await self.desk.store.add_node_key(kept, key):
            raise ProblemError(REFUSED, "the token was revoked, or has admitted as many nodes as it may")
        self.desk.directory.put(key)
        self.desk.publisher.wake()
        return show_key(key), True

    async def revoke_key(self, caller: Caller, key_id: str) -> KeyView:
        """Ends a key for good: any one for `admin`, those of its own nodes for an account."""
        known = self.desk.directory.get(key_id)
        is_own_nodes = known is not None and known.node is not None and known.account == caller.account
        if "admin" not in caller.scopes and not is_own_nodes:
            raise ProblemError("scope_missing", "only `admin` revokes keys that are no node's of the account")
        if known is None:
            raise ProblemError("not_found", f"there is no key `{key_id}`")
        return show_key(await self._end_key(known))

    async def _end_key(self, known: ApiKeySet) -> ApiKeySet:
        key = known.model_copy(update={"revoked": True})
        if key != known:
            await self.desk.store.add_account(key.account, now_ms())  # the table may be older than the topic
            await self.desk.store.set_key(key)
            self.desk.directory.put(key)
            self.desk.publisher.wake()
        return key

    async def _own_token(self, caller: Caller, token_id: str) -> Token:
        token = await self.desk.store.token(token_id)
        if token is None or token.account != caller.account:
            raise ProblemError("not_found", f"the account has no token `{token_id}`")
        return token


def make_fleet_router(desk: Desk, signing_key: Callable[[], Ed25519PrivateKey]) -> APIRouter:
    """Returns the routes."""
    router, fleets = APIRouter(tags=["accounts and keys"]), Fleets(desk, signing_key)
    Operator = Annotated[Caller, Depends(desk.caller("operate"))]

    @router.post("/v1/enrolment-tokens", status_code=201)
    async def issue_token(
        caller: Operator, form: EnrolmentTokenForm, response: Response, idempotency_key: IdempotencyKey = None
    ) -> EnrolmentToken:
        """Issues a token with which nodes, one by default, enroll for the caller's account."""
        async with desk.turns.of((caller.account, idempotency_key)):
            token, is_new = await answered(fleets.issue(caller.account, form, idempotency_key))
        if not is_new:
            response.headers.update(REPLAYED)
        return token

    @router.get("/v1/enrolment-tokens")
    async def list_tokens(caller: Operator) -> Page[TokenView]:
        """The newest 1,000 enrolment tokens of the caller's account, with the keys that nodes got by them."""
        tokens = await answered(desk.store.tokens(caller.account))
        items = tuple([await answered(fleets.show(token)) for token in tokens])
        return Page(items=items, cursor=None, seq=desk.history.seq)

    @router.delete("/v1/enrolment-tokens/{token_id}")
    async def revoke_token(caller: Operator, token_id: Identifier, revoke_keys: bool = False) -> TokenView:
        """Revokes a token: it admits nobody any more; with `revoke_keys`, the keys that nodes got by it end as well."""
        return await answered(fleets.revoke(caller, token_id, revoke_keys))

    @router.post("/v1/node-keys", status_code=201)
    @public
    async def give_node_key(form: NodeKeyForm, response: Response) -> KeyView:
        """Registers a node's own key by its enrolment token; it may only touch that node's capacity."""
        view, is_new = await answered(fleets.give_key(form))
        response.status_code = 201 if is_new else 200
        return view

    @router.delete("/v1/keys/{key_id}")
    async def revoke_key(caller: Operator, key_id: Identifier) -> KeyView:
        """Revokes a key for good: `admin` any one, an account those of its nodes."""
        return await answered(fleets.revoke_key(caller, key_id))

    return router
