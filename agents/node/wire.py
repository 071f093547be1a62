"""One HTTP client as the agent uses it: patient with a slow venue, bounded, and every odd answer is a clear line."""

import asyncio
import json
import os
import re
import time
from collections.abc import Callable
from typing import TypeVar

import httpx
from pydantic import ValidationError

from agents.node.errors import BadAnswer, BadConfiguration, VenueRefused, VenueUnreachable
from agents.node.files import CONTROLS
from schemas.base import Model

Reply = TypeVar("Reply", bound=Model)
Client = TypeVar("Client", httpx.AsyncClient, httpx.Client)
# What httpx follows of the environment, in small letters as well.
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
TIMEOUT_S = 10.0
TIMEOUT_MAX_S = 60.0
ANSWER_BYTES_MAX = 32 * 1024 * 1024
CALM = 0.9
WHOLE_ANSWER_TIMEOUTS = 4
EXCERPT_CHARS = 120
KEEP_ALIVE_S = 30  # longer than any report interval, shorter than the venue keeps an idle connection
DETAIL_CHARS = 500
WAIT_S_MAX = 60.0
WAIT_FORM = re.compile("[0-9]{1,6}")
CODE_FORM = re.compile("[a-z0-9_.-]{1,64}")


class Patience:
    """How long to wait for an answer: longer after each time-out, up to a bound, and twice what slow answers take."""

    def __init__(self, least_s: float = TIMEOUT_S, most_s: float = TIMEOUT_MAX_S) -> None:
        self._least_s, self._most_s = least_s, max(least_s, most_s)
        self.timeout_s = least_s

    def note_timeout(self) -> None:
        """Waits twice as long from now on."""
        self.timeout_s = min(2 * self.timeout_s, self._most_s)

    def note_answer(self, took_s: float) -> None:
        """Comes back towards the least, but stays above what answers take."""
        wanted_s = max(self._least_s, 2 * took_s, CALM * self.timeout_s)
        self.timeout_s = min(wanted_s, self._most_s)


class Wire:
    """Sends requests and returns whole bodies. Raises VenueUnreachable, BadAnswer or VenueRefused, nothing else."""

    def __init__(self, http: httpx.AsyncClient, patience: Patience | None = None) -> None:
        self._http, self._patience = http, patience or Patience()

    async def send(self, method: str, url: str, headers: dict[str, str] | None = None, body: bytes = b"") -> bytes:
        """Makes one request and returns the body of a successful answer."""
        began, timeout_s = time.monotonic(), self._patience.timeout_s
        place = f"{method} {url.partition('?')[0]}"
        try:
            request = self._http.build_request(method, url, headers=headers, content=body, timeout=timeout_s)
            async with asyncio.timeout(WHOLE_ANSWER_TIMEOUTS * timeout_s):
                status, content, wait_s = await self._exchange(request, place)
        except (httpx.TimeoutException, TimeoutError) as error:
            self._patience.note_timeout()
            raise VenueUnreachable(f"{place}: no answer within {timeout_s:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, UnicodeError) as error:
            raise VenueUnreachable(f"{place}: {str(error) or repr(error)}") from error
        self._patience.note_answer(time.monotonic() - began)
        if not 200 <= status < 300:
            raise _refusal(place, status, content, wait_s)
        return content

    async def read(
        self, reply: type[Reply], method: str, url: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> Reply:
        """Makes one request and reads the answer as a model; members that a newer venue adds are passed over."""
        content = await self.send(method, url, headers, body)
        try:
            return reply.model_validate_json(content, extra="ignore")
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            words = f"the answer is not a {reply.__name__}: {where}: {first['msg']}: {_excerpt(content)}"
            raise BadAnswer(f"{method} {url}: {words}") from error

    async def _exchange(self, request: httpx.Request, place: str) -> tuple[int, bytes, float | None]:
        """Returns status and body of the answer, and how long the venue asks to be left alone."""
        response = await self._http.send(request, stream=True, follow_redirects=False)
        try:
            content = bytearray()
            async for part in response.aiter_bytes():
                content += part
                if len(content) > ANSWER_BYTES_MAX:
                    raise BadAnswer(f"{place}: answered with more than {ANSWER_BYTES_MAX} bytes")
            return response.status_code, bytes(content), _wait_s(response.headers.get("Retry-After", ""))
        finally:
            await response.aclose()


def open_http(kind: Callable[..., Client] = httpx.AsyncClient, **options: object) -> Client:
    """Makes an HTTP client that keeps its connections from one report to the next.

    Raises BadConfiguration, with the environment's variables, for a proxy or certificate that cannot be followed.
    """
    try:
        return kind(limits=httpx.Limits(keepalive_expiry=KEEP_ALIVE_S), **options)
    except (httpx.InvalidURL, ImportError, OSError, TypeError, ValueError) as error:
        set_here = [name for name in os.environ if name.upper() in VARIABLES and os.environ[name]]
        hint = f" (set in the environment: {', '.join(sorted(set_here))})" if set_here else ""
        raise BadConfiguration(f"no HTTP client can be made: {str(error) or repr(error)}{hint}") from error


def read_object(content: bytes, place: str) -> dict:
    """Reads a JSON object. Raises BadAnswer."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadAnswer(f"{place}: the answer is not JSON: {_excerpt(content)}") from error
    if not isinstance(document, dict):
        raise BadAnswer(f"{place}: the answer is not a JSON object: {_excerpt(content)}")
    return document


def _wait_s(text: str) -> float | None:
    """Reads `Retry-After` in seconds, at most a minute; a date or anything else says nothing."""
    return min(float(text), WAIT_S_MAX) if WAIT_FORM.fullmatch(text) else None


def _refusal(place: str, status: int, content: bytes, wait_s: float | None) -> VenueRefused | VenueUnreachable:
    """Only a problem document is the venue's word; whatever else stands in the way is as good as no answer."""
    try:
        problem = read_object(content, place)
    except BadAnswer:
        problem = {}
    code, detail = problem.get("code"), _in_one_line(str(problem.get("detail", "")), DETAIL_CHARS)
    if status >= 500 or not isinstance(code, str) or not CODE_FORM.fullmatch(code):
        return VenueUnreachable(f"{place}: status {status}: {detail or _excerpt(content)}")
    return VenueRefused(status, code, detail, problem, wait_s)


def _excerpt(content: bytes) -> str:
    return repr(_in_one_line(content[: 4 * EXCERPT_CHARS + 4].decode(errors="replace"), EXCERPT_CHARS))


def _in_one_line(text: str, chars_max: int) -> str:
    """Returns the beginning of a text that somebody else wrote, for one line of the log."""
    words = " ".join(CONTROLS.sub("�", text[: 4 * chars_max + 4]).split())
    return words[:chars_max] + ("…" if len(words) > chars_max else "")
