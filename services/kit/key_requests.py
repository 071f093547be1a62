"""What a signed request about accounts, keys and tokens asks for, and whether its signer may; pure functions."""

from hashlib import sha256
from ipaddress import ip_network
from urllib.parse import unquote

from pydantic import ValidationError

from schemas.accounts import (
    ADMIN_ACCOUNT,
    ALL_SCOPES,
    FIRST_SCOPES,
    NODE_SCOPES,
    ROOT,
    ApiKeySet,
    EnrolmentTokenIssued,
    SignedRequest,
    is_reserved,
)
from schemas.ids import AccountId
from schemas.money import parse_micros
from schemas.nodes import node_id_of
from schemas.rest import AccountForm, EnrolmentTokenForm, KeyForm
from schemas.signing import request_text

ACCOUNTS, KEYS, TOKENS = "/v1/accounts", "/v1/keys", "/v1/enrolment-tokens"


class UnprovenRecord(Exception):
    """A record of `keys.events` does not follow from what is signed in it."""


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


def first_key_of(request: SignedRequest) -> ApiKeySet:
    """Returns the key with which a request opens an account: it reads and trades, and its id is nobody else's.

    Raises UnprovenRecord for a request that a stranger may not make.
    """
    form = _account_form(request)
    require(form.public_key is not None, "the request brings no key")
    require(not is_reserved(form.account), "only an administrator opens accounts of such a name")
    require(form.key_id in (None, form.account), "the key's id is to be the account's, or to be left out")
    terms = {"account": form.account, "public_key": form.public_key, "key_id": form.key_id}
    return key_of(KeyForm(**terms, scopes=FIRST_SCOPES))


def opened_account(request: SignedRequest) -> AccountId:
    """Returns the account that an administrator's request opens. Raises UnprovenRecord."""
    form = _account_form(request)
    require(form.public_key is None, "the request is one of the key that it brings")
    return form.account


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
    require(asked_for(request) == ("POST", TOKENS), "the request asks for something else")
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
    """Says whether a key may end another: root and administrators any; an account's key itself, what it could give, and
    with `operate` those of the account's nodes.
    """
    if signer.key_id in (ROOT, key.key_id) or "admin" in signer.scopes:
        return True
    if key.node is not None:
        return signer.account == key.account and "operate" in signer.scopes
    return may_add(signer, key)


def root_key(public_key: str) -> ApiKeySet:
    """Returns the root key as one that signs keys and has no scopes."""
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


def may_operate(signer: ApiKeySet) -> bool:
    """Says whether a key may act for the nodes of its account."""
    return bool({"operate", "admin"} & set(signer.scopes))


def _account_form(request: SignedRequest) -> AccountForm:
    require(asked_for(request) == ("POST", ACCOUNTS), "the request asks for something else")
    try:
        return AccountForm.model_validate_json(request.body)
    except ValidationError as error:
        raise UnprovenRecord("the request asks for no account") from error


def asked_for(request: SignedRequest) -> tuple[str, str]:
    """Returns the method and the path of a request."""
    return request.method, unquote(request.path)


def require(holds: bool, why: str) -> None:
    """Raises UnprovenRecord unless a condition holds."""
    if not holds:
        raise UnprovenRecord(why)
