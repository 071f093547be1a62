"""Private feeds: what changed for an account, put once into the queue of each of its sessions that asked for it."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator

from prometheus_client import Gauge

from schemas.events import AnyEvent
from schemas.ids import AccountId
from services.gateway.projections.history import History, Record
from services.gateway.projections.records import Balance, Fill, Order, Position
from services.gateway.projections.views import Views
from services.kit.doubts import note_doubt

CHANNELS = ("orders", "fills", "positions", "balances", "settlements")
SESSIONS = Gauge("hourbook_gateway_feed_sessions", "Private WebSocket sessions that are logged in")


class Session:
    """One logged-in connection: its channels, the messages on their way to it, and the last `seq` sent."""

    def __init__(self, account: AccountId, key_id: str, queue_max: int):
        self.account, self.key_id = account, key_id
        self.channels: set[str] = set()
        self.queue: asyncio.Queue[tuple[int, str]] = asyncio.Queue(queue_max)
        self.overrun = asyncio.Event()
        self.sent_seq = 0

    def put(self, seq: int, text: str) -> None:
        """Queue a message; a session that does not keep up is ended, never fed with holes."""
        try:
            self.queue.put_nowait((seq, text))
        except asyncio.QueueFull:
            self.overrun.set()


class Feeds:
    """Sessions by account."""

    def __init__(self, history: History):
        self._views = Views(history)
        self._sessions: dict[AccountId, set[Session]] = defaultdict(set)
        self._counts: Counter[str] = Counter()

    def sessions_of(self, key_id: str) -> int:
        """Count the sessions of a key."""
        return self._counts[key_id]

    def join(self, session: Session) -> None:
        """The session gets what happens from now on in the channels that it has."""
        self._sessions[session.account].add(session)
        self._counts[session.key_id] += 1
        SESSIONS.inc()

    def leave(self, session: Session) -> None:
        """The session is over."""
        self._sessions[session.account].discard(session)
        self._counts[session.key_id] -= 1
        if not self._counts[session.key_id]:
            del self._counts[session.key_id]
        if not self._sessions[session.account]:
            del self._sessions[session.account]
        SESSIONS.dec()

    def publish(self, event: AnyEvent, records: list[Record]) -> None:
        """Hand what one event changed to the accounts that it concerns."""
        if not self._sessions:
            return
        for record in records:
            try:
                messages = list(self._messages(event, record))
            except ValueError as error:  # what cannot be shown ends neither the reader nor its sessions
                note_doubt(event.seq, event.type, f"{type(record).__name__} cannot be shown: {error}")
                continue
            for account, channel, body in messages:
                text = f'{{"ch":"{channel}","type":"update","seq":{event.seq},"data":{body}}}'
                for session in self._sessions[account]:
                    if channel in session.channels:
                        session.put(event.seq, text)

    def _messages(self, event: AnyEvent, record: Record) -> Iterator[tuple[AccountId, str, str]]:
        for account in _accounts_of(record) & self._sessions.keys():
            match record:
                case Order() if not (record.parent_id and event.type == "order_accepted"):
                    yield account, "orders", self._views.order(record).model_dump_json()
                case Fill():
                    yield account, "fills", self._views.fill(record, account).model_dump_json()
                case Position():
                    body = self._views.position(record, account).model_dump_json()
                    yield account, "positions", body
                    if event.type in ("position_settled", "position_finalized"):
                        yield account, "settlements", body
                case Balance():
                    yield account, "balances", self._views.balance(record).model_dump_json()


def _accounts_of(record: Record) -> set[AccountId]:
    match record:
        case Fill():
            return {record.buyer, record.seller}
        case Position():
            return {record.buyer, record.operator}
    return {record.account}
