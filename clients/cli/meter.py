"""The commands `meter key|run|prove`: the renter's own meter of a lease, under a key that the buyer registers."""

from pathlib import Path

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cyclopts import App

from clients.cli.output import CommandError, show
from clients.cli.session import Signer, address_of, signed
from clients.http import result_of


def key(position_id: int, *, out: Path, signer: Signer | None = None, json: bool = False) -> None:
    """Make a meter key for the lease of POSITION_ID, register its public half, and write the private half to --out.

    Bring the file into the rented environment over your own ssh session, and start `hourbook meter run` there.
    """
    private = Ed25519PrivateKey.generate()
    with signed("delivery", signer) as client:
        lease_id = leased(client, position_id)["lease_id"]
        try:
            out.touch(mode=0o600, exist_ok=False)
            out.write_text(private.private_bytes_raw().hex() + "\n")
        except OSError as error:
            raise CommandError(f"cannot write {out}: {error.strerror}") from None
        register(client, lease_id, private)
    show({"lease_id": lease_id, "key_file": str(out), "url": address_of("delivery")}, json=json)


def leased(client: httpx.Client, position_id: int) -> dict:
    """Returns how a position is entered: its lease, its begin and its end. Raises CommandError before its gate."""
    access = result_of(client.get(f"/v1/positions/{position_id}/access"))
    if access["lease_id"] is None:
        raise CommandError(f"position {position_id} has no lease yet; it comes at the gate")
    return access


def register(client: httpx.Client, lease_id: str, private: Ed25519PrivateKey) -> None:
    """Registers the public half of a lease's meter key."""
    form = {"public_key": private.public_key().public_bytes_raw().hex()}
    result_of(client.post(f"/v1/leases/{lease_id}/meter-key", json=form))


def run(lease_id: str, *, key: Path, url: str) -> int:
    """Meter the GPUs of this machine for LEASE_ID until it ends, with the key file of `meter key`, to the venue at
    --url.
    """
    from agents.node.renter import run as follow

    return follow(lease_id, key, url)


def prove(lease_id: str, *, key: Path, url: str) -> int:
    """Have the GPUs of this machine prove themselves to you, once, for LEASE_ID with the key file of `meter key`.

    Exits with 0 where all passed, with 6 where one did not. The operator's agent has no part in it.
    """
    from agents.node.renter_proof import run as prove_once

    return prove_once(lease_id, key, url)


def add_to(app: App) -> None:
    group = App(name="meter", help="The renter's own meter, inside what he rents.")
    for command in (key, run, prove):
        group.command(command)
    app.command(group)
