"""The agent's memory on disk: small JSON files, each replaced in one step, and the node's private key."""

import json
import os
from pathlib import Path


class StateFolder:
    """A folder of named JSON documents. `durable` syncs each write; only a fleet of played sites goes without."""

    def __init__(self, path: Path, durable: bool = True) -> None:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path, self.durable = path, durable

    def read(self, name: str) -> dict | None:
        """Returns a document, or None where there is none yet."""
        file = self.path / f"{name}.json"
        return json.loads(file.read_bytes()) if file.exists() else None

    def write(self, name: str, document: dict) -> None:
        """Replaces a document in one step."""
        self.write_bytes(f"{name}.json", json.dumps(document, indent=1).encode())

    def write_bytes(self, file_name: str, content: bytes, mode: int = 0o600) -> None:
        """Replaces a file in one step: a reader, or a start after a crash, sees the old or the new one."""
        target = self.path / file_name
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(target.name + ".new")
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if self.durable:
                os.fsync(file.fileno())
        unfinished.replace(target)
        if self.durable:
            _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
