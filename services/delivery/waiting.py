"""Requests that nodes hold open, so that nonces reach many of them at one moment, and what their round trips take.

A node asks for its next challenges and is answered when there are some, or after a while. It asks again at once, with
the echo of the last answer: the time between is its round trip by the venue's clock. A place is one node's, a newer
request takes it over, and whoever hangs up frees it.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence

from schemas.nodes import Challenge, ChallengeOffer, ChallengeWait
from services.delivery.domain import DeliveryError
from services.delivery.effects import now_ms
from services.delivery.metrics import HELD
from services.delivery.moving import check_not_out
from services.delivery.releases import Releases, clock_us
from services.delivery.settings import Settings
from services.delivery.signatures import signed_node
from services.delivery.store import Store
from services.kit.store import Pool

TRIPS_KEPT = 8
TRIPS_WANTED = 3  # until a node has shown so many, it is answered at once
QUICK_MAX = 2 * TRIPS_WANTED
TRIP_LASTS_US = 900_000_000


class TooManyHeld(DeliveryError):
    """The venue holds as many requests as it may; reports bring challenges all the same."""

    code, status, retryable = "unavailable", 503, True


class RoundTrips:
    """The round trips of nodes, in microseconds, as their last answers and next requests showed them."""

    def __init__(self, trip_us_max: int):
        self._trip_us_max = trip_us_max
        self._answered: dict[str, tuple[str, int]] = {}  # the last answer's echo, and when it left
        self._seen: dict[str, deque[tuple[int, int]]] = {}  # when, how long

    def answered(self, node_id: str) -> str:
        """Notes that a node is answered now; returns the echo that its next request is to bring."""
        echo = secrets.token_hex(16)
        self._answered[node_id] = (echo, clock_us())
        return echo

    def asked(self, node_id: str, echo: str, at_us: int) -> None:
        """Notes that a node has asked again."""
        known = self._answered.pop(node_id, None)
        if known is not None and known[0] == echo:
            self._seen.setdefault(node_id, deque(maxlen=TRIPS_KEPT)).append((at_us, at_us - known[1]))

    def known(self, node_id: str) -> int:
        """Returns how many round trips of a node have been seen lately."""
        since_us = clock_us() - TRIP_LASTS_US
        return sum(at_us > since_us for at_us, _ in self._seen.get(node_id, ()))

    def of(self, node_id: str) -> int:
        """Returns the smallest of a node's recent round trips, at most what the settings allow; 0 if none is known.

        A node that answers late on purpose gains no more than that bound.
        """
        since_us = clock_us() - TRIP_LASTS_US
        recent = [took_us for at_us, took_us in self._seen.get(node_id, ()) if at_us > since_us]
        return min(*recent, self._trip_us_max) if recent else 0


class HeldRequests:
    """All requests that are held: one of a node, and so many in all."""

    def __init__(self, settings: Settings, pool: Pool, releases: Releases):
        self._settings, self._pool, self._releases = settings, pool, releases
        self._held: dict[str, asyncio.Future[Sequence[Challenge]]] = {}
        self._told: dict[str, set[str]] = {}
        self._quick: dict[str, int] = {}
        self.trips = RoundTrips(1_000 * settings.round_trip_ms_max)

    @property
    def present(self) -> list[str]:
        """The nodes whose requests are held now."""
        return list(self._held)

    @property
    def is_full(self) -> bool:
        """Whether no more requests can be held."""
        return len(self._held) >= self._settings.held_requests_max

    async def wait(
        self, node_id: str, message: ChallengeWait, hung_up: Callable[[], Coroutine[None, None, None]]
    ) -> ChallengeOffer:
        """Answers a node's request when it has challenges, or after a while. `hung_up` returns when the caller is gone.

        Raises a DeliveryError for a request that is not the node's, of a node that is out, or when too many are held.
        """
        at_us = clock_us()
        node = await signed_node(self._pool, node_id, message)
        self.trips.asked(node_id, message.echo, at_us)
        check_not_out(node)
        place = self._take_place(node_id)
        try:
            # The place is taken first: what is handed out meanwhile is not missed.
            challenges = await self._waiting_for(node_id)
            if not challenges and not self._measures(node_id):
                await self._hold(place, hung_up)
            challenges += place.result() if place.done() else ()
        finally:
            if self._held.get(node_id) is place:
                del self._held[node_id]
            HELD.set(len(self._held))
        return ChallengeOffer(echo=self.trips.answered(node_id), challenges=tuple(challenges))

    def hand_out(self, by_node: Mapping[str, Sequence[Challenge]]) -> int:
        """Answers the held requests of these nodes in one go; returns how many were there."""
        reached = 0
        for node_id, challenges in by_node.items():
            future = self._held.pop(node_id, None)
            if future is None or future.done():
                continue
            self._release(node_id, challenges)
            future.set_result(challenges)
            reached += 1
        return reached

    async def _waiting_for(self, node_id: str) -> list[Challenge]:
        """Returns challenges that are open and that no request of the node was answered with yet."""
        challenges = await Store(self._pool).challenges.open_of(node_id, now_ms())
        told = self._told.get(node_id, set())
        self._told[node_id] = told & {challenge.challenge_id for challenge in challenges}
        new = [challenge for challenge in challenges if challenge.challenge_id not in told]
        self._release(node_id, new)
        return new

    def _release(self, node_id: str, challenges: Sequence[Challenge]) -> None:
        ids = [challenge.challenge_id for challenge in challenges]
        self._told.setdefault(node_id, set()).update(ids)
        self._releases.note(ids)

    def _take_place(self, node_id: str) -> asyncio.Future[Sequence[Challenge]]:
        before = self._held.pop(node_id, None)
        if before is not None and not before.done():
            before.set_result(())
        if self.is_full:
            raise TooManyHeld(f"the venue holds {self._settings.held_requests_max} requests")
        place = self._held[node_id] = asyncio.get_running_loop().create_future()
        HELD.set(len(self._held))
        return place

    def _measures(self, node_id: str) -> bool:
        """Says whether a node is to be answered at once, to see its round trip; one that shows none is held as well."""
        quick = self._quick.get(node_id, 0)
        if self.trips.known(node_id) >= TRIPS_WANTED or quick >= QUICK_MAX:
            return False
        self._quick[node_id] = quick + 1
        return True

    async def _hold(
        self, place: asyncio.Future[Sequence[Challenge]], hung_up: Callable[[], Coroutine[None, None, None]]
    ) -> None:
        gone = asyncio.create_task(hung_up())
        try:
            ends = (place, gone)
            await asyncio.wait(ends, timeout=self._settings.held_s_max, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
