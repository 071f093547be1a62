"""How much of requests' bodies may be in memory: of one, and of all at a time; and how long one may take to come."""

from dataclasses import dataclass


class TooManyBytes(Exception):
    """The bodies that are held leave no room for more."""


@dataclass(frozen=True)
class BodyLimits:
    """At most `bytes_max` of one body and `total_bytes_max` of all that are held; each is whole `within_s` seconds."""

    bytes_max: int = 262_144
    total_bytes_max: int = 67_108_864
    within_s: float = 60.0


class HeldBodies:
    """The bytes of all bodies that are held, from their arrival until their requests are answered."""

    def __init__(self, limits: BodyLimits) -> None:
        self.limits, self.held_bytes = limits, 0

    def check_room(self, more_bytes: int) -> None:
        """Raises TooManyBytes where so many more bytes have no room."""
        if self.held_bytes + more_bytes > self.limits.total_bytes_max:
            raise TooManyBytes


class HeldBody:
    """One body's part of them."""

    __slots__ = ("_all", "size_bytes")

    def __init__(self, held: HeldBodies) -> None:
        self._all, self.size_bytes = held, 0

    def add(self, more_bytes: int) -> None:
        """Holds bytes that have come. Raises TooManyBytes."""
        self._all.check_room(more_bytes)
        self._all.held_bytes += more_bytes
        self.size_bytes += more_bytes

    def release(self) -> None:
        """Holds none of them any more."""
        self._all.held_bytes -= self.size_bytes
        self.size_bytes = 0
