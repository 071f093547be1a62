"""Streams of messages to many readers: encoded once, the last five minutes kept for those who come back."""

from collections import deque
from typing import NamedTuple, Protocol


class Stream(NamedTuple):
    """One channel of one symbol; `interval` is empty but for candles."""

    ch: str
    sym: str
    interval: str = ""


class Receiver(Protocol):
    """Whoever follows streams."""

    def put(self, stream: Stream, seq: int, data: bytes) -> None:
        """Take one message; never blocks."""


class Ring:
    """Messages of the last `span_ms` of log time (at most `messages_max`), by stream, in the order they came."""

    def __init__(self, span_ms: int, messages_max: int) -> None:
        self._span_ms, self._messages_max = span_ms, messages_max
        self._order: deque[tuple[int, Stream]] = deque()
        self._streams: dict[Stream, deque[tuple[int, bytes]]] = {}
        self._floors: dict[Stream, int] = {}
        self._start_seq = 0

    def start(self, seq: int) -> None:
        """Say that everything after `seq` of the shard will be put in."""
        self._start_seq = seq

    def start_stream(self, stream: Stream, seq: int) -> None:
        """The same for a stream with a sequence of its own."""
        self._floors[stream] = seq

    def put(self, stream: Stream, seq: int, ts_ms: int, data: bytes) -> None:
        """Keep one message and drop those that are too old or too many."""
        self._order.append((ts_ms, stream))
        self._streams.setdefault(stream, deque()).append((seq, data))
        while self._order[0][0] < ts_ms - self._span_ms or len(self._order) > self._messages_max:
            _, oldest = self._order.popleft()
            kept = self._streams[oldest]
            self._floors[oldest] = kept.popleft()[0]
            if not kept:
                del self._streams[oldest]

    def after(self, stream: Stream, seq: int) -> list[tuple[int, bytes]] | None:
        """Return every message of the stream after `seq`; None where some of them are no longer here."""
        if seq < self._floors.get(stream, self._start_seq):
            return None
        return [message for message in self._streams.get(stream, ()) if message[0] > seq]


class Feed:
    """Who follows what, and the way from one message to all of them."""

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self._receivers: dict[Stream, dict[Receiver, None]] = {}

    def followed(self, stream: Stream) -> bool:
        """Say whether anyone follows the stream, so that no message is made for nobody."""
        return stream in self._receivers

    def follow(self, stream: Stream, receiver: Receiver) -> None:
        """Send the stream's messages to the receiver from now on."""
        self._receivers.setdefault(stream, {})[receiver] = None

    def leave(self, stream: Stream, receiver: Receiver) -> None:
        """End that."""
        receivers = self._receivers.get(stream, {})
        receivers.pop(receiver, None)
        if not receivers:
            self._receivers.pop(stream, None)

    def send(self, stream: Stream, seq: int, data: bytes) -> None:
        """Hand one encoded message to everyone who follows the stream."""
        for receiver in tuple(self._receivers.get(stream, ())):
            receiver.put(stream, seq, data)

    def keep_and_send(self, stream: Stream, seq: int, ts_ms: int, data: bytes) -> None:
        """The same, and keeps it for those who come back."""
        self.ring.put(stream, seq, ts_ms, data)
        self.send(stream, seq, data)
