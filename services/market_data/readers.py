"""One follower of the feed: what it follows, the bounded queue of what it has not taken yet, what if it is slow."""

import asyncio
from collections import deque

from schemas.market_data import FeedRequest
from services.market_data.feed import Feed, Stream
from services.market_data.snapshots import Snapshots


class TooManyStreams(Exception):
    """A reader may not follow more streams than the limit."""


class SlowReader(Exception):
    """The reader takes less than it is sent and asked for no conflation; the argument is the last sequence it took."""


class Reader:
    """A queue between the feed and one socket. `put` never blocks; `take` waits for the next message. [F-11]"""

    def __init__(self, feed: Feed, snapshots: Snapshots, messages_max: int, streams_max: int) -> None:
        self._feed, self._snapshots = feed, snapshots
        self._messages_max, self._streams_max = messages_max, streams_max
        self._queue: deque[tuple[Stream | None, int, bytes]] = deque()
        self._outdated: dict[Stream, None] = {}
        self._wake = asyncio.Event()
        self._too_slow = False
        self.streams: dict[Stream, None] = {}
        self.conflate = False
        self.last_seq = 0

    def put(self, stream: Stream | None, seq: int, data: bytes) -> None:
        """Queue a message of a stream, or an answer (no stream)."""
        if stream in self._outdated or self._too_slow:
            return
        if stream is not None and len(self._queue) >= self._messages_max:
            self._overflow(stream)
        elif stream is None and len(self._queue) >= 2 * self._messages_max:
            self._too_slow = True  # whoever asks on and takes no answers
        else:
            self._queue.append((stream, seq, data))
        self._wake.set()

    @property
    def is_too_slow(self) -> bool:
        """Say whether the reader has taken less than it was sent, and is to be ended."""
        return self._too_slow

    async def take(self) -> tuple[int, bytes]:
        """Wait for the next message and return (sequence, text). Raises SlowReader once the queue has overflowed."""
        while not self._queue and not self._outdated:
            self._wake.clear()
            if self._too_slow:
                raise SlowReader(self.last_seq)
            await self._wake.wait()
        if self._too_slow:
            raise SlowReader(self.last_seq)
        if self._outdated:
            stream = next(iter(self._outdated))
            del self._outdated[stream]
            snapshot = self._snapshots.of(stream, conflated=True)
            seq, data = snapshot.seq, snapshot.wire()
        else:
            stream, seq, data = self._queue.popleft()
        if stream is not None:
            self.last_seq = max(self.last_seq, seq)
        return seq, data

    def apply(self, request: FeedRequest) -> None:
        """Carry a request out: all of it or, raising what is wrong, nothing of it."""
        streams = [Stream(request.ch, sym, request.interval if request.ch == "candles" else "") for sym in request.syms]
        for stream in streams:
            self._snapshots.check(stream)
        if request.op == "unsubscribe":
            for stream in streams:
                self._leave(stream)
            return
        if len({*self.streams, *streams}) > self._streams_max:
            raise TooManyStreams(f"at most {self._streams_max}")
        self.conflate = self.conflate or request.conflate
        for stream in streams:
            self._join(stream, request.from_seq)

    def books(self) -> list[str]:
        """Return the contracts whose books this reader follows."""
        return [stream.sym for stream in self.streams if stream.ch == "book"]

    def close(self) -> None:
        """Leave every stream."""
        for stream in tuple(self.streams):
            self._leave(stream)

    def _join(self, stream: Stream, from_seq: int | None) -> None:
        # A place that the feed has not come to yet is another feed's, or made up: what follows it, nobody can say.
        is_past = from_seq is not None and stream.ch != "listings" and from_seq <= self._snapshots.seq_of(stream)
        missed = self._feed.ring.after(stream, from_seq) if is_past else None
        if missed is None:
            resync = {} if from_seq is None else {"resync": True}
            snapshot = self._snapshots.of(stream, **resync)
            self.put(stream, snapshot.seq, snapshot.wire())
        else:
            for seq, data in missed:
                self.put(stream, seq, data)
        self.streams[stream] = None
        self._feed.follow(stream, self)

    def _leave(self, stream: Stream) -> None:
        self.streams.pop(stream, None)
        self._outdated.pop(stream, None)
        self._feed.leave(stream, self)

    def _overflow(self, stream: Stream) -> None:
        if not self.conflate:
            self._too_slow = True
            return
        waiting = [entry for entry in self._queue if entry[0] is None]
        self._outdated.update(dict.fromkeys(s for s, _, _ in self._queue if s is not None and s in self.streams))
        self._outdated[stream] = None
        self._queue = deque(waiting)
