"""Commands on what an account has: `positions`, `balance`, `move`; its API keys: `keys create|list|revoke`; its own
opening: `account open`.
"""

from itertools import islice
from typing import Annotated, Literal
from uuid import uuid4

from cyclopts import App, Parameter

from clients.cli.output import CommandError, show, show_reply
from clients.cli.session import Signer, columns, gateway, ledger, signed_by
from clients.http import (
    ApiError,
    key_file,
    load_credentials,
    new_credentials,
    pages,
    result_of,
    save_credentials,
)
from infra.places import data_dir

POSITION_COLUMNS = columns(
    "position_id",
    "role",
    "contract",
    "qty",
    "price",
    "state",
    "contracted_gpu_s",
    "delivered_gpu_s",
    "net",
    "damages",
    "simulated",
)
BALANCE_COLUMNS = columns("asset", "available", "held", "total", "programme", "expires")
KEY_COLUMNS = columns("key_id", "account", "scopes", "expires", "revoked")
Address = Annotated[str | None, Parameter(help="Address of the gateway; default: the running exchange's.")]
Scope = Literal["read", "trade", "operate", "sell_hw", "withdraw", "arbiter", "admin"]


def positions(
    *,
    contract: str | None = None,
    state: str | None = None,
    role: Literal["buyer", "operator"] | None = None,
    limit: int = 50,
    signer: Signer | None = None,
    json: bool = False,
) -> None:
    """List the account's positions, newest first: contracted, delivered, paid."""
    with gateway(signer) as client:
        found = list(islice(pages(client, "/v1/positions", contract=contract, state=state, role=role), limit))
    show(found if json else list(map(POSITION_COLUMNS, found)), json=json)


def balance(*, signer: Signer | None = None, json: bool = False) -> None:
    """Show what the account has, available and held, of every asset."""
    with gateway(signer) as client:
        found = list(pages(client, "/v1/balances"))
    show(found if json else list(map(BALANCE_COLUMNS, found)), json=json)


def limits(*, signer: Signer | None = None, json: bool = False) -> None:
    """Show what the venue lets the account do at most, and the account's own protections."""
    with gateway(signer) as client:
        found = result_of(client.get("/v1/limits"))
        protections = list(pages(client, "/v1/protection"))
    show(found | {"protections": protections} if json else found, json=json)
    if protections and not json:
        show(protections, json=False)


def move(
    amount: str,
    asset: str,
    to_shard: int,
    *,
    idempotency_key: Annotated[
        str | None, Parameter(help="Repeating a request with the same key moves nothing.")
    ] = None,
    signer: Signer | None = None,
    json: bool = False,
) -> int:
    """Move AMOUNT (a decimal number) of ASSET of the account to shard TO_SHARD."""
    form = {"asset": asset, "amount": amount, "to_shard": to_shard}
    with ledger(signer) as client:
        headers = {"Idempotency-Key": idempotency_key or uuid4().hex}
        return show_reply(result_of(client.post("/v1/shard-transfers", json=form, headers=headers)), dict, json=json)


def create_key(
    account: str,
    *,
    key_id: str | None = None,
    scopes: tuple[Scope, ...] = ("read", "trade"),
    expires: str | None = None,
    order_limit: str | None = None,
    existing: Annotated[
        bool, Parameter(help="Use an existing account instead of opening one; its own key may sign.")
    ] = False,
    signer: Signer | None = None,
    json: bool = False,
) -> None:
    """Open ACCOUNT if it is new, make a key pair for it, and register the public half; the private one stays here."""
    credentials = new_credentials(key_id or account)
    keys_dir = data_dir() / "keys"
    if key_file(keys_dir, credentials.key_id).exists():
        raise CommandError(f"there is a key `{credentials.key_id}` already")
    form = {
        "account": account,
        "public_key": credentials.public_key,
        "scopes": scopes,
        "key_id": credentials.key_id,
        "expires": expires,
        "order_limit": order_limit,
    }
    with gateway(signer) as client:
        if not existing:
            result_of(client.post("/v1/accounts", json={"account": account}))
        key = result_of(client.post("/v1/keys", json=form))
    path = save_credentials(keys_dir, credentials)
    show(key | {"private_key_file": str(path)}, json=json)


def open_account(name: str, *, url: Address = None, json: bool = False) -> None:
    """Open the account NAME with a key made here, which reads and trades; nobody else has to allow it."""
    keys_dir = data_dir() / "keys"
    is_new = not key_file(keys_dir, name).exists()
    if is_new:
        save_credentials(keys_dir, new_credentials(name))  # before it is sent: where the answer is lost, type it again
    credentials = load_credentials(keys_dir, name)
    form = {"account": name, "public_key": credentials.public_key, "key_id": name}
    try:
        with signed_by(credentials, "gateway", url) as client:
            opened = result_of(client.post("/v1/accounts", json=form))
    except CommandError as refused:
        refusal = refused.__cause__
        if is_new and isinstance(refusal, ApiError) and not refusal.problem.get("retryable"):
            key_file(keys_dir, name).unlink()
        raise
    show(opened | {"private_key_file": str(key_file(keys_dir, name))}, json=json)


def list_keys(account: str | None = None, *, signer: Signer | None = None, json: bool = False) -> None:
    """List the keys of the signer's account; an administrator may name another."""
    with gateway(signer) as client:
        found = list(pages(client, "/v1/keys", account=account))
    show(found if json else list(map(KEY_COLUMNS, found)), json=json)


def revoke_key(key_id: str, *, signer: Signer | None = None, json: bool = False) -> None:
    """Revoke a key for good."""
    with gateway(signer) as client:
        key = result_of(client.delete(f"/v1/keys/{key_id}"))
    show(key if json else KEY_COLUMNS(key), json=json)


def add_to(app: App) -> None:
    app.command(positions)
    app.command(balance)
    app.command(limits)
    app.command(move)
    account = App(name="account", help="An account of one's own.")
    account.command(open_account, name="open")
    app.command(account)
    keys = App(name="keys", help="API keys.")
    keys.command(create_key, name="create")
    keys.command(list_keys, name="list")
    keys.command(revoke_key, name="revoke")
    app.command(keys)
