"""The API keys, tokens and their ends as `keys.events` proves them; whoever writes there, only signatures count."""

import asyncio
import time
from dataclasses import dataclass, field, replace
from hashlib import sha256
from ipaddress import ip_network
from urllib.parse import parse_qs, unquote

import structlog
from pydantic import ValidationError

from schemas.accounts import (
    ADMIN_ACCOUNT,
    ALL_SCOPES,
    NODE_SCOPES,
    ROOT,
    AnyKeyEvent,
    ApiKeySet,
    EnrolmentTokenIssued,
    EnrolmentTokenRevoked,
    NodeKeyProof,
    SignedRequest,
)
from schemas.ids import AccountId
from schemas.money import parse_micros
from schemas.nodes import node_id_of
from schemas.rest import EnrolmentTokenForm, KeyForm
from schemas.signing import node_key_text, request_text
from services.kit.keys import signature_holds
from services.kit.process import set_within

KEYS, TOKENS = "/v1/keys", "/v1/enrolment-tokens"
END_CHECK_S = 0.5  # how often the clock is held against an expiry: it may be set, so that one long sleep is not enough


class UnprovenRecord(Exception):
    """A record of `keys.events` does not follow from what is signed in it."""


@dataclass(frozen=True)
class Token:
    """An enrolment token, and the keys that nodes got by it."""

    token_id: str
    account: str
    expires_ms: int
    nodes: int
    revoked_ms: int | None = None
    node_keys: tuple[str, ...] = field(default=())


class KeyDirectory:
    """The API keys as published, by key id. What an id stands for never changes; it may only end."""

    def __init__(self, root_public_key: str | None = None):
        self._root = root_public_key
        self._keys: dict[str, ApiKeySet] = {}
        self._accounts: set[str] = set()
        self._tokens: dict[str, Token] = {}
        self._revoked_tokens: set[tuple[str, str]] = set()
        self._ends: dict[str, asyncio.Event] = {}

    def trust(self, root_public_key: str) -> None:
        """Names the root key, which signs the venue's administrators."""
        self._root = root_public_key

    def take(self, event: AnyKeyEvent) -> bool:
        """Takes a record of `keys.events` if it is proven; says so in one line where it is not, and passes over it."""
        try:
            self.check(event)
        except UnprovenRecord as error:
            named = event.key_id if isinstance(event, ApiKeySet) else event.token_id
            structlog.get_logger().warning("unproven key record ignored", record=event.type, id=named, why=str(error))
            return False
        match event:
            case ApiKeySet():
                self._count_node(event)
                self.put(event)
            case EnrolmentTokenIssued():
                terms = (event.token_id, event.account, event.expires_ms, event.nodes)
                self._tokens.setdefault(event.token_id, Token(*terms))
            case EnrolmentTokenRevoked():
                self._revoked_tokens.add((event.account, event.token_id))
                token = self._tokens.get(event.token_id)
                if token is not None and token.account == event.account and token.revoked_ms is None:
                    self._tokens[event.token_id] = replace(token, revoked_ms=event.revoked_ms)
        return True

    def check(self, event: AnyKeyEvent) -> None:
        """Raises UnprovenRecord unless the record follows from a request that a living key may make."""
        match event:
            case ApiKeySet(proof=NodeKeyProof()):
                self._check_node_key(event, event.proof)
            case ApiKeySet(proof=SignedRequest()) if event.revoked:
                self._check_end(event, event.proof)
            case ApiKeySet(proof=SignedRequest()):
                self._check_new_key(event, event.proof)
            case EnrolmentTokenIssued():
                signer = self._signer(event.proof)
                _require(event == issued_token(event.proof, signer.account), "the request asks for another token")
                _require(_may_operate(signer), "the signer may not operate nodes")
            case EnrolmentTokenRevoked():
                signer = self._signer(event.proof)
                asked = ("DELETE", f"{TOKENS}/{event.token_id}")
                _require(_asked(event.proof) == asked, "the request asks for something else")
                _require(event.account == signer.account and _may_operate(signer), "the token is another account's")
            case _:
                raise UnprovenRecord("nothing signed is in it")

    def put(self, key: ApiKeySet) -> None:
        """Takes a key, or its end, as proven. What would change or revive one is passed over."""
        key = key.model_copy(update={"proof": None})
        known = self._keys.get(key.key_id)
        if known is None or key == known.model_copy(update={"revoked": True}):
            self._keys[key.key_id] = key
            self._accounts.add(key.account)
            if key.revoked and (end := self._ends.get(key.key_id)):
                end.set()
        elif key != known:
            structlog.get_logger().warning("a record that would change or revive a key is ignored", key=key.key_id)

    def get(self, key_id: str) -> ApiKeySet | None:
        """Returns the key, or None. The root key may do nothing but sign keys and their ends."""
        if key_id == ROOT and self._root is not None:
            return _root_key(self._root)
        return self._keys.get(key_id)

    def keys_of(self, account: AccountId) -> list[ApiKeySet]:
        """Returns the keys of an account, by their ids."""
        return [key for _, key in sorted(self._keys.items()) if key.account == account]

    def has_account(self, account: AccountId) -> bool:
        """Says whether an account has, or has had, a key."""
        return account in self._accounts

    def token(self, token_id: str) -> Token | None:
        """Returns the enrolment token, or None."""
        return self._tokens.get(token_id)

    def tokens_of(self, account: AccountId) -> list[Token]:
        """Returns the enrolment tokens of an account, those that live longest first."""
        own = [token for token in self._tokens.values() if token.account == account]
        return sorted(own, key=lambda token: (-token.expires_ms, token.token_id))

    def has_revoked_token(self, account: AccountId, token_id: str) -> bool:
        """Says whether the account revoked an enrolment token."""
        return (account, token_id) in self._revoked_tokens

    def lives(self, key_id: str) -> bool:
        """Says whether a key is known, not revoked and not expired."""
        key = self._keys.get(key_id)
        return key is not None and not key.revoked and not (key.expires_ms and key.expires_ms <= time.time() * 1_000)

    async def wait_for_end(self, key_id: str) -> None:
        """Returns when a key no longer lives, at most a second late."""
        revoked = self._ends.setdefault(key_id, asyncio.Event())
        while self.lives(key_id):
            await set_within(revoked, END_CHECK_S if self._keys[key_id].expires_ms is not None else None)

    def _signer(self, request: SignedRequest) -> ApiKeySet:
        signer = self.get(request.key_id)
        _require(signer is not None and not signer.revoked, "the signer is no living key")
        expired = signer.expires_ms is not None and signer.expires_ms <= request.ts_ms
        _require(not expired and signer.node is None, "the signer has expired, or is a node's own key")
        _require(signature_holds(signer.public_key, request.signature, text_of(request)), "the signature does not fit")
        return signer

    def _check_new_key(self, key: ApiKeySet, request: SignedRequest) -> None:
        signer = self._signer(request)
        _require(_asked(request) == ("POST", KEYS), "the request asks for something else")
        try:
            wanted = key_of(KeyForm.model_validate_json(request.body))
        except ValueError as error:
            raise UnprovenRecord("the request asks for no key") from error
        _require(key.model_copy(update={"proof": None}) == wanted, "the request asks for another key")
        _require(key.key_id != ROOT, "the id is the root key's")
        _require(may_add(signer, wanted), "the signer may not give such a key")

    def _check_end(self, key: ApiKeySet, request: SignedRequest) -> None:
        signer, known = self._signer(request), self._keys.get(key.key_id)
        _require(known is not None, "there is no such key")
        ended = known.model_copy(update={"revoked": True})
        _require(key.model_copy(update={"proof": None}) == ended, "the record changes more than that the key ends")
        token = next((each for each in self._tokens.values() if key.key_id in each.node_keys), None)
        by_token = (
            token is not None
            and _asked(request) == ("DELETE", f"{TOKENS}/{token.token_id}")
            and parse_qs(request.query).get("revoke_keys") == ["true"]
        )
        _require(by_token or _asked(request) == ("DELETE", f"{KEYS}/{key.key_id}"), "the request ends something else")
        _require(may_end(signer, known), "the signer may not end this key")

    def _check_node_key(self, key: ApiKeySet, proof: NodeKeyProof) -> None:
        token = self._tokens.get(proof.token_id)
        _require(token is not None and token.revoked_ms is None, "no such token admits nodes")
        is_new = key.key_id not in token.node_keys
        _require(not is_new or len(token.node_keys) < token.nodes, "the token has admitted its nodes")
        text = node_key_text(token.token_id, key.public_key)
        _require(signature_holds(key.public_key, proof.signature, text), "the node's signature does not fit")
        wanted = node_key(token.account, key.public_key)
        _require(key.model_copy(update={"proof": None}) == wanted, "the record is not what a token gives")

    def _count_node(self, key: ApiKeySet) -> None:
        if isinstance(key.proof, NodeKeyProof) and key.key_id not in self._keys:
            token = self._tokens[key.proof.token_id]
            self._tokens[token.token_id] = replace(token, node_keys=(*token.node_keys, key.key_id))


def text_of(request: SignedRequest) -> bytes:
    """Returns the bytes that the caller of a request signed."""
    target, body = (request.method, request.path, request.query), request.body.encode()
    try:
        return request_text(*target, body, request.ts_ms, request.nonce, request.key_id, request.idempotency_key)
    except UnicodeEncodeError as error:
        raise UnprovenRecord("the request is none that HTTP can carry") from error


def key_of(form: KeyForm) -> ApiKeySet:
    """Returns the key that a form asks for. Raises ValueError for an address range that is none."""
    return ApiKeySet(
        key_id=form.key_id or f"k-{sha256(bytes.fromhex(form.public_key)).hexdigest()[:16]}",
        account=form.account,
        public_key=form.public_key,
        scopes=tuple(scope for scope in ALL_SCOPES if scope in form.scopes),
        expires_ms=int(form.expires.timestamp() * 1000) if form.expires else None,
        ip_networks=tuple(str(ip_network(text)) for text in form.ip_networks),
        order_limit_micros=parse_micros(form.order_limit) if form.order_limit else None,
        revoked=False,
    )


def node_key(account: AccountId, public_key: str) -> ApiKeySet:
    """Returns the key that a node gets by a token of the account."""
    key_id = node_id_of(public_key)
    return ApiKeySet(
        key_id=key_id,
        account=account,
        public_key=public_key,
        scopes=NODE_SCOPES,
        expires_ms=None,
        ip_networks=(),
        order_limit_micros=None,
        revoked=False,
        node=key_id,
    )


def issued_token(request: SignedRequest, account: AccountId) -> EnrolmentTokenIssued:
    """Returns the token that a request asks for; the same idempotency key names the same token."""
    _require(_asked(request) == ("POST", TOKENS), "the request asks for something else")
    try:
        form = EnrolmentTokenForm.model_validate_json(request.body)
    except ValidationError as error:
        raise UnprovenRecord("the request asks for no token") from error
    seed = f"{account}|{request.idempotency_key or request.signature}"
    return EnrolmentTokenIssued(
        token_id=f"enrol-{sha256(seed.encode()).hexdigest()[:24]}",
        account=account,
        expires_ms=request.ts_ms + form.valid_s * 1_000,
        nodes=form.nodes,
        proof=request,
    )


def may_add(signer: ApiKeySet, key: ApiKeySet) -> bool:
    """Says whether a key may sign a new one: root any, an administrator those of all others, an account's key its like.

    What an account's own key gives reaches no further than that key, and a key that only reads gives none.
    """
    if signer.key_id == ROOT:
        return True
    if "admin" in key.scopes or key.account == ADMIN_ACCOUNT:
        return False
    if "admin" in signer.scopes:
        return True
    is_within = set(key.scopes) <= set(signer.scopes) and set(signer.scopes) != {"read"}
    limits = ("expires_ms", "ip_networks", "order_limit_micros")
    as_limited = all(getattr(signer, name) in (None, (), getattr(key, name)) for name in limits)
    return signer.account == key.account and is_within and as_limited


def may_end(signer: ApiKeySet, key: ApiKeySet) -> bool:
    """Says whether a key may end another: root and administrators any, an account's those of its nodes."""
    if signer.key_id == ROOT or "admin" in signer.scopes:
        return True
    return signer.account == key.account and key.node is not None and "operate" in signer.scopes


def _root_key(public_key: str) -> ApiKeySet:
    return ApiKeySet(
        key_id=ROOT,
        account=ADMIN_ACCOUNT,
        public_key=public_key,
        scopes=(),
        expires_ms=None,
        ip_networks=(),
        order_limit_micros=None,
        revoked=False,
    )


def _may_operate(signer: ApiKeySet) -> bool:
    return bool({"operate", "admin"} & set(signer.scopes))


def _asked(request: SignedRequest) -> tuple[str, str]:
    return request.method, unquote(request.path)


def _require(holds: bool, why: str) -> None:
    if not holds:
        raise UnprovenRecord(why)
