"""One attacker from an address of its own: floods over kept connections, half requests, sockets; what came of it."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from schemas.problems import PROBLEM_MEDIA_TYPE

ANSWER_S = 20.0
REFUSED = (429, 503)


@dataclass(frozen=True)
class Answer:
    """One answer: the status, 0 where the connection was closed without one, and the code of a problem document."""

    status: int
    code: str = ""
    waits: bool = False

    @property
    def is_in_words(self) -> bool:
        """Says whether a refusal is a problem document and, of a budget, says when to come again."""
        return bool(self.code) and (self.status not in REFUSED or self.waits)


@dataclass
class Outcome:
    """What came of a flood."""

    answers: Counter[Answer] = field(default_factory=Counter)
    elapsed_s: float = 0.0

    def count(self, *statuses: int) -> int:
        """Returns how many answers had one of these statuses."""
        return sum(count for answer, count in self.answers.items() if answer.status in statuses)

    @property
    def total(self) -> int:
        """How many answers there were."""
        return self.answers.total()

    @property
    def wordless(self) -> list[Answer]:
        """The refusals that are no problem document, or do not say when to come again."""
        return [answer for answer in self.answers if answer.status >= 400 and not answer.is_in_words]


def request(method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b"") -> bytes:
    """Returns the bytes of one request."""
    lines = [f"{method} {target} HTTP/1.1", "Host: venue"]
    lines += [f"{name}: {text}" for name, text in (headers or {}).items()]
    lines += [f"Content-Length: {len(body)}", "Content-Type: application/json"] if body else []
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class Caller:
    """Connections to one service from one address."""

    def __init__(self, url: str, address: str):
        self.url, self._address = url, address
        self._host, self._port = urlsplit(url).hostname, urlsplit(url).port

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Opens a connection that says nothing yet."""
        return await asyncio.open_connection(self._host, self._port, local_addr=(self._address, 0))

    async def say(self, *parts: bytes) -> Answer:
        """Sends parts over a connection of their own and returns the answer."""
        reader, writer = await self.connect()
        answer = asyncio.create_task(answer_of(reader))  # read at once: a reset would take it away
        try:
            with suppress(OSError):
                for part in parts:
                    if answer.done():
                        break
                    writer.write(part)
                    await writer.drain()
            return await answer
        finally:
            writer.close()

    async def flood(self, count: int, make: Callable[[], bytes], connections: int = 4) -> Outcome:
        """Sends so many requests as fast as they are answered."""
        outcome, began, left = Outcome(), time.monotonic(), iter(range(count))

        async def send() -> None:
            reader, writer = await self.connect()
            for _ in left:
                try:
                    writer.write(make())
                    answer = await answer_of(reader)
                except OSError:
                    answer = Answer(0)
                outcome.answers[answer] += 1
                if answer.status == 0:
                    writer.close()
                    reader, writer = await self.connect()
            writer.close()

        await asyncio.gather(*(send() for _ in range(connections)))
        outcome.elapsed_s = time.monotonic() - began
        return outcome

    @asynccontextmanager
    async def sockets(self, path: str, count: int) -> AsyncIterator[tuple[list[ClientConnection], list[int]]]:
        """Opens so many sockets one after the other; yields those that were let in, and what the others were told."""
        opened: list[ClientConnection] = []
        refused: list[int] = []
        try:
            for _ in range(count):
                try:
                    opened.append(await self.socket(path))
                except InvalidStatus as refusal:
                    refused.append(refusal.response.status_code)
                except (OSError, EOFError):
                    refused.append(0)
            yield opened, refused
        finally:
            await asyncio.gather(*(socket.close() for socket in opened), return_exceptions=True)

    async def socket(self, path: str) -> ClientConnection:
        """Opens one socket."""
        url = self.url.replace("http", "ws", 1) + path
        return await connect(url, local_addr=(self._address, 0), open_timeout=ANSWER_S, max_size=None, compression=None)


async def answer_of(reader: asyncio.StreamReader) -> Answer:
    """Reads one answer."""
    async with asyncio.timeout(ANSWER_S):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except (asyncio.IncompleteReadError, ConnectionError):
            return Answer(0)
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    is_problem = headers.get("content-type") == PROBLEM_MEDIA_TYPE
    return Answer(int(head[9:12]), json.loads(body)["code"] if is_problem else "", "retry-after" in headers)


async def delays_ms(ask: Callable[[], "asyncio.Future | object"], pause_s: float, while_: asyncio.Task) -> list[float]:
    """Asks again and again until a task is done; returns how long each answer took."""
    found = []
    while not while_.done():
        began = time.perf_counter()
        await ask()
        found.append(1_000 * (time.perf_counter() - began))
        await asyncio.sleep(pause_s)
    return found


def p99(values: Iterable[float]) -> float:
    """Returns what 99 of a hundred are at most."""
    ordered: Sequence[float] = sorted(values)
    return ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
