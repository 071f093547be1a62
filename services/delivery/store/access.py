"""How buyers get in: their accounts' SSH keys, and what they wish for a position's lease."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.delivery.store.statements import Statements


@dataclass(frozen=True)
class StoredSshKey:
    """An SSH key of an account, as it was given."""

    key_id: str
    line: str
    added_ms: int


class Access:
    """SSH keys by their accounts, and wishes by their positions."""

    def __init__(self, statements: Statements):
        self._sql = statements

    async def lock_ssh_keys(self, account: str) -> None:
        """Keeps others from changing an account's keys until the transaction ends."""
        await self._sql.run("lock_ssh_keys", account)

    async def ssh_key(self, account: str, key_id: str) -> StoredSshKey | None:
        """Returns a key, or None."""
        return await self._sql.one(StoredSshKey, "find_ssh_key", account, key_id)

    async def ssh_keys(self, account: str) -> list[StoredSshKey]:
        """Returns an account's keys, the oldest first."""
        return await self._sql.all(StoredSshKey, "ssh_keys_of_account", account)

    async def insert_ssh_key(self, account: str, key: StoredSshKey) -> None:
        """Writes a key."""
        await self._sql.run("insert_ssh_key", account, key.key_id, key.line, key.added_ms)

    async def delete_ssh_key(self, account: str, key_id: str) -> None:
        """Drops a key, where there is one."""
        await self._sql.run("delete_ssh_key", account, key_id)

    async def put_wish(
        self, position_id: int, key_ids: Sequence[str] | None, image: str | None, script: str | None
    ) -> None:
        """Writes what a buyer wishes for a position, in place of what he wished before."""
        await self._sql.run("put_access_wish", position_id, None if key_ids is None else list(key_ids), image, script)
