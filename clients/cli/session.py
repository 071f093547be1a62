"""Where the commands that talk to a running exchange find it, and the API key that signs for them."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Annotated

import httpx
from cyclopts import Parameter

from clients.cli.output import CommandError, OutcomeUnknown
from clients.http import ApiError, Credentials, load_credentials, open_client
from infra.places import data_dir
from schemas.signing import IDEMPOTENCY_HEADER

NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
DEFAULT_URLS = {
    "gateway": "http://127.0.0.1:18080",
    "market_data": "http://127.0.0.1:18081",
    "delivery": "http://127.0.0.1:18082",
    "listings": "http://127.0.0.1:18083",
    "ledger": "http://127.0.0.1:18084",
}


@Parameter(name="*")
@dataclass(frozen=True)
class Signer:
    """Who asks, and whom."""

    key: Annotated[
        str, Parameter(env_var="HOURBOOK_KEY", help="Id of the API key in the data folder's keys/ that signs.")
    ] = "admin"
    url: Annotated[str | None, Parameter(help="Address of the service; default: the running exchange's.")] = None


def address_of(service: str, url: str | None = None) -> str:
    """The address asked for, else HOURBOOK_<SERVICE>_URL, else HOURBOOK_URL (one front door before all services), else
    the running exchange's, else the usual one.
    """
    running = data_dir() / "run" / "exchange.json"
    known = json.loads(running.read_text())["addresses"] if running.exists() else {}
    asked_for = url or os.environ.get(f"HOURBOOK_{service.upper()}_URL") or os.environ.get("HOURBOOK_URL")
    return asked_for or known.get(service) or DEFAULT_URLS[service]


def gateway(signer: Signer | None) -> AbstractContextManager[httpx.Client]:
    """A client of the gateway that signs with the signer's key."""
    return signed("gateway", signer)


def ledger(signer: Signer | None) -> AbstractContextManager[httpx.Client]:
    """A client of the ledger that signs as `gateway` does."""
    return signed("ledger", signer)


@contextmanager
def signed(service: str, signer: Signer | None) -> Iterator[httpx.Client]:
    """A client of a service that signs with the signer's key; what goes wrong inside is one clear line."""
    signer = signer or Signer()
    keys_dir = data_dir() / "keys"
    try:
        credentials = load_credentials(keys_dir, signer.key)
    except FileNotFoundError:
        known = ", ".join(sorted(path.name.removesuffix("-api.ed25519") for path in keys_dir.glob("*-api.ed25519")))
        raise CommandError(f"no key `{signer.key}` in {keys_dir}; available: {known or 'none yet'}") from None
    with signed_by(credentials, service, signer.url) as client:
        yield client


@contextmanager
def signed_by(credentials: Credentials, service: str, url: str | None = None) -> Iterator[httpx.Client]:
    """A client of a service that signs with a key in hand."""
    with open_client(address_of(service, url), credentials) as client:
        yield from _said_clearly(client)


@contextmanager
def public(service: str, url: str | None) -> Iterator[httpx.Client]:
    """A client for what everyone may read, without a key."""
    with open_client(address_of(service, url)) as client:
        yield from _said_clearly(client)


def market_data(url: str | None) -> AbstractContextManager[httpx.Client]:
    """A client of the public feed, which needs no key."""
    return public("market_data", url)


def _said_clearly(client: httpx.Client) -> Iterator[httpx.Client]:
    try:
        yield client
    except ApiError as refusal:
        kind = OutcomeUnknown if refusal.problem.get("order_state") == "unknown" else CommandError
        raise kind(str(refusal)) from refusal
    except httpx.TransportError as error:
        if error.request.method != "GET" and not isinstance(error, NOTHING_SENT):
            named = error.request.headers.get(IDEMPOTENCY_HEADER)
            again = f"; its Idempotency-Key was {named}" if named else ""
            raise OutcomeUnknown(
                f"no answer from {client.base_url}; the request may have been carried out{again}: {error!r}"
            ) from error
        raise CommandError(
            f"no exchange answers at {client.base_url} (`hourbook status` shows ours): {error}"
        ) from error


def columns(*names: str) -> Callable[[dict], dict]:
    """Returns a function that keeps these members of a reply, for a table that a person reads."""
    return lambda row: {name: "" if row.get(name) is None else row[name] for name in names}
