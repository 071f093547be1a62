"""The command `shopper run`: rents as any buyer does, and has what it rents prove itself from the inside."""

import random
import shlex
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cyclopts import App, Parameter

from clients.cli import meter, ssh
from clients.cli.market import listed
from clients.cli.output import CommandError
from clients.cli.session import Signer, address_of, gateway, market_data
from clients.http import ApiError, pages, result_of
from clients.shopper import Block, Taste, choose, now_utc, spent, visit_ms
from clients.ssh import SSH_FAILED, enter

LOOK_S = 5.0
NOTHING, UNPROVEN, NOT_THERE = 1, 6, 127
FOUND = {
    0: "its GPUs are proven",
    UNPROVEN: "its GPUs are not proven",
    NOT_THERE: "no hourbook-agent answers behind its login",
}


def run(
    *,
    currency: str,
    budget_per_day: Decimal,
    periods_max: int = 1,
    product: Annotated[tuple[str, ...], Parameter(help="Only these; all by default.")] = (),
    pause_s: Annotated[float, Parameter(help="Seconds between two visits, on average.")] = 14_400.0,
    visits: Annotated[int | None, Parameter(help="Stop after this many visits.")] = None,
    identity: Annotated[Path | None, Parameter(name=["--identity", "-i"], help="Private SSH key.")] = None,
    signer: Signer | None = None,
) -> int:
    """Rent random blocks below a budget of 24 hours with an ordinary key, and prove the GPUs inside each.

    The account needs an SSH key (`hourbook ssh-keys add`) and the scopes read and trade; what it rents has to have
    `hourbook-agent`, with the extra cuda. If HOURBOOK_SHOPPER_ACCOUNTS names the account, the venue counts what fails.
    Exits with 6 where a visit found GPUs that do not prove themselves, else with 1 where one came to nothing: nothing
    was offered, the door stayed shut, or there was no hourbook-agent behind it.
    """
    taste, draw = Taste(currency, budget_per_day, periods_max, frozenset(product)), random.SystemRandom()
    found: set[int] = set()
    while visits is None or visits > 0:
        visits = None if visits is None else visits - 1
        try:
            position_id = rent(taste, draw, signer)
            found.add(NOTHING if position_id is None else prove(position_id, identity, signer, draw))
        except CommandError as refusal:
            if not found:
                raise  # nothing has worked yet: somebody has to mend the command
            say(str(refusal))
            found.add(NOTHING)
        if visits != 0:
            time.sleep(draw.uniform(0, 2 * pause_s))
    return UNPROVEN if UNPROVEN in found else NOTHING if found - {0} else 0


def rent(taste: Taste, draw: random.Random, signer: Signer | None) -> int | None:
    """Rents a random block; returns its first position, None where nothing was offered or somebody came first."""
    with market_data(None) as client:
        products = list(listed(client, "/v1/products"))
        curves = [(each, result_of(client.get(f"/v1/curve/{each['product']}"))["points"]) for each in products]
    with gateway(signer) as client:
        left = taste.budget_per_day - spent(pages(client, "/v1/positions", role="buyer"), taste.currency, now_utc())
        block = choose(curves, taste, left, draw)
        if block is None:
            say(f"nothing on offer costs at most {left} {taste.currency}")
            return None
        return bought(client, block)


def bought(client: httpx.Client, block: Block) -> int | None:
    """Sends the order; returns the first position that it opened."""
    try:
        order = result_of(client.post("/v1/orders", json=block.order))["order"]
    except ApiError as refusal:
        say(f"{block.product} at {block.start}: {refusal}")
        return None
    own = (each for each in pages(client, "/v1/positions", role="buyer") if each["order_id"] == order["order_id"])
    ids = [each["position_id"] for _, each in zip(range(block.periods), own, strict=False)]
    say(f"rents {block.periods} × {block.product} from {block.start}: {', '.join(map(str, ids)) or order['status']}")
    return min(ids, default=None)


def prove(position_id: int, identity: Path | None, signer: Signer | None, draw: random.Random) -> int:
    """Runs the proof behind a position's door, at a random time of its hour; returns the exit status of what ran there.

    Until then it waits, as it does for a door that does not open; both end with the position.
    """
    private, lease_id, due_ms = Ed25519PrivateKey.generate(), "", 0
    while True:
        try:
            door = ssh.door_of(position_id, signer)
        except ssh.Closed as closed:
            if closed.status == ssh.Stopped.NOT_YET:
                time.sleep(LOOK_S)
                continue
            say(str(closed))
            return NOTHING  # what the meter saw of that is on the bill
        if not lease_id:
            with ssh.signed("delivery", signer) as client:
                access = meter.leased(client, position_id)
                lease_id, due_ms = access["lease_id"], visit_ms(access["starts_ms"], access["ends_ms"], draw)
                meter.register(client, lease_id, private)
        time.sleep(max(0, due_ms / 1_000 - time.time()))
        script = proof_script(lease_id, private.private_bytes_raw().hex(), address_of("delivery"))
        status = enter(door, ("sh", "-c", shlex.quote(script)), identity)
        if status == SSH_FAILED:
            say(f"position {position_id}: the login is not open yet; trying again in {LOOK_S:g} s")
            time.sleep(LOOK_S)
            continue
        say(f"position {position_id}: {FOUND.get(status, f'no proof, exit status {status}')}")
        return status


def proof_script(lease_id: str, key: str, url: str) -> str:
    """What runs in the rented environment: the key is a file there for as long as the proof takes."""
    proof = f'hourbook-agent meter --prove --lease {shlex.quote(lease_id)} --key "$f" --url {shlex.quote(url)}'
    return f'umask 077; f=$(mktemp) && echo {shlex.quote(key)} > "$f" && {proof}; s=$?; rm -f "$f"; exit $s'


def say(words: str) -> None:
    print(f"hourbook shopper: {words}", file=sys.stderr, flush=True)


def add_to(app: App) -> None:
    group = App(name="shopper", help="The secret shopper: an ordinary buyer who looks inside what he rents.")
    group.command(run)
    app.command(group)
