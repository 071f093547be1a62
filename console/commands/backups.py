"""Commands for bad days: `backup`, `restore`, `audit`; docs/runbooks says when to use which."""

import sys
from pathlib import Path

from cyclopts import App

from clients.cli.output import CommandError, show

MOVE_IT = "keep it where no machine of the venue can read it (docs/runbooks/root-key.md)"


def backup(folder: Path, *, json: bool = False) -> None:
    """Copy everything that the exchange keeps, running or stopped, into FOLDER, with a checksum of every file.

    FOLDER is made, and holds the services' private keys: its owner alone can read it. The root key is left out.
    """
    from infra.backup import BackupError, back_up, holds_root_key
    from infra.places import HalfRestored, data_dir
    from infra.supervisor import AlreadyUp

    try:
        manifest = back_up(data_dir(), folder)
    except (AlreadyUp, BackupError, HalfRestored) as error:
        raise CommandError(error) from error
    _tell("backed up", folder, manifest, json)
    if holds_root_key(data_dir()):
        print(f"the root key in {data_dir() / 'root'} is not in the backup: {MOVE_IT}", file=sys.stderr)


def restore(folder: Path, *, json: bool = False) -> None:
    """Put the backup in FOLDER back into the data folder, which must have nothing yet; every file is checked first."""
    from infra.backup import BackupError, restore
    from infra.places import HalfRestored, data_dir
    from infra.supervisor import AlreadyUp

    try:
        manifest = restore(folder, data_dir())
    except (AlreadyUp, BackupError, HalfRestored) as error:
        raise CommandError(error) from error
    _tell("restored", data_dir(), manifest, json)


def audit(*, json: bool = False) -> int:
    """Replay the log of the running exchange and compare ledger, engine and views with it; say what differs.

    Exit status 0 only where nothing does.
    """
    from console.audit import AuditFailed, run_audit
    from infra.exchange import addresses
    from infra.places import data_dir

    where = addresses(data_dir())
    if where is None:
        raise CommandError("the exchange is not running: `hourbook up` starts it")
    try:
        checks = run_audit(where, data_dir())
    except AuditFailed as error:
        raise CommandError(error) from error
    rows = [{"check": each.name, "holds": each.held, "figures": each.figures} for each in checks]
    show({"holds": all(each.held for each in checks), "checks": rows} if json else rows, json=json)
    return 0 if all(each.held for each in checks) else 1


def _tell(what: str, folder: Path, manifest: dict, json: bool) -> None:
    ends = manifest["ends"]
    facts = {
        "folder": str(folder),
        "made_at_ms": manifest["made_at_ms"],
        "files": len(manifest["files"]),
        "commands": ends.get("commands.0-0", 0),
        "events": ends.get("events.0-0", 0),
    }
    show({what.replace(" ", "_"): facts} if json else {what: str(folder)} | facts, json=json)


def add_to(app: App) -> None:
    for command in (backup, restore, audit):
        app.command(command)
