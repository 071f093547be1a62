"""The commands `receipt get|verify|key|pin`: a bill as a file, and anybody's check of it."""

import json as json_codec
import sys
from pathlib import Path
from typing import Any

from cyclopts import App
from pydantic import TypeAdapter, ValidationError

from clients.cli.output import CommandError, show
from clients.cli.session import Signer, address_of, public, signed
from clients.http import result_of
from infra.places import data_dir
from schemas.complaints import in_words
from schemas.ids import PublicKey

FILE_BYTES_MAX = 64 * 2**20


def get(
    position_id: int, *, out: Path, revision: int | None = None, signer: Signer | None = None, json: bool = False
) -> None:
    """Write the receipt of POSITION_ID to the file --out, with all that it follows from; the newest revision if none
    is named.
    """
    params = {} if revision is None else {"revision": revision}
    with signed("delivery", signer) as client:
        reply = client.get(f"/v1/receipts/{position_id}/file", params=params)
        found = result_of(reply)
    try:
        out.write_bytes(reply.content)
    except OSError as error:
        raise CommandError(f"cannot write {out}: {error.strerror}") from None
    show({"file": str(out), "position_id": position_id, "revision": found["receipt"]["revision"]}, json=json)


def verify(file: Path, *, venue_key: str | None = None, url: str | None = None, json: bool = False) -> int:
    """Recompute a receipt from FILE alone: signatures, digest, meter, settlement. What is broken is a line each, and
    the exit status is 1.

    The venue's public key is --venue-key (hex), else the pinned one (`receipt pin`), else the one that the venue at
    --url answers with.
    """
    from clients.receipts import faults_of
    from schemas.receipts import ReceiptFile

    raw = read_bounded(file)
    try:
        receipt_file = ReceiptFile.model_validate_json(raw)
        json_codec.loads(raw, object_pairs_hook=named_once)
    except ValidationError as error:
        raise CommandError(f"{file} is not a receipt: {in_words(error.errors())}") from None
    except NamedTwice as error:
        raise CommandError(f"{file} is not a receipt: duplicate field `{error}`") from None
    key, source = find_key(venue_key, url)
    faults = faults_of(receipt_file, key)
    receipt = receipt_file.receipt
    shown = {"position_id": receipt.position_id, "revision": receipt.revision, "holds": not faults}
    shown |= {"reports": len(receipt_file.reports), "venue_key": key, "key_from": source}
    show(shown | ({"faults": faults} if json else {}), json=json)
    if not json:
        for fault in faults:
            print(fault, file=sys.stderr)
    return 1 if faults else 0


def key(*, url: str | None = None, json: bool = False) -> None:
    """Show the public key that the venue signs receipts with."""
    show(fetch_key(url), json=json)


def pin(public_key: str | None = None, *, url: str | None = None, json: bool = False) -> None:
    """Keep PUBLIC_KEY (hex), or the one that the venue answers with now, as the venue's for `receipt verify`."""
    kept = check_key(public_key) if public_key else fetch_key(url)["public_key"]
    pinned_file().parent.mkdir(parents=True, exist_ok=True)
    pinned_file().write_text(kept + "\n")
    show({"public_key": kept, "file": str(pinned_file())}, json=json)


class NamedTwice(ValueError):
    """An object of a JSON text names one member twice, so that two readers may read two receipts."""


def named_once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Makes an object of its members. Raises NamedTwice."""
    found = dict(members)
    if len(found) < len(members):
        names = [name for name, _ in members]
        raise NamedTwice(next(name for name in names if names.count(name) > 1))
    return found


def read_bounded(file: Path) -> bytes:
    """Returns what is in a file that may be anything. Raises CommandError where it cannot be read or is too long."""
    try:
        with file.open("rb") as stream:
            raw = stream.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise CommandError(f"cannot read {file}: {error.strerror}") from None
    if len(raw) > FILE_BYTES_MAX:
        raise CommandError(f"{file} is not a receipt: it is longer than {FILE_BYTES_MAX} bytes")
    return raw


def find_key(venue_key: str | None, url: str | None) -> tuple[str, str]:
    """Returns the venue's public key and where it came from."""
    if venue_key:
        return check_key(venue_key), "--venue-key"
    if pinned_file().exists():
        return check_key(pinned_file().read_text().strip()), f"pinned in {pinned_file()}"
    return fetch_key(url)["public_key"], f"fetched from {address_of('delivery', url)}"


def check_key(text: str) -> str:
    """Returns a public key in hex, or refuses it."""
    try:
        return TypeAdapter(PublicKey).validate_python(text)
    except ValidationError:
        raise CommandError("a venue's key is 64 lower-case hex digits") from None


def fetch_key(url: str | None) -> dict[str, str]:
    """Asks the venue for its key."""
    with public("delivery", url) as client:
        return result_of(client.get("/v1/receipts/key"))


def pinned_file() -> Path:
    """Where the pinned key lies."""
    return data_dir() / "keys" / "venue-receipts.pub"


def add_to(app: App) -> None:
    group = App(name="receipt", help="A bill as a file that anybody can recompute.")
    for command in (get, verify, key, pin):
        group.command(command)
    app.command(group)
