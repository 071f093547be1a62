"""Measurements under way, as a small state machine: tokens out, signed tokens back, the shortest way counts."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.hubs import HubReceipt, TripAnswer, TripReply, TripStart
from schemas.nodes import node_id_of, signing_bytes
from services.kit.http import ProblemError
from services.kit.keys import sign_hex, signature_holds


@dataclass
class Trip:
    """One measurement: who is measured, the token that is out, since when, and the shortest way so far."""

    public_key: str
    token: str
    left_us: int
    began_us: int
    shortest_us: int | None = None
    exchanges: int = 0


class Trips:
    """All measurements under way. `clock_us` is a monotonic clock, `wall_ms` the calendar's."""

    def __init__(
        self,
        hub: str,
        key: Ed25519PrivateKey,
        exchanges: int,
        trip_us_max: int,
        trips_max: int,
        clock_us: Callable[[], int],
        wall_ms: Callable[[], int],
    ):
        self._hub, self._key, self._exchanges = hub, key, exchanges
        self._trip_us_max, self._trips_max = trip_us_max, trips_max
        self._clock_us, self._wall_ms = clock_us, wall_ms
        self._trips: dict[str, Trip] = {}

    def start(self, start: TripStart) -> TripReply:
        """Begins a measurement. Raises ProblemError while too many are under way."""
        now_us = self._clock_us()
        self._trips = {name: trip for name, trip in self._trips.items() if now_us - trip.began_us < self._trip_us_max}
        if len(self._trips) >= self._trips_max:
            raise ProblemError("unavailable", "too many nodes are being measured", retryable=True)
        trip_id = secrets.token_hex(16)
        self._trips[trip_id] = Trip(start.public_key, secrets.token_hex(32), now_us, now_us)
        return self._send(trip_id)

    def answer(self, trip_id: str, answer: TripAnswer, arrived_us: int) -> TripReply:
        """Takes a token that came back, and sends the next one or the receipt. Raises ProblemError for a wrong one."""
        trip = self._trips.pop(trip_id, None)
        if trip is None or answer.trip_id != trip_id or arrived_us - trip.began_us >= self._trip_us_max:
            raise ProblemError("not_found", "no such measurement is under way: begin again")
        agent = node_id_of(trip.public_key)
        holds = signature_holds(trip.public_key, answer.signature, signing_bytes(answer))
        if answer.agent != agent or answer.token != trip.token or not holds:
            raise ProblemError("malformed_request", "the token is not signed by the node that is measured")
        way_us = arrived_us - trip.left_us
        trip.shortest_us = way_us if trip.shortest_us is None else min(trip.shortest_us, way_us)
        trip.exchanges += 1
        if trip.exchanges < self._exchanges:
            self._trips[trip_id], trip.token = trip, secrets.token_hex(32)
            return self._send(trip_id)
        facts = {"hub": self._hub, "agent": agent, "trip_us": trip.shortest_us, "exchanges": trip.exchanges}
        receipt = HubReceipt(**facts, measured_ms=self._wall_ms(), signature="0" * 128)
        signature = sign_hex(self._key, signing_bytes(receipt))
        signed = receipt.model_copy(update={"signature": signature})
        return TripReply(trip_id=trip_id, token=None, receipt=signed)

    def _send(self, trip_id: str) -> TripReply:
        reply = TripReply(trip_id=trip_id, token=self._trips[trip_id].token)
        self._trips[trip_id].left_us = self._clock_us()
        return reply
