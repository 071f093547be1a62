"""Who takes part: accounts with API keys of their own, and the clients they talk to the exchange with."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import httpx

from clients.http import Credentials, load_credentials, new_credentials, open_client, result_of, save_credentials
from clients.http import key_file as key_file_of


@dataclass(frozen=True)
class Actor:
    """One account with its key; the clients sign every request with it."""

    account: str
    credentials: Credentials
    key_file: Path
    addresses: dict[str, str]

    @cached_property
    def gateway(self) -> httpx.Client:
        """Orders, positions, balances."""
        return open_client(self.addresses["gateway"], self.credentials)

    @cached_property
    def delivery(self) -> httpx.Client:
        """Receipts, meter records, access."""
        return open_client(self.addresses["delivery"], self.credentials)

    @cached_property
    def listings(self) -> httpx.Client:
        """Hardware."""
        return open_client(self.addresses["listings"], self.credentials)

    @cached_property
    def ledger(self) -> httpx.Client:
        """Deposits and statements."""
        return open_client(self.addresses["ledger"], self.credentials)

    @cached_property
    def market_data(self) -> httpx.Client:
        """Public data needs no signature."""
        return open_client(self.addresses["market_data"])


class Registry:
    """The venue's administrator, who opens the accounts and credits what was paid in."""

    def __init__(self, addresses: dict[str, str], keys_dir: Path, actors_dir: Path):
        self._addresses, self._actors_dir = addresses, actors_dir
        credentials = load_credentials(keys_dir, "admin")
        self.admin = Actor("venue-admin", credentials, keys_dir / "admin-api.ed25519", addresses)
        self.actors: dict[str, Actor] = {}

    def open_account(self, account: str, *scopes: str, **deposits: str) -> Actor:
        """Opens an account, registers a key for it, and credits deposits given as ASSET="amount".

        Done again, nothing changes: the key that is kept here stays, and no deposit comes twice.
        """
        key_id = f"key-{account}"
        key_file = key_file_of(self._actors_dir, key_id)
        if key_file.exists():
            credentials = load_credentials(self._actors_dir, key_id)
        else:
            credentials = new_credentials(key_id)
            save_credentials(self._actors_dir, credentials)
        result_of(self.admin.gateway.post("/v1/accounts", json={"account": account}))
        form = {"account": account, "public_key": credentials.public_key, "scopes": ["read", *scopes]}
        result_of(self.admin.gateway.post("/v1/keys", json=form | {"key_id": credentials.key_id}))
        for asset, amount in deposits.items():
            deposit = {"account": account, "asset": asset, "amount": amount}
            headers = {"Idempotency-Key": f"opening-{account}-{asset}"}
            result_of(self.admin.ledger.post("/v1/deposits", json=deposit, headers=headers))
        actor = self.actors[account] = Actor(account, credentials, key_file, self._addresses)
        return actor
