"""The command `join`: a newcomer's account in a sandbox, with money, a key of its own, and the next three commands."""

import time
from datetime import datetime
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from clients.cli.output import CommandError, show
from clients.cli.session import Signer, gateway, ledger, public, signed
from clients.http import key_file, new_credentials, result_of, save_credentials
from infra.places import data_dir
from schemas.money import format_micros, parse_micros

CURRENCIES = ("CNY", "USD")
SSH_KEYS = ("id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub")
MARGIN_S, SOON = 60, 3  # a person reads and types before the gate, among so many periods after that
TRADES = 100
SLIP_PERMILLE = 20  # the ask may move meanwhile; what trades, trades at the ask
NEXT = """{name} has {amount} of each of {currencies}; the key is in {file}
(in a sandbox the administrator's key of the data folder opens accounts and credits them; elsewhere the venue does)

1. buy the first hour:  ./hourbook order place {contract} buy {qty} --price {price} --key {name}
2. get in:              ./hourbook positions --key {name}; ./hourbook access POSITION --key {name}
                        (where the site has a door for ssh: ./hourbook ssh POSITION --key {name}; {ssh_key})
3. see the bill:        ./hourbook receipts --key {name}"""


def join(
    name: str,
    *,
    product: Annotated[
        str | None, Parameter(help="Product to propose an hour of; default: the one traded last.")
    ] = None,
    amount: Annotated[str, Parameter(help="Amount to credit in each currency.")] = "1000.00",
    json: bool = False,
) -> None:
    """Open the account NAME with money and a key of its own, and say what to type next; done again, nothing changes."""
    file = open_account(name, amount)
    ssh_key = register_ssh_key(name, Path.home())
    offer = cheapest_soon(product)
    found = {"account": name, "key_file": str(file), "amount": amount, "currencies": list(CURRENCIES), "offer": offer}
    found |= {"ssh_key": ssh_key}
    if json:
        show(found, json=True)
    elif offer is None:
        show(
            f"{name} has {amount} of each of {', '.join(CURRENCIES)}; nothing is offered now: hourbook products",
            json=False,
        )
    else:
        terms = {"name": name, "amount": amount, "currencies": " and ".join(CURRENCIES), "file": file}
        terms |= {"ssh_key": f"your key {ssh_key} is known" if ssh_key else "you have no SSH key: `ssh-keys add` one"}
        show(NEXT.format(**terms, **offer), json=False)


def open_account(name: str, amount: str) -> Path:
    """Opens the account, registers its key, credits it once; returns the file with the private half of the key."""
    keys_dir = data_dir() / "keys"
    path = key_file(keys_dir, name)
    if not path.exists():
        credentials = new_credentials(name)
        form = {"account": name, "key_id": name, "public_key": credentials.public_key}
        with gateway(None) as client:
            result_of(client.post("/v1/accounts", json={"account": name}))
            result_of(client.post("/v1/keys", json=form | {"scopes": ["read", "trade"]}))
        save_credentials(keys_dir, credentials)
    with ledger(None) as client:
        for asset in CURRENCIES:
            form = {"account": name, "asset": asset, "amount": amount}
            result_of(client.post("/v1/deposits", json=form, headers={"Idempotency-Key": f"join-{name}-{asset}"}))
    return path


def register_ssh_key(name: str, home: Path) -> str | None:
    """Makes the person's own public SSH key known, where there is one; returns the file that it is in."""
    file = next((home / ".ssh" / key for key in SSH_KEYS if (home / ".ssh" / key).is_file()), None)
    if file is None:
        return None
    with signed("delivery", Signer(key=name)) as client:
        result_of(client.post("/v1/ssh-keys", json={"public_key": file.read_text()}))
    return str(file)


def cheapest_soon(product: str | None) -> dict | None:
    """Returns a cheap ask in a period whose gate leaves time to type: of a product, or of one that was traded lately.

    Raises CommandError for a product that is not listed.
    """
    with public("market_data", None) as client:
        rows = {row["product"]: row for row in result_of(client.get("/v1/products"))["items"]}
        if product is not None and product not in rows:
            raise CommandError(f"no such product: {product}; `hourbook products` lists them")
        traded = result_of(client.get("/v1/trades", params={"limit": TRADES}))["items"]
        lately = dict.fromkeys(row["contract"].rpartition("-")[0] for row in traded)
        for name in [product] if product else lately:
            points = result_of(client.get(f"/v1/curve/{name}"))["points"]
            if offer := offer_of(rows[name], points, time.time()):
                return offer
    return None


def offer_of(terms: dict, points: list[dict], now_s: float) -> dict | None:
    """Returns what to order of a curve, with a limit a little above the ask; None where nothing is offered."""
    soonest_s = now_s + terms["gate_lead_s"] + MARGIN_S
    later = [row for row in points if datetime.fromisoformat(row["start"]).timestamp() > soonest_s]
    offered = [row for row in later if "ask" in row][:SOON]
    if not offered:
        return None
    point = min(offered, key=lambda row: parse_micros(row["ask"]))
    tick_micros = parse_micros(terms["tick"])
    most_micros = -(-parse_micros(point["ask"]) * (1000 + SLIP_PERMILLE) // 1000 // tick_micros) * tick_micros
    return {"contract": point["contract"], "price": format_micros(most_micros), "qty": terms["lot"]}


def add_to(app: App) -> None:
    app.command(join)
