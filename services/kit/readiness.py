"""What a service still waits for; empty means ready."""

from services.kit.servers import Servers


class Readiness:
    """Named conditions of a service; `/readyz` shows those that do not hold yet, and the servers that are away now."""

    def __init__(self, *conditions: str, servers: Servers | None = None):
        self._waiting = dict.fromkeys(conditions)
        self._servers = servers

    def done(self, condition: str) -> None:
        """The condition holds from now on."""
        self._waiting.pop(condition, None)

    def waits(self, condition: str) -> None:
        """The condition no longer holds."""
        self._waiting[condition] = None

    @property
    def waiting(self) -> list[str]:
        """The conditions that do not hold, in the order given."""
        return list(self._waiting)

    async def all_waiting(self) -> list[str]:
        """Returns the conditions that do not hold, and which of the servers do not answer at this moment."""
        away = [] if self._servers is None else await self._servers.away()
        return [*self._waiting, *(name for name in away if name not in self._waiting)]
