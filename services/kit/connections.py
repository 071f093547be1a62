"""How many connections one address may have at a service's own port, and how many requests of it may be open."""

from collections.abc import Sequence
from ipaddress import ip_address, ip_network

from services.kit.addresses import group_of


class Places:
    """At most `most` at a time of each group; a group without any takes no memory."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._taken: dict[str, int] = {}

    def take(self, group: str) -> bool:
        """Takes a place, if there is one."""
        taken = self._taken.get(group, 0)
        if taken >= self.most:
            return False
        self._taken[group] = taken + 1
        return True

    def give_back(self, group: str) -> None:
        """Frees a place that was taken."""
        taken = self._taken[group] - 1
        if taken:
            self._taken[group] = taken
        else:
            del self._taken[group]


class Connections:
    """The places of connections. A trusted proxy has as many as it wants: it brings the connections of others."""

    def __init__(self, most: int, trusted: Sequence[str]) -> None:
        self._places = Places(most)
        self._trusted = [ip_network(network) for network in trusted]

    def take(self, address: str) -> "Connection | None":
        """Returns the place of a new connection, or None where its address has as many as it may."""
        group = group_of(address)
        if any(ip_address(group.partition("/")[0]) in network for network in self._trusted):
            return Connection(None, group)
        return Connection(self._places, group) if self._places.take(group) else None


class Connection:
    """One connection's place."""

    __slots__ = ("_group", "_places")

    def __init__(self, places: Places | None, group: str) -> None:
        self._places, self._group = places, group

    def end(self) -> None:
        """Frees the place; once is enough."""
        if self._places is not None:
            self._places.give_back(self._group)
            self._places = None
