"""Commands by which a buyer gets in: `ssh-keys add|list|remove`, `ssh POSITION`, `access-wish POSITION`."""

import sys
import time
from enum import IntEnum
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from clients.cli.output import CommandError, show
from clients.cli.session import Signer, columns, signed
from clients.http import ApiError, result_of
from clients.ssh import Door, NoWayIn, enter

KEY_COLUMNS = columns("fingerprint", "type", "comment", "key_id")
KEY_FILE_BYTES_MAX = 8192

ssh_keys = App(name="ssh-keys", help="The public SSH keys with which the account logs in to what it buys.")


class Stopped(IntEnum):
    """Exit statuses of `hourbook ssh` before anything was entered."""

    NOT_YOURS = 3
    NOT_YET = 4
    OVER = 5
    FAILED = 6
    NO_DOOR = 7


@ssh_keys.command
def add(file: Path, *, signer: Signer | None = None, json: bool = False) -> None:
    """Add the public key in FILE (`~/.ssh/id_ed25519.pub`); the same key again changes nothing."""
    try:
        text = file.read_bytes()[: KEY_FILE_BYTES_MAX + 1].decode()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file}: {error}") from error
    with signed("delivery", signer) as client:
        added = result_of(client.post("/v1/ssh-keys", json={"public_key": text[:KEY_FILE_BYTES_MAX]}))
    show(added if json else KEY_COLUMNS(added), json=json)


@ssh_keys.command(name="list")
def list_keys(*, signer: Signer | None = None, json: bool = False) -> None:
    """List the account's keys."""
    with signed("delivery", signer) as client:
        found = result_of(client.get("/v1/ssh-keys"))["items"]
    show(found if json else list(map(KEY_COLUMNS, found)), json=json)


@ssh_keys.command
def remove(key: str, *, signer: Signer | None = None, json: bool = False) -> None:
    """Remove KEY, named by its key_id or its fingerprint; leases that began with it keep it until they end."""
    with signed("delivery", signer) as client:
        found = result_of(client.get("/v1/ssh-keys"))["items"]
        ids = [each["key_id"] for each in found if key in (each["key_id"], each["fingerprint"])]
        if not ids:
            raise CommandError(f"the account has no SSH key {key}")
        client.delete(f"/v1/ssh-keys/{ids[0]}").raise_for_status()
    show({"removed": ids[0]}, json=json)


def ssh(
    position_id: int,
    *command: Annotated[str, Parameter(allow_leading_hyphen=True)],
    identity: Annotated[Path | None, Parameter(name=["--identity", "-i"], help="Private key to log in with.")] = None,
    signer: Signer | None = None,
) -> int:
    """Enter the node of POSITION_ID by ssh, or run the command after `--` there; the server's host key is checked.

    Exit status: the command's own; 255 where ssh failed; 3 the position is not yours, 4 it has not begun, 5 it is over,
    6 the operator could not open it, 7 it has no endpoint for SSH or no host key; 1 anything else.
    """
    try:
        door = door_of(position_id, signer)
    except Closed as closed:
        print_error(str(closed))
        return closed.status
    return enter(door, command, identity)


class Closed(Exception):
    """There is no way in now; `status` is the exit status that says why."""

    def __init__(self, status: Stopped, words: str):
        super().__init__(words)
        self.status = int(status)


def door_of(position_id: int, signer: Signer | None) -> Door:
    """Asks the venue how to get into a position. Raises Closed."""
    with signed("delivery", signer) as client:
        try:
            access = result_of(client.get(f"/v1/positions/{position_id}/access"))
        except ApiError as refusal:
            if refusal.code != "not_found":
                raise
            raise Closed(Stopped.NOT_YOURS, f"you have no position {position_id}") from refusal
    return read_door(access, time.time_ns() // 1_000_000)


def read_door(access: dict, now_ms: int) -> Door:
    """Returns the door that an answer about access names. Raises Closed."""
    name, starts = f"position {access['position_id']}", clock(access["starts_ms"])
    if access["state"] == "failed":
        raise Closed(Stopped.FAILED, f"{name}: the operator could not open it; what is not delivered is not paid")
    if access["state"] == "ended" or now_ms >= access["ends_ms"]:
        raise Closed(Stopped.OVER, f"{name} ended at {clock(access['ends_ms'])}")
    if access["state"] != "started":
        raise Closed(Stopped.NOT_YET, f"{name} begins at {starts}; you can log in shortly before")
    if not access["endpoint"]:
        raise Closed(Stopped.OVER, f"{name} was closed before {clock(access['ends_ms'])}")
    try:
        return Door(access["user"], access["host"], access["port"], access["host_key"])
    except NoWayIn as reason:
        raise Closed(Stopped.NO_DOOR, f"{name}: {reason}; `hourbook access` shows what there is") from reason


def wish(
    position_id: int,
    *,
    ssh_key: Annotated[list[str] | None, Parameter(help="key_id of an SSH key that may log in; default: all.")] = None,
    image: Annotated[str | None, Parameter(help="Image for the operator's container hook.")] = None,
    script: Annotated[Path | None, Parameter(help="Script that the operator's hook runs at the start.")] = None,
    signer: Signer | None = None,
    json: bool = False,
) -> None:
    """Say before the gate how POSITION_ID is to be opened: with which keys, which image, which script."""
    try:
        text = None if script is None else script.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{script}: {error}") from error
    form = {"key_ids": ssh_key, "image": image, "script": text}
    with signed("delivery", signer) as client:
        answer = result_of(client.post(f"/v1/positions/{position_id}/access", json=form))
    show(answer if json else {name: answer[name] for name in ("position_id", "state")}, json=json)


def clock(ms: int) -> str:
    """A time as a person reads it."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(ms / 1000))


def print_error(words: str) -> None:
    """Says one line on standard error, as every refusal is said."""
    print(f"hourbook: {words}", file=sys.stderr)


def add_to(app: App) -> None:
    app.command(ssh_keys)
    app.command(ssh)
    app.command(wish, name="access-wish")
