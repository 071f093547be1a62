"""The API keys, tokens and their ends as `keys.events` proves them; whoever writes there, only signatures count."""

import asyncio
import time
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qs

import structlog

from schemas.accounts import (
    ROOT,
    AccountOpened,
    AnyKeyEvent,
    ApiKeySet,
    EnrolmentTokenIssued,
    EnrolmentTokenRevoked,
    NodeKeyProof,
    SignedRequest,
)
from schemas.ids import AccountId
from schemas.rest import KeyForm
from schemas.signing import node_key_text
from services.kit.key_requests import (
    ACCOUNTS,
    KEYS,
    TOKENS,
    UnprovenRecord,
    asked_for,
    first_key_of,
    issued_token,
    key_of,
    may_add,
    may_end,
    may_operate,
    node_key,
    opened_account,
    require,
    root_key,
    text_of,
)
from services.kit.keys import signature_holds
from services.kit.process import set_within

END_CHECK_S = 0.5  # how often the clock is held against an expiry: it may be set, so that one long sleep is not enough


@dataclass(frozen=True)
class Account:
    """When an account was opened, and whether by its own first key."""

    opened_ms: int
    by_itself: bool = False


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
        self._accounts: dict[str, Account] = {}
        self._named: set[str] = set()  # accounts of whatever record of a key, so that no stranger takes an older one's
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
            structlog.get_logger().warning(
                "unproven key record ignored", record=event.type, id=record_name(event), why=str(error)
            )
            return False
        finally:
            if isinstance(event, ApiKeySet):
                self._named.add(event.account)
        match event:
            case AccountOpened():
                self._accounts.setdefault(event.account, Account(event.proof.ts_ms))
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
            case ApiKeySet(proof=SignedRequest()) if asked_for(event.proof) == ("POST", ACCOUNTS):
                self._check_first_key(event, event.proof)
            case ApiKeySet(proof=SignedRequest()):
                self._check_new_key(event, event.proof)
            case AccountOpened():
                require("admin" in self._signer(event.proof).scopes, "only an administrator opens accounts for others")
                require(event.account == opened_account(event.proof), "the request opens another account")
            case EnrolmentTokenIssued():
                signer = self._signer(event.proof)
                require(event == issued_token(event.proof, signer.account), "the request asks for another token")
                require(may_operate(signer), "the signer may not operate nodes")
            case EnrolmentTokenRevoked():
                signer = self._signer(event.proof)
                asked = ("DELETE", f"{TOKENS}/{event.token_id}")
                require(asked_for(event.proof) == asked, "the request asks for something else")
                require(event.account == signer.account and may_operate(signer), "the token is another account's")
            case _:
                raise UnprovenRecord("nothing signed is in it")

    def put(self, key: ApiKeySet) -> None:
        """Takes a key, or its end, as proven. What would change or revive one is passed over."""
        proof, key = key.proof, key.model_copy(update={"proof": None})
        known = self._keys.get(key.key_id)
        if known is None or key == known.model_copy(update={"revoked": True}):
            self._keys[key.key_id] = key
            if key.account not in self._accounts:
                is_signed = isinstance(proof, SignedRequest)
                by_itself = is_signed and asked_for(proof) == ("POST", ACCOUNTS)
                self._accounts[key.account] = Account(proof.ts_ms if is_signed else 0, by_itself)
            if key.revoked and (end := self._ends.get(key.key_id)):
                end.set()
        elif key != known:
            structlog.get_logger().warning("a record that would change or revive a key is ignored", key=key.key_id)

    def get(self, key_id: str) -> ApiKeySet | None:
        """Returns the key, or None. The root key may do nothing but sign keys and their ends."""
        if key_id == ROOT and self._root is not None:
            return root_key(self._root)
        return self._keys.get(key_id)

    def keys_of(self, account: AccountId) -> list[ApiKeySet]:
        """Returns the keys of an account, by their ids."""
        return [key for _, key in sorted(self._keys.items()) if key.account == account]

    def account(self, account: AccountId) -> Account | None:
        """Returns what is known of an account that was opened, or has or has had a key; else None."""
        return self._accounts.get(account)

    def is_free(self, account: AccountId) -> bool:
        """Says whether nothing that is published names the account, so that a stranger may open it."""
        return account not in self._accounts and account not in self._named

    def has_account(self, account: AccountId) -> bool:
        """Says whether there is such an account, with keys or without."""
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

    def tells(self, record: AnyKeyEvent) -> bool:
        """Says whether what a record tells is known."""
        match record:
            case ApiKeySet():
                known = self._keys.get(record.key_id)
                return known is not None and (known.revoked or not record.revoked)
            case AccountOpened():
                return record.account in self._accounts
            case EnrolmentTokenIssued():
                return record.token_id in self._tokens
            case EnrolmentTokenRevoked():
                return self.has_revoked_token(record.account, record.token_id)

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
        require(signer is not None and not signer.revoked, "the signer is no living key")
        expired = signer.expires_ms is not None and signer.expires_ms <= request.ts_ms
        require(not expired and signer.node is None, "the signer has expired, or is a node's own key")
        require(signature_holds(signer.public_key, request.signature, text_of(request)), "the signature does not fit")
        return signer

    def _check_first_key(self, key: ApiKeySet, request: SignedRequest) -> None:
        wanted = first_key_of(request)
        require(key.model_copy(update={"proof": None}) == wanted, "the request asks for another key")
        require(request.key_id == key.key_id, "the request is another key's")
        require(signature_holds(key.public_key, request.signature, text_of(request)), "the signature does not fit")
        if self._keys.get(key.key_id) != wanted:  # which a record that comes twice finds there
            require(self.is_free(key.account), "the account was opened before")
            require(self.get(key.key_id) is None, "there is another key of this id")

    def _check_new_key(self, key: ApiKeySet, request: SignedRequest) -> None:
        signer = self._signer(request)
        require(asked_for(request) == ("POST", KEYS), "the request asks for something else")
        try:
            wanted = key_of(KeyForm.model_validate_json(request.body))
        except ValueError as error:
            raise UnprovenRecord("the request asks for no key") from error
        require(key.model_copy(update={"proof": None}) == wanted, "the request asks for another key")
        require(key.key_id != ROOT, "the id is the root key's")
        require(may_add(signer, wanted), "the signer may not give such a key")

    def _check_end(self, key: ApiKeySet, request: SignedRequest) -> None:
        signer, known = self._signer(request), self._keys.get(key.key_id)
        require(known is not None, "there is no such key")
        ended = known.model_copy(update={"revoked": True})
        require(key.model_copy(update={"proof": None}) == ended, "the record changes more than that the key ends")
        token = next((each for each in self._tokens.values() if key.key_id in each.node_keys), None)
        by_token = (
            token is not None
            and asked_for(request) == ("DELETE", f"{TOKENS}/{token.token_id}")
            and parse_qs(request.query).get("revoke_keys") == ["true"]
        )
        require(by_token or asked_for(request) == ("DELETE", f"{KEYS}/{key.key_id}"), "the request ends something else")
        require(may_end(signer, known), "the signer may not end this key")

    def _check_node_key(self, key: ApiKeySet, proof: NodeKeyProof) -> None:
        token = self._tokens.get(proof.token_id)
        require(token is not None and token.revoked_ms is None, "no such token admits nodes")
        is_new = key.key_id not in token.node_keys
        require(not is_new or len(token.node_keys) < token.nodes, "the token has admitted its nodes")
        text = node_key_text(token.token_id, key.public_key)
        require(signature_holds(key.public_key, proof.signature, text), "the node's signature does not fit")
        wanted = node_key(token.account, key.public_key)
        require(key.model_copy(update={"proof": None}) == wanted, "the record is not what a token gives")

    def _count_node(self, key: ApiKeySet) -> None:
        if isinstance(key.proof, NodeKeyProof) and key.key_id not in self._keys:
            token = self._tokens[key.proof.token_id]
            self._tokens[token.token_id] = replace(token, node_keys=(*token.node_keys, key.key_id))


def record_name(record: AnyKeyEvent) -> str:
    """Returns the id of what a record is about: a key, a token or an account."""
    match record:
        case ApiKeySet():
            return record.key_id
        case AccountOpened():
            return record.account
        case _:
            return record.token_id
