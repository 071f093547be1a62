"""Fleets: tokens that admit many nodes, their end, and the nodes' own keys that are had by them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import APIRouter, Depends, Request, Response

from schemas.accounts import ROOT, EnrolmentToken, EnrolmentTokenRevoked, NodeKeyForm, NodeKeyProof
from schemas.ids import Identifier
from schemas.replies import KeyView, Page, TokenView, rfc3339
from schemas.rest import EnrolmentTokenForm
from schemas.signing import enrolment_text, node_key_text
from services.gateway.context import GatewayContext
from services.gateway.keys.registry import KeyRegistry
from services.gateway.projections.views import NS_PER_MS
from services.gateway.routes.accounts import answered, now_ms
from services.gateway.routes.authorize import caller_with
from services.gateway.routes.reading import page_of
from services.kit.auth import Caller, public, signed_request_of
from services.kit.http import ProblemError
from services.kit.idempotency import REPLAYED, IdempotencyKey, attempt
from services.kit.key_directory import Token
from services.kit.key_requests import issued_token, may_end, node_key
from services.kit.keys import public_hex, sign_hex, signature_holds
from services.kit.openapi import REPEATED

REFUSED = "enrolment_token_refused"
TOKENS_LISTED_MAX = 1_000


@dataclass
class Fleets:
    """What the routes do."""

    gateway: GatewayContext
    registry: KeyRegistry
    signing_key: Callable[[], Ed25519PrivateKey]

    async def issue(
        self, account: str, form: EnrolmentTokenForm, request: Request, idempotency_key: str | None
    ) -> tuple[EnrolmentToken, bool]:
        """Sign a token that binds nodes to the account; return it, and whether it is new.

        The same idempotency key gives the same token. Raises `conflict` where it was used for another request.
        """
        record = issued_token(signed_request_of(request, await request.body()), account)
        asked = attempt(account, idempotency_key, "POST /v1/enrolment-tokens", form.canonical())
        if idempotency_key:
            self.gateway.directory.first_under(asked, _form_in)
        is_new = self.gateway.directory.token(record.token_id) is None
        if is_new:
            await self.registry.publish(record)
        token = self.gateway.directory.token(record.token_id)
        text = enrolment_text(account, token.token_id, token.expires_ms, token.nodes)
        return EnrolmentToken(
            account=account,
            token_id=token.token_id,
            expires_ms=token.expires_ms,
            signature=sign_hex(self.signing_key(), text),
            nodes=token.nodes,
        ), is_new

    async def revoke(self, caller: Caller, token_id: str, keys_too: bool, request: Request) -> TokenView:
        """End a token of the caller's account, and with `keys_too` every key that a node got by it."""
        token = self._own_token(caller, token_id)
        if token.revoked_ms is None:
            proof = signed_request_of(request, await request.body())
            ended = {"token_id": token_id, "account": token.account, "revoked_ms": now_ms(), "proof": proof}
            await self.registry.publish(EnrolmentTokenRevoked(**ended))
        for key_id in token.node_keys if keys_too else ():
            await self.registry.end(self.gateway.directory.get(key_id), request)
        return show_token(self.gateway.directory.token(token_id))

    async def give_key(self, form: NodeKeyForm) -> tuple[KeyView, bool]:
        """Register a node's own key by its token; return it, and whether it is new. A repeat changes nothing."""
        token, key = form.token, node_key(form.token.account, form.public_key)
        text = enrolment_text(token.account, token.token_id, token.expires_ms, token.nodes)
        if not signature_holds(public_hex(self.signing_key()), token.signature, text):
            raise ProblemError(REFUSED, "the token is not signed by this venue")
        if not signature_holds(form.public_key, form.signature, node_key_text(token.token_id, form.public_key)):
            raise ProblemError("bad_request_signature", "the request is not signed by the node's key")
        known = self.gateway.directory.get(key.key_id)
        if known == key:
            return self.gateway.views.key(known), False
        if known is not None:
            raise ProblemError("conflict", f"the key of {key.key_id} was revoked, or belongs to another account")
        if token.expires_ms <= now_ms():
            raise ProblemError(REFUSED, "the token has expired")
        proof = NodeKeyProof(token_id=token.token_id, signature=form.signature)
        try:
            await self.registry.publish(key.model_copy(update={"proof": proof}))
        except ProblemError as error:
            detail = "the token was revoked, or has admitted as many nodes as it may"
            raise ProblemError(REFUSED, detail) from error
        return self.gateway.views.key(key), True

    async def revoke_key(self, caller: Caller, key_id: str, request: Request) -> KeyView:
        """End a key for good: any one for `admin` and root, of its account what reaches no further for any other."""
        signer, known = self.gateway.directory.get(caller.key_id), self.gateway.directory.get(key_id)
        may_know = known is None and ("admin" in caller.scopes or signer.key_id == ROOT)
        if known is None and may_know:
            raise ProblemError("not_found", f"there is no key `{key_id}`")
        if known is None or not may_end(signer, known):
            raise ProblemError("scope_missing", "only `admin` revokes keys of others, or such as reach further")
        return self.gateway.views.key(await self.registry.end(known, request))

    def _own_token(self, caller: Caller, token_id: str) -> Token:
        token = self.gateway.directory.token(token_id)
        if token is None or token.account != caller.account:
            raise ProblemError("not_found", f"the account has no token `{token_id}`")
        return token


def _form_in(body: str) -> bytes:
    return EnrolmentTokenForm.model_validate_json(body).canonical()


def show_token(token: Token) -> TokenView:
    """Show a token as its account reads it."""
    revoked = token.revoked_ms
    return TokenView(
        token_id=token.token_id,
        account=token.account,
        expires=rfc3339(token.expires_ms * NS_PER_MS),
        nodes=token.nodes,
        node_keys=token.node_keys,
        revoked=rfc3339(revoked * NS_PER_MS) if revoked is not None else None,
    )


def make_router(
    gateway: GatewayContext, registry: KeyRegistry, signing_key: Callable[[], Ed25519PrivateKey]
) -> APIRouter:
    """Return the routes."""
    router, fleets = APIRouter(tags=["accounts and keys"]), Fleets(gateway, registry, signing_key)
    Anyone = Annotated[Caller, Depends(caller_with(gateway, None))]
    Operator = Annotated[Caller, Depends(caller_with(gateway, "operate"))]

    @router.post("/v1/enrolment-tokens", status_code=201)
    async def issue_token(
        caller: Operator,
        form: EnrolmentTokenForm,
        request: Request,
        response: Response,
        idempotency_key: IdempotencyKey = None,
    ) -> EnrolmentToken:
        """Issues a token with which nodes, one by default, enroll for the caller's account."""
        async with gateway.turns.of((caller.account, idempotency_key)):
            token, is_new = await answered(fleets.issue(caller.account, form, request, idempotency_key))
        if not is_new:
            response.headers.update(REPLAYED)
        return token

    @router.get("/v1/enrolment-tokens")
    async def list_tokens(caller: Operator) -> Page[TokenView]:
        """The newest 1,000 enrolment tokens of the caller's account, with the keys that nodes got by them."""
        tokens = gateway.directory.tokens_of(caller.account)[:TOKENS_LISTED_MAX]
        return page_of(tokens, show_token, gateway.history.seq)

    @router.delete("/v1/enrolment-tokens/{token_id}")
    async def revoke_token(
        caller: Operator, token_id: Identifier, request: Request, revoke_keys: bool = False
    ) -> TokenView:
        """Revokes a token: it admits nobody any more; with `revoke_keys`, the keys that nodes got by it end as well."""
        return await answered(fleets.revoke(caller, token_id, revoke_keys, request))

    @router.post("/v1/node-keys", status_code=201, responses=REPEATED)
    @public
    async def give_node_key(form: NodeKeyForm, response: Response) -> KeyView:
        """Registers a node's own key by its enrolment token; it may only touch that node's capacity."""
        view, is_new = await answered(fleets.give_key(form))
        response.status_code = 201 if is_new else 200
        return view

    @router.delete("/v1/keys/{key_id}")
    async def revoke_key(caller: Anyone, key_id: Identifier, request: Request) -> KeyView:
        """Revokes a key for good: `admin` any one, an account's key itself, its like, and with `operate` its nodes'."""
        return await answered(fleets.revoke_key(caller, key_id, request))

    return router
